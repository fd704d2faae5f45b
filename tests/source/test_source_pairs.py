"""Every pair of public calls from two threads, in a process that ends if it hangs; Ctrl-C meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import pairs
from support.batches import batch_of
from support.mocks import KINDS, Mock
from support.traffic import frames_of


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "merged", "followed", "mock ring", "mock socket"])
def test_no_pair_of_calls_hangs_or_fails(kind: str) -> None:
    assert int(pairs.run_child(kind).split()[0]) > 400


def test_calls_are_those_that_a_source_has() -> None:
    with KINDS["ring"]() as mock:
        calls = pairs.calls_of(mock)
    assert {"next_packet", "stats", "total_stats", "close", "add_batch", "interfaces", "pipe"} <= set(calls)


# ---- Ctrl-C


@pytest.mark.slow
def test_callers_of_counters_do_not_stop_a_mock() -> None:
    """A producer, a reader, and threads that count, hand over and drop, for a second."""
    assert pairs.run_child("crowd") == "crowd passed"


@pytest.fixture
def feeding(kind: type[Mock]) -> Iterator[Mock]:
    """A mock to which a thread adds packets as fast as possible for 5 seconds."""
    with kind(timeout=5) as mock:
        batch = batch_of(frames_of(50))
        over = threading.Event()
        end = time.monotonic() + 5

        def add() -> None:
            while time.monotonic() < end and not over.is_set():
                mock.add_batch(batch, timeout=5)
            mock.done()

        mock.run()
        thread = threading.Thread(target=add, daemon=True)
        thread.start()
        yield mock
        over.set()
        for _batch in mock.batches():
            pass
        thread.join(5)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "read",
    [
        lambda mock: [None for _ in mock.batches()],
        lambda mock: [None for _ in mock],
        lambda mock: deque(mock, maxlen=0),
        lambda mock: deque(mock.batches(), maxlen=0),
        lambda mock: all(mock.next_packet_fn(lambda *_: True) for _ in iter(int, 1)),
    ],
    ids=["batches", "packets", "packets in C", "batches in C", "callbacks"],
)
def test_ctrl_c_ends_a_reader_while_packets_come(feeding: Mock, read: Callable[[Mock], Any]) -> None:
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.1, interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            read(feeding)
        assert time.monotonic() - sent[0] < 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        timer.join(5)
        signal.signal(signal.SIGINT, before)
