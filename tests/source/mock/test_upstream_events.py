"""Ends, signals and counters of a mock, as in the packages event and socket.

These state the behaviours that the Go library slimcap states in its own tests. Where ours differs on
purpose, the test says how and why.
"""

from __future__ import annotations

import time

import pytest

from slimcap import CaptureStopped, CaptureUnblocked, Stats
from support.threads import wait_until
from support.upstream import COUNT, open_mock, packets, shown, total_len_of


def test_a_closed_source_stays_stopped(kind):
    mock = open_mock(kind)
    mock.close()
    for _ in range(2):
        with pytest.raises(CaptureStopped):
            mock.next_packet()


def test_close_leaves_the_memory_of_views(kind):
    """Upstream unmaps the ring at once, which invalidates packets that were read without a copy."""
    mock = open_mock(kind)
    mock.add_packet(packets()[101])
    mock.done()
    payload, _, _ = mock.next_payload_zero_copy()
    mock.close()
    assert bytes(payload) == shown(101)


def test_close_ends_the_wait_of_a_reader_at_once(kind, background):
    mock = open_mock(kind, timeout=None)
    reading = background(mock.next_packet)
    reading.wait_until_blocked()
    assert reading.is_alive()
    began = time.monotonic()
    mock.close()
    with pytest.raises(CaptureStopped):
        reading.result(within=2)
    assert time.monotonic() - began < 1


def test_close_ends_a_filled_mock_without_drain(kind):
    """It must be filled before."""
    mock = open_mock(kind)
    with pytest.raises(ValueError, match="drain=False"):
        mock.run(drain=False)
    added = 0
    while mock.can_add_packets:
        mock.add_packet(packets()[added % COUNT], timeout=0)
        added += 1
    assert added > 1000
    mock.run(drain=False)
    mock.close()
    for _ in range(2):
        with pytest.raises(CaptureStopped):
            mock.next_packet()


# ---- signals


def test_many_signals_are_reported_once_and_close_prevails(kind):
    """Any number of unblocks before a read raise once; close prevails, and stays."""
    mock = open_mock(kind)
    for _ in range(44):
        mock.unblock()
    with pytest.raises(CaptureUnblocked):
        mock.next_packet()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0)
    for _ in range(300):
        mock.unblock()
    mock.close()
    for _ in range(3):
        with pytest.raises(CaptureStopped):
            mock.next_packet()


def test_packets_and_then_unblock_wake_a_reader(kind, background):
    """Each packet wakes the reader."""
    with open_mock(kind, timeout=None) as mock:
        mock.run()
        got = []

        def read():
            while True:
                got.append(mock.next_packet().total_len)

        reading = background(read)
        for n in range(5):
            reading.wait_until_blocked()
            mock.add_packet(packets()[n])
            wait_until(lambda n=n: len(got) == n + 1)
        mock.unblock()
        with pytest.raises(CaptureUnblocked):
            reading.result(within=2)
    assert got == [total_len_of(n) for n in range(5)]


def test_close_prevails_over_an_earlier_unblock(kind):
    """Upstream polls a closed descriptor and gets EBADF. Ours raises CaptureStopped each time."""
    mock = open_mock(kind)
    mock.unblock()
    mock.close()
    for _ in range(10):
        with pytest.raises(CaptureStopped):
            mock.next_payload(timeout=0)


# ---- counters


def test_stats_are_cleared_by_reading_them(kind):
    with open_mock(kind) as mock:
        mock.drop(1)
        assert mock.stats() == Stats(1, 1, 0)
        assert mock.stats() == Stats(0, 0, 0)
        assert mock.total_stats == Stats(1, 1, 0)
    # Upstream returns an error after close. Ours has read the counters before it closed.
    assert mock.total_stats == Stats(1, 1, 0)


def test_stats_lose_no_count_between_reading_and_clearing(kind, background):
    with open_mock(kind) as mock:
        count = 20_000
        counting = background(lambda: [mock.drop(1) for _ in range(count)])
        seen = 0
        end = time.monotonic() + 10
        while seen < count and time.monotonic() < end:
            seen += mock.stats().packets_dropped
        counting.result()
        assert seen == count
