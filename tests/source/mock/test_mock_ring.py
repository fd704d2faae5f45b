"""The blocks of a mock ring: handing over, repeating, releasing, counters."""

from __future__ import annotations

import contextlib

import pytest

from slimcap import RecordFlag, RingExhausted
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.mocks import TWO_PAGES, drained, fill, packet
from support.traffic import PAGE, arp, collect, ethernet, frames_of, payloads, udp


def test_finalize_block_hands_over_the_open_block(ring):
    mock = ring()
    assert not mock.finalize_block()
    mock.add_batch(batch_of(frames_of(3)))
    assert mock.finalize_block()
    assert not mock.finalize_block()
    mock.add_batch(batch_of(frames_of(2)))
    assert mock.finalize_block()
    assert [len(mock.next_batch()) for _ in range(2)] == [3, 2]


def test_a_full_block_is_handed_over_at_once(ring):
    mock = ring(**TWO_PAGES)
    frames = frames_of(40)
    count = mock.add_batch(batch_of(frames))
    first = mock.next_batch()
    assert 20 < len(first) < 40
    mock.finalize_block()
    assert len(first) + len(mock.next_batch()) == count


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 14, 40, 1500, 3930])
def test_rings_of_few_blocks_wrap_around(ring, num_blocks, size):
    """Each round has one more packet in its block."""
    mock = ring(block_size=PAGE, num_blocks=num_blocks, auto_filter=False)
    sent = got = 0
    for count in range(1, 3 * PAGE // (size + 100)):
        for _ in range(count):
            if not mock.can_add_packets:
                break
            mock.add_packet(
                packet(sent.to_bytes(4, "little")[: min(size, 4)] + bytes(max(0, size - 4))), timeout=0
            )
            sent += 1
        mock.finalize_block()
        while got < sent:
            for one in collect(mock, 1):
                assert one.data[:4] == got.to_bytes(4, "little")[: min(size, 4)]
                assert one.cap_len == size
                got += 1
    assert sent > 1
    assert mock.total_stats[:2] == (sent, 0)


def test_empty_blocks_are_skipped(ring):
    mock = ring(**TWO_PAGES)
    for i in range(5):
        assert mock.add_empty_block()
        mock.add_packet(packet(ethernet(udp(i))))
        mock.finalize_block()
        assert payloads(collect(mock, 1)) == [ethernet(udp(i))]
    assert mock.add_empty_block()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0.02)
    mock.add_packet(packet(ethernet(udp(7))))
    assert mock.add_empty_block()  # after the open block, which it hands over
    assert not mock.add_empty_block()
    mock.done()
    assert drained(mock) == [ethernet(udp(7))]
    assert mock.total_stats.packets_received == 6


@pytest.mark.parametrize("size", [PAGE - 100, PAGE, 3 * PAGE])
def test_packets_larger_than_a_block_are_truncated_to_it(ring, size):
    """tpacket_rcv() truncates to `max_frame_len`."""
    mock = ring(**TWO_PAGES)
    frames = [ethernet(udp(1)), ethernet(udp(2, size)), ethernet(udp(3))]
    got = []
    for frame in frames:
        mock.add_packet(packet(frame), timeout=0)
        mock.finalize_block()
        got += collect(mock, 1)
    assert payloads(got) == [frame[: PAGE - 48 - 82] for frame in frames]
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    assert [one.flags for one in got] == [0, RecordFlag.TRUNCATED if size > PAGE - 200 else 0, 0]


# ---- blocks that are read again and again


def test_run_without_drain_refuses_empty_blocks_alone(ring):
    mock = ring()
    mock.add_empty_block()
    with pytest.raises(ValueError, match="drain=False"):
        mock.run(drain=False)
    mock.add_packet(packet(frames_of(1)[0]))
    mock.add_empty_block()
    mock.run(drain=False)
    assert [bytes(mock.next_packet().payload) for _ in range(5)] == frames_of(1) * 5


def test_run_without_drain_after_a_release_repeats_what_came_later(ring):
    mock = ring()
    mock.add_batch(batch_of(frames_of(3)))
    mock.finalize_block()
    mock.force_block_release()
    mock.add_packet(packet(arp()), 0)
    mock.add_packet(packet(ethernet(udp(7))))
    mock.run(drain=False)
    assert [bytes(mock.next_packet().payload) for _ in range(5)] == [ethernet(udp(7))] * 5


def test_run_without_drain_after_a_read_raises_value_error(ring):
    mock = ring()
    mock.add_batch(batch_of(frames_of(3)))
    mock.finalize_block()
    mock.next_packet()
    with pytest.raises(ValueError, match="none was read"):
        mock.run(drain=False)


