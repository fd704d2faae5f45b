"""Forks in the middle of everything: a child can use nothing of its parent, and the parent loses nothing."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import signal
import sys
import sysconfig
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from players import Broken, Call, Ledger, Players, numbered, rounds
from slimcap import open_file, open_files, open_writer, read
from slimcap.mock import MockRingSource, MockSocketSource
from stress_files import ALLOWED, COUNT, written
from stress_mocks import readers
from stress_writers import batches_of_packets

CHILD_SECONDS = 20
# There a lock of an object for which another thread waits may stay locked in a child: CPython hands it over
# before that thread runs. A child that uses a shared list hangs as well.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of packets."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks while threads run, from Python 3.12 on
    with own_folder() as folder:
        paths = written(folder)
        openers: list[Callable[[], Any]] = [
            *[lambda path=path: open_file(path, block_size=1 << 14) for path in paths.values()],
            lambda: open_files([folder / f"part{part}.pcapng" for part in range(3)]),
            lambda: filled(MockRingSource(num_blocks=64, block_size=1 << 14, timeout=5)),
            lambda: filled(MockSocketSource(buffer_size=1 << 23, timeout=5)),
        ]

        def one_round(end: float) -> int:
            if rng.random() < 0.3:
                return writing(rng, folder / "out.pcapng")
            return reading(rng, rng.choice(openers)())

        return rounds(one_round, seconds)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Make a temporary folder, which a forked process does not remove."""
    process, folder = os.getpid(), tempfile.mkdtemp()
    try:
        yield Path(folder)
    finally:
        if os.getpid() == process:
            shutil.rmtree(folder)


def filled(mock: Any) -> Any:
    for number in range(COUNT):
        mock.add_packet(numbered(number))
    mock.done()
    return mock


def reading(rng: random.Random, source: Any) -> int:
    """Read a source in threads, and fork meanwhile."""
    ledger, stray = Ledger(), Ledger()
    at_end = threading.Event()

    def read_some(rng: random.Random) -> None:
        try:
            ledger.take_batch(source.next_batch(rng.randint(1, 50)))
        except EOFError:
            at_end.set()

    def start() -> Players:
        return Players(rng, {"next_batch": read_some}, ALLOWED)

    players = start()
    while not at_end.wait(0.005) and not players.failed:
        if FREE_THREADED:
            players.stop()
        fork(rng, source, readers(source, stray))
        if FREE_THREADED:
            players = start()
    players.stop()
    ledger.check(COUNT, all_of_them=True)
    source.close()
    return len(ledger)


def writing(rng: random.Random, path: Path) -> int:
    """Write a file in a thread, and fork meanwhile."""
    writer = open_writer(path, compression=rng.choice((None, "gzip")))
    batches = batches_of_packets(20)
    busy: dict[str, Call] = {
        "write_batch": lambda rng: writer.write_batch(batches[0]),
        "flush": lambda rng: writer.flush(),
    }
    for batch in batches:
        writer.write_batch(batch)
        if rng.random() < 0.05:
            fork(rng, writer, busy)
    writer.close()
    back = Ledger()
    back.take_batch(read(path))
    back.check(sum(map(len, batches)), all_of_them=True)
    return len(back)


def fork(rng: random.Random, owned: Any, calls: dict[str, Call]) -> None:
    """Let a child try what the parent does, and leave in one of several ways."""
    seed, leave = rng.random(), rng.choice(("_exit", "exit", "close", "with", "collect"))
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_SECONDS)
        try:
            use(random.Random(seed), calls)
            if leave == "close":
                owned.close()
            elif leave == "with":
                owned.__exit__(None, None, None)
            elif leave == "collect":
                del owned
                gc.collect()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        if leave == "exit":
            sys.exit(0)  # through all the frames above
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise Broken(f"a child that left by {leave!r} ended with status {status:#x}")


def use(rng: random.Random, calls: dict[str, Call]) -> None:
    for name, call in rng.sample(list(calls.items()), len(calls)):
        with contextlib.suppress(RuntimeError):
            call(rng)
            raise Broken(f"{name} works in a child")
