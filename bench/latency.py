"""How soon does slimcap wake up: for unblock() and close(), for Ctrl-C, and for a packet on a quiet line?

    python bench/latency.py      measure, and print the table (as root)

Each is measured once a round, on a cable of its own. live_capture.py shows the same, measured on its cable.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter, sleep
from typing import Any

import cable
import common
from cable import RECEIVING, sending_socket
from live_readers import BLOCK_TIMEOUT_MS

import slimcap

SETTLED = 0.02  # seconds after which a reader surely waits
KINDS = [kind for kind in ("RingSource", "SocketSource") if hasattr(slimcap, kind)]
FRAME = bytes.fromhex("020000000009 020000000001 0800 45") + bytes(45)
IDLE = """
import signal, sys, slimcap
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it
with getattr(slimcap, sys.argv[1])(sys.argv[2]) as source:
    print("ready", flush=True)
    source.next_packet()
"""


def open_source(kind: str) -> Any:
    return getattr(slimcap, kind)(RECEIVING, timeout=5)


def woken(source: Any, wake: Callable[[], None]) -> float:
    """From `wake()` until a reader that waits is back."""
    back = []

    def wait() -> None:
        try:
            source.next_batch()
        except (slimcap.CaptureUnblocked, slimcap.CaptureStopped):
            back.append(perf_counter())

    reader = threading.Thread(target=wait)
    reader.start()
    sleep(SETTLED)
    start = perf_counter()
    wake()
    reader.join()
    return back[0] - start


def unblock(kind: str, samples: int) -> list[float]:
    with open_source(kind) as source:
        return [woken(source, source.unblock) for _ in range(samples)]


def close(kind: str, samples: int) -> list[float]:
    sources = (open_source(kind) for _ in range(samples))
    return [woken(source, source.close) for source in sources]


def interrupt(kind: str, samples: int) -> list[float]:
    """From SIGINT to the end of a process that waits for a packet: Python's own end is part of it."""
    return [interrupted(kind) for _ in range(samples)]


def interrupted(kind: str) -> float:
    # -P: import what is installed, not the tree in the working directory.
    command = [sys.executable, "-P", "-c", IDLE, kind, RECEIVING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{kind} cannot be opened by a process of its own")
        sleep(SETTLED)
        start = perf_counter()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        return perf_counter() - start


def packet(kind: str, samples: int) -> list[float]:
    """From before a packet is sent until next_packet() returns, at moments spread over the block timeout."""
    found = []
    with open_source(kind) as source, sending_socket() as out:
        for i in range(samples):
            sleep(SETTLED + BLOCK_TIMEOUT_MS / 1000 * (i * 0.618 % 1))
            start = perf_counter()
            out.send(FRAME)
            source.next_packet()
            found.append(perf_counter() - start)
    return found


QUESTIONS = {"unblock()": unblock, "close()": close, "Ctrl-C to exit": interrupt, "a packet": packet}


def measure(samples: int) -> dict[str, list[float]]:
    """Seconds, by what was waited for and by whom."""
    return {f"{name}, {kind}": ask(kind, samples) for kind in KINDS for name, ask in QUESTIONS.items()}


def table(found: Mapping[str, list[float]]) -> str:
    """Make a table of what `measure` found."""
    header = ["milliseconds until", "median", "worst", "of"]
    rows = [
        [name, f"{median(times) * 1e3:.2f}", f"{max(times) * 1e3:.2f}", str(len(times))]
        for name, times in found.items()
    ]
    return common.table(header, rows)


def run(options: argparse.Namespace) -> dict[str, Any]:
    cable.lay()
    return common.new_results(__doc__, options, ("numpy", "slimcap"), latency=measure(options.rounds))


def render(results: dict[str, Any]) -> str:
    return common.document(results, [table(results["latency"])])


def main() -> None:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 50)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.rounds)))
    else:
        common.finish(options, run, render)


if __name__ == "__main__":
    main()