def test_run_without_drain_does_not_repeat_blocks_held_by_views(ring):
    """A block is not read again before it was released."""
    mock = ring(ring_exhausted="raise")
    for i in range(2):
        mock.add_packet(packet(ethernet(udp(i))))
        mock.finalize_block()
    mock.run(drain=False)
    held = [mock.next_batch() for _ in range(2)]
    with pytest.raises(RingExhausted, match="2 of 2"):
        mock.next_batch()
    held.clear()
    assert payloads(collect(mock, 4)) == [ethernet(udp(i)) for i in (0, 1, 0, 1)]


# ---- blocks held by views


def test_force_block_release_empties_the_ring(ring):
    mock = ring(**TWO_PAGES)
    fill(mock)
    mock.force_block_release()
    assert mock.can_add_packets
    mock.add_packet(packet(ethernet(udp(99))), timeout=0)
    mock.finalize_block()
    assert payloads(collect(mock, 1)) == [ethernet(udp(99))]
    mock.add_packet(packet(ethernet(udp(98))), timeout=0)
    mock.force_block_release()  # includes an open block
    mock.add_packet(packet(ethernet(udp(97))), timeout=0)
    mock.done()
    assert drained(mock) == [ethernet(udp(97))]


def test_force_block_release_leaves_blocks_held_by_views(ring):
    mock = ring(block_size=PAGE, num_blocks=3, ring_exhausted="raise")
    for i in range(2):
        mock.add_packet(packet(ethernet(udp(i))))
        mock.finalize_block()
    held = mock.next_batch()
    mock.force_block_release()
    for i in range(10, 12):
        mock.add_packet(packet(ethernet(udp(i))), timeout=0)
        mock.finalize_block()
    assert not mock.can_add_packets
    assert bytes(held.payload(0)) == ethernet(udp(0))
    assert payloads(collect(mock, 2)) == [ethernet(udp(i)) for i in (10, 11)]
    with pytest.raises(RingExhausted):
        mock.next_batch()
    del held
    assert mock.can_add_packets


def test_force_block_release_wakes_a_waiting_producer(ring, background):
    mock = ring(**TWO_PAGES)
    fill(mock)
    adding = background(lambda: mock.add_packet(packet(ethernet(udp(99)))))
    adding.wait_until_blocked()
    mock.force_block_release()
    assert adding.result(2)


def test_force_block_release_of_a_closed_mock_does_nothing(ring):
    mock = ring()
    mock.add_packet(packet(arp()))
    mock.close()
    mock.force_block_release()
    MockRingSource.__new__(MockRingSource).force_block_release()


def test_blocks_held_by_views_stop_the_ring(ring, background):
    mock = ring(**TWO_PAGES, ring_exhausted="raise")
    mock.run()
    held = []
    for i in range(2):
        mock.add_packet(packet(ethernet(udp(i))))
        held.append(mock.next_batch())
    assert not mock.can_add_packets
    with pytest.raises(RingExhausted, match="2 of 2 blocks are held by views"):
        mock.next_batch()
    adding = background(lambda: mock.add_packet(packet(ethernet(udp(2)))))
    adding.wait_until_blocked()
    assert adding.is_alive()
    del held[1]
    adding.wait_until_blocked()
    assert adding.is_alive()  # blocks are reused in order, and the first is still held
    held.clear()
    assert adding.result(2)
    assert payloads(collect(mock, 1)) == [ethernet(udp(2))]


# ---- counters


def test_losing_flag_is_set_until_the_counters_are_read(ring):
    mock = ring(auto_filter=False)

    def flags():
        mock.add_batch(batch_of(frames_of(2)))
        mock.finalize_block()
        return [one.flags for one in collect(mock, 2)]

    assert flags() == [0, 0]
    mock.drop(3)
    assert flags() == [RecordFlag.LOSING, 0]
    assert flags() == [RecordFlag.LOSING, 0]
    assert mock.stats().packets_dropped == 3
    assert flags() == [0, 0]


def test_each_freeze_counts_once(ring):
    mock = ring(**TWO_PAGES, when_full="drop")
    for i in range(3):
        fill(mock)
        mock.add_batch(batch_of(frames_of(5)))
        assert mock.total_stats.queue_freezes == i + 1
        while mock.total_stats.packets_dropped:
            with contextlib.suppress(TimeoutError):
                mock.next_batch(timeout=0)
                continue
            break
    assert mock.total_stats.packets_dropped == 15
