"""Every pair of public calls of a source from two threads: `python pairs.py KIND`.

Both threads repeat their call as often as they can, while a third one feeds the source. A pair that takes
longer than 10 s ends the process with the stack of each thread.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import make_samples
import slimcap
from slimcap import CaptureStopped, CaptureUnblocked, LinkDown, LinkGone, RingExhausted, Source
from slimcap.mock import MockRingSource, MockSocketSource
from support.batches import batch_of
from support.builders.pcapng import Ng
from support.mocks import KINDS, packet
from support.traffic import ethernet, frames_of, udp

Call: TypeAlias = Callable[[Any], object]
Opened: TypeAlias = contextlib.AbstractContextManager[tuple[Any, Callable[[], object]]]

WATCHDOG = 10.0  # seconds
SECONDS = 0.004  # for a pair
ROUNDS = 3  # for a pair with a call that ends the capture
TIMEOUT = 0.001  # of calls that wait
DOCUMENTED = (CaptureStopped, CaptureUnblocked, EOFError, TimeoutError, StopIteration, RingExhausted)
REFUSED = ("one reader at a time", "a block that is still open")  # RuntimeErrors

NG = Ng()
PACKET = packet(ethernet(udp(1)))
BATCH = batch_of(frames_of(20))
PCAP = make_samples.pcap_header() + make_samples.pcap_record(ethernet(udp(2))) * 20


def pcapng(name: str, packets: int) -> bytes:
    """Return a file that describes a second interface and counts half-way."""
    half = b"".join(NG.packet(ethernet(udp(n)), n * 1000) for n in range(packets // 2))
    statistics = NG.statistics(0, [NG.count(4, packets // 2), NG.count(5, 1)])
    return (
        NG.section() + NG.interface(name=name) + half + statistics + NG.interface(name=f"{name}-2") + half
    ) + statistics


def _pipe(mock: Any) -> None:
    replay = mock.pipe(slimcap.PcapSource(io.BytesIO(PCAP)))
    replay.stop()
    with contextlib.suppress(CaptureStopped):
        replay.wait(WATCHDOG)


# Calls that are not made by name alone.
CALLS: dict[str, Call] = {
    "add_batch": lambda mock: mock.add_batch(BATCH, TIMEOUT),
    "add_packet": lambda mock: mock.add_packet(PACKET, TIMEOUT),
    "add_packet_from": lambda mock: mock.add_packet_from(slimcap.PcapSource(io.BytesIO(PCAP)), TIMEOUT),
    "drop": lambda mock: mock.drop(1),
    "next_packet_fn": lambda source: source.next_packet_fn(lambda *_: None),
    "on_packet_added": lambda mock: mock.on_packet_added(len),
    "pipe": _pipe,
    "set_filter": lambda source: (source.set_filter("udp"), source.set_filter(None)),
    "set_link": lambda mock: (mock.set_link("down"), mock.set_link("up")),
    "iteration": next,
    "batches": lambda source: next(source.batches()),
    "repr": repr,
}
END = {"close", "stop", "done", "pipe"}


def calls_of(source: Source) -> dict[str, Call]:
    """Return a call for each public name of a source."""

    def of(name: str) -> Call:
        def call(source: Any) -> None:
            value = getattr(source, name)
            if callable(value):
                value()

        return CALLS.get(name, call)

    names = {name for name in dir(source) if not name.startswith("_")} - {"device", "on_packet_added"}
    return {name: of(name) for name in sorted(names | {"iteration", "repr"})}


def run_together(source: Any, feed: Callable[[], object], calls: Iterable[Call], seconds: float) -> None:
    """Repeat each call in a thread while another one feeds the source; raise what is not documented."""
    errors: list[BaseException] = []
    end = time.monotonic() + seconds

    def repeat(call: Callable[[], object]) -> None:
        while time.monotonic() < end and not errors:
            try:
                call()
            except DOCUMENTED:
                pass
            except (LinkDown, LinkGone, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not any(text in str(error) for text in REFUSED):
                    errors.append(error)
            except BaseException as error:
                errors.append(error)

    todo = [feed, *(functools.partial(call, source) for call in calls)]
    threads = [threading.Thread(target=repeat, args=(call,)) for call in todo]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def run_pairs(open_source: Callable[[], Opened], seconds: float) -> int:
    """Run all pairs; return their number."""
    with open_source() as (source, _):
        calls = calls_of(source)
    pairs = list(itertools.combinations_with_replacement(calls, 2))
    for pair in pairs:
        faulthandler.dump_traceback_later(WATCHDOG, exit=True)
        print(*pair, flush=True)
        rounds = ROUNDS if END & set(pair) else 1
        for _ in range(rounds):
            with open_source() as (source, feed):
                run_together(source, feed, [calls[name] for name in pair], seconds / rounds)
        faulthandler.cancel_dump_traceback_later()
    return len(pairs)


# ---- sources


def _idle() -> None:
    time.sleep(TIMEOUT)


@contextlib.contextmanager
def open_mock(kind: type[Any], **options: Any) -> Iterator[tuple[Any, Callable[[], object]]]:
    with kind(timeout=TIMEOUT, **options) as mock:
        mock.run()
        yield mock, lambda: mock.add_batch(BATCH, TIMEOUT)


@contextlib.contextmanager
def open_capture(kind: type[Any], **options: Any) -> Iterator[tuple[Any, Callable[[], object]]]:
    """Capture on lo, to which datagrams are sent."""
    with (
        kind("lo", timeout=TIMEOUT, **options) as source,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        yield source, lambda: out.sendto(bytes(100), ("127.0.0.1", 9))


def sources(folder: Path) -> dict[str, Callable[[], Opened]]:
    """Return for each kind of source what opens one."""
    paths = [folder / f"{name}.pcapng" for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(pcapng(path.stem, 400))

    @contextlib.contextmanager
    def of_files(
        open_: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Iterator[tuple[Any, Callable[[], object]]]:
        with open_(*arguments, timeout=TIMEOUT, block_size=2000, **options) as source:
            yield source, _idle

    ring = {"block_size": 4096, "num_blocks": 8, "block_timeout": 0.001}
    return {
        "file": lambda: of_files(slimcap.PcapSource, paths[0], filter="udp"),
        "merged": lambda: of_files(slimcap.open_files, paths, filter="udp"),
        "followed": lambda: of_files(slimcap.open_files, folder / "*.pcapng", follow=True),
        "mock ring": lambda: open_mock(MockRingSource, **ring),
        "mock socket": lambda: open_mock(MockSocketSource, buffer_size=4096),
        "ring": lambda: open_capture(slimcap.RingSource, **ring),
        "socket": lambda: open_capture(slimcap.SocketSource, batch_size=16),
    }


def run_crowd(seconds: float = 0.5) -> None:
    """Make all calls that use the lock of a mock at the same time, each in another thread."""
    names = ("add_batch", "next_batch", "stats", "total_stats", "can_add_packets", "drop", "freeze", "thaw")
    for kind in KINDS.values():
        with open_mock(kind) as (mock, feed):
            known = calls_of(mock)
            calls = [known[name] for name in (*names, "finalize_block") if name in known]
            faulthandler.dump_traceback_later(WATCHDOG, exit=True)
            run_together(mock, feed, calls, seconds)
            faulthandler.cancel_dump_traceback_later()
    print("crowd passed")


def run_child(*arguments: str) -> str:
    """Run this program in another process; return its last line."""
    done = subprocess.run(
        [sys.executable, "-P", __file__, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"{last}: {done.stderr}"
    return last[0]


def main(kind: str, seconds: float = SECONDS) -> None:
    sys.setswitchinterval(1e-6)
    if kind == "crowd":
        run_crowd()
        return
    with tempfile.TemporaryDirectory() as folder:
        count = run_pairs(sources(Path(folder))[kind], seconds)
    print(f"{count} pairs passed")


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
