"""Counters of packets that wrap, as the kernel's do at 2^32."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from support.batches import batch_of
from support.mocks import Mock, hand_over, packet
from support.threads import Background
from support.traffic import ethernet, udp

WRAP = 1 << 13


def produce(mock: Mock, count: int, dropped: int) -> Background:
    """Add this many packets in a thread, and drop as many after half of them, then end the capture."""
    batch = batch_of([ethernet(udp(n)) for n in range(count // 2)])

    def add() -> None:
        mock.add_batch(batch, timeout=10)
        mock.device.drop(dropped)
        mock.add_batch(batch, timeout=10)
        mock.done()

    mock.run()
    return Background(add)


@pytest.mark.parametrize("count", [WRAP - 2, WRAP, WRAP + 2, 2 * WRAP])
@pytest.mark.parametrize("dropped", [0, 100])
def test_packets_are_counted_beyond_a_wrap(opened: Callable[..., Mock], count: int, dropped: int) -> None:
    mock = opened()
    mock.device.wrap_counters(WRAP)
    producer = produce(mock, count, dropped)
    assert sum(map(len, mock.batches())) == count
    producer.result()
    assert mock.total_stats[:2] == (count + dropped, dropped)
    assert mock.total_stats[:2] == (count + dropped, dropped)


def test_stop_returns_all_packets_after_a_wrap(opened: Callable[..., Mock]) -> None:
    mock = opened()
    mock.device.wrap_counters(WRAP)
    mock.run()
    frames = [ethernet(udp(n)) for n in range(100)]
    read = 0
    while read < WRAP - 50:
        mock.add_batch(batch_of(frames))
        read += len(mock.next_batch())
    mock.add_batch(batch_of(frames))  # the counter wraps among these
    mock.stop()
    rest = sum(map(len, mock.batches()))
    assert mock.total_stats.packets_received == read + rest
    assert rest >= 100


@pytest.mark.slow  # it waits for a second
def test_counters_are_read_while_packets_come(opened: Callable[..., Mock]) -> None:
    """Or drops would be lost, which cannot be told from the packets that were read."""
    mock = opened()
    mock.device.wrap_counters(WRAP)
    for _ in range(2):
        mock.device.drop(WRAP - 1)
        time.sleep(1.1)
        mock.add_packet(packet(ethernet(udp(1))))
        hand_over(mock)
        mock.next_packet()
    assert mock.total_stats[:2] == (2 * WRAP, 2 * WRAP - 2)


def test_counters_wrap_at_1_or_more(opened: Callable[..., Mock]) -> None:
    with pytest.raises(ValueError, match="a counter wraps at 1 or more, not at 0"):
        opened().device.wrap_counters(0)
