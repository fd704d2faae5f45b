"""Reads of a ring whose next block is held by views: they wait for it, and end if it will not come back."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slimcap import CaptureStopped, CaptureUnblocked, RingExhausted
from slimcap.mock import MockRingSource
from support.batches import payloads_of
from support.mocks import packet
from support.threads import Background
from support.traffic import PAGE, ethernet, udp

LIMIT = 2.0  # seconds without a block that comes back
Held = tuple[MockRingSource, list[Any]]

CALLS: dict[str, Callable[[MockRingSource], object]] = {
    "next_batch": MockRingSource.next_batch,
    "batches": lambda source: next(source.batches()),
    "iteration": next,
    "next_packet": MockRingSource.next_packet,
    "next_payload": MockRingSource.next_payload,
    "next_ip_packet": MockRingSource.next_ip_packet,
    "next_packet_fn": lambda source: source.next_packet_fn(lambda *_: None),
    "next_payload_zero_copy": MockRingSource.next_payload_zero_copy,
    "next_ip_packet_zero_copy": MockRingSource.next_ip_packet_zero_copy,
}


def add(source: MockRingSource, number: int) -> bytes:
    """Hand over a block with one packet."""
    frame = ethernet(udp(number))
    source.add_packet(packet(frame), timeout=5)
    source.finalize_block()
    return frame


@pytest.fixture
def held() -> Iterator[Callable[..., Held]]:
    """Opens a ring of which every block is held; gives the source and the views of the blocks."""
    opened: list[MockRingSource] = []

    def make(num_blocks: int = 2, **options: Any) -> Held:
        source = MockRingSource(block_size=PAGE, num_blocks=num_blocks, **options)
        opened.append(source)
        views: list[Any] = []
        for number in range(num_blocks):
            add(source, number)
            views.append(source.next_payload_zero_copy(timeout=5)[0])
        return source, views

    yield make
    for source in opened:
        source.close()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_read_waits_until_another_thread_releases_the_block(
    held: Callable[..., Held], background: type[Background], call: Callable[[MockRingSource], object]
) -> None:
    source, views = held()
    reading = background(lambda: call(source))
    reading.wait_until_blocked()
    views.clear()
    add(source, 7)
    reading.result(within=1)
    assert source.total_stats == (3, 0, 0)


def test_waiting_reader_is_woken_at_once(held: Callable[..., Held], background: type[Background]) -> None:
    """Not by the 50 ms after which a wait looks for signals of Python."""
    took = []
    source, views = held()
    for number in range(9):
        woken: list[float] = []

        def read(woken: list[float] = woken) -> None:
            views.append(source.next_payload_zero_copy()[0])
            woken.append(time.monotonic())

        reading = background(read)
        reading.wait_until_blocked()
        began = time.monotonic()
        del views[0]  # the next block, in place of which the producer fills it
        add(source, number)
        reading.result(within=2)
        took.append(woken[0] - began)
    assert sorted(took)[4] < 0.025


def test_blocks_that_are_read_again_and_again_wake_the_reader(background: type[Background]) -> None:
    """A repeated block is ready as soon as it comes back: no producer says so."""
    with MockRingSource(block_size=PAGE, num_blocks=4) as source:
        frames = [add(source, number) for number in range(2)]
        source.run(drain=False)
        batches = [source.next_batch() for _ in range(2)]
        reading = background(source.next_batch)
        reading.wait_until_blocked()
        del batches[0]
        assert payloads_of(reading.result(within=1)) == frames[:1]


@pytest.mark.slow
def test_views_that_nobody_releases_raise_ring_exhausted(held: Callable[..., Held]) -> None:
    """A thread that keeps every batch would wait for itself."""
    source, views = held()
    began = time.monotonic()
    with pytest.raises(RingExhausted, match=r"2 of 2 blocks are held by views.*batch\.copy"):
        source.next_batch()
    assert LIMIT <= time.monotonic() - began < LIMIT + 1
    began = time.monotonic()
    with pytest.raises(RingExhausted):  # still: no block came back since
        source.next_batch()
    assert time.monotonic() - began < 1
    views.clear()
    frame = add(source, 7)
    assert payloads_of(source.next_batch()) == [frame]


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [0, 0.2])
def test_short_timeouts_expire_until_the_limit(held: Callable[..., Held], timeout: float) -> None:
    """A loop that ignores TimeoutError does not run forever."""
    source, _views = held()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no packet arrived within the timeout: 2 of 2 blocks are held"):
        source.next_batch(timeout=timeout)
    assert timeout <= time.monotonic() - began < timeout + 1

    def read_again_and_again() -> None:
        while time.monotonic() < began + LIMIT + 2:
            with contextlib.suppress(TimeoutError):
                source.next_batch(timeout=timeout)
            time.sleep(0.01)

    with pytest.raises(RingExhausted):
        read_again_and_again()
    assert time.monotonic() - began >= LIMIT


@pytest.mark.slow
def test_blocks_that_come_back_extend_the_wait(
    held: Callable[..., Held], background: type[Background]
) -> None:
    """The next block is released last."""
    source, views = held(4)
    reading = background(source.next_batch)
    began = time.monotonic()
    while len(views) > 1:
        time.sleep(0.45 * LIMIT)
        del views[-1]
    time.sleep(0.45 * LIMIT)
    assert reading.is_alive()
    assert time.monotonic() - began > 1.5 * LIMIT
    views.clear()
    frame = add(source, 7)
    assert payloads_of(reading.result(within=1)) == [frame]


@pytest.mark.parametrize(
    ("end", "error"),
    [("unblock", CaptureUnblocked), ("close", CaptureStopped), ("stop", EOFError)],
)
def test_calls_of_other_threads_end_the_wait(
    held: Callable[..., Held], background: type[Background], end: str, error: type[Exception]
) -> None:
    source, views = held()
    reading = background(source.next_batch)
    reading.wait_until_blocked()
    getattr(source, end)()
    with pytest.raises(error):
        reading.result(within=1)
    if end == "unblock":
        views.clear()
        frame = add(source, 7)
        assert payloads_of(source.next_batch()) == [frame]


def test_ctrl_c_ends_the_wait(held: Callable[..., Held]) -> None:
    source, _views = held()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            source.next_batch()
        assert time.monotonic() - began < 1
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_raise_does_not_wait(held: Callable[..., Held]) -> None:
    source, _views = held(ring_exhausted="raise")
    began = time.monotonic()
    for timeout in (None, 0, 10):
        with pytest.raises(RingExhausted, match="2 of 2 blocks are held by views"):
            source.next_batch(timeout=timeout)
    assert time.monotonic() - began < 0.5


def test_reads_are_as_before_once_the_block_is_back(held: Callable[..., Held]) -> None:
    """A wake-up that comes too late is forgotten, and so is the time of the wait."""
    source, views = held()
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.01)
    views.clear()
    with pytest.raises(TimeoutError, match=r"within the timeout$"):
        source.next_batch(timeout=0)
    for number in range(2):
        add(source, number)
        views.append(source.next_payload_zero_copy()[0])
    with pytest.raises(TimeoutError):  # not RingExhausted: this wait is another one
        source.next_batch(timeout=0.01)
