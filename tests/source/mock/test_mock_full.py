"""Mocks that are full, and producers and readers in threads of their own."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from slimcap import CaptureStopped
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.mocks import SMALL, drained, hand_over, packet
from support.traffic import collect, ethernet, frames_of, payloads, udp


def test_a_producer_waits_while_the_mock_is_full(full, background):
    mock, frames = full()
    more = frames_of(500, 60)
    adding = background(lambda: [mock.add_packet(packet(frame)) for frame in more])
    adding.wait_until_blocked()
    assert adding.is_alive()
    got = []
    while len(got) < len(frames) + len(more):
        if not adding.is_alive():
            hand_over(mock)
        with contextlib.suppress(TimeoutError):
            got += payloads(collect(mock, 1, within=0.05))
    assert got == frames + more
    assert all(adding.result())
    assert mock.total_stats[:2] == (len(got), 0)


def test_a_producers_wait_ends_with_its_timeout(full):
    mock, frames = full()
    for add in (
        lambda: mock.add_packet(packet(frames[0]), timeout=0.05),
        lambda: mock.add_batch(batch_of(frames[:9]), timeout=0.05),
    ):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="no space was freed"):
            add()
        assert 0.05 <= time.monotonic() - began < 1
    with pytest.raises(ValueError, match="timeout"):
        mock.add_packet(packet(frames[0]), timeout=-1)
    assert mock.stats()[:2] == (len(frames), 0)
    assert payloads(collect(mock, len(frames))) == frames
    assert mock.can_add_packets
    assert mock.add_packet(packet(frames[0]), timeout=0)
    hand_over(mock)
    assert payloads(collect(mock, 1)) == frames[:1]


def test_when_full_drop_counts_the_packets_it_drops(full):
    mock, frames = full(when_full="drop")
    assert [mock.add_packet(packet(frame)) for frame in frames_of(7)] == [True] * 7
    assert mock.add_batch(batch_of(frames_of(5))) == 5
    assert mock.total_stats[:2] == (len(frames) + 12, 12)
    assert mock.stats().queue_freezes == isinstance(mock, MockRingSource)
    mock.done()
    assert drained(mock) == frames


@pytest.mark.parametrize("way", ["packet", "batch"])
def test_close_ends_a_producers_wait(full, background, way):
    mock, frames = full()
    if way == "packet":
        adding = background(lambda: mock.add_packet(packet(frames[0])))
    else:
        adding = background(lambda: mock.add_batch(batch_of(frames)))
    adding.wait_until_blocked()
    began = time.monotonic()
    mock.close()
    with pytest.raises(CaptureStopped):
        adding.result(within=2)
    assert time.monotonic() - began < 1
    with pytest.raises(CaptureStopped):
        mock.add_packet(packet(frames[0]))


# ---- threads


def test_a_producer_and_a_reader_in_two_threads_lose_no_packet(kind, opened):
    count = 100_000
    mock = opened(block_size=1 << 16, num_blocks=3) if kind is MockRingSource else opened(buffer_size=1 << 16)
    mock.run()
    frames = [ethernet(udp(i, i % 40)) for i in range(1000)]

    def produce():
        for i in range(count // 1000):
            if i % 10 == 9:
                for j, frame in enumerate(frames):
                    mock.add_packet(packet(frame, timestamp=i * 1000 + j + 1))
            else:
                mock.add_batch(batch_of(frames, timestamp=np.arange(i * 1000, (i + 1) * 1000) + 1))
        mock.done()

    times, first_bytes = [], []
    with ThreadPoolExecutor(1) as pool:
        producing = pool.submit(produce)
        for batch in mock.batches():
            times.append(batch["timestamp"].copy())
            first_bytes.append((bytes(batch.payload(0)), int(batch["timestamp"][0])))
            del batch
        producing.result(10)
    assert np.concatenate(times).tolist() == list(range(1, count + 1))
    assert all(data == frames[(at - 1) % 1000] for data, at in first_bytes)
    assert mock.total_stats[:2] == (count, 0)


def test_several_producers_keep_the_order_of_each(kind, opened, background):
    mock = opened(**SMALL[kind])
    mock.run()

    def produce(pkt_type):
        for i in range(2000):
            mock.add_packet(packet(ethernet(udp(i)), pkt_type))

    producing = [background(lambda pkt_type=pkt_type: produce(pkt_type)) for pkt_type in range(3)]
    got = collect(mock, 6000, within=20)
    for one in producing:
        one.result()
    for pkt_type in range(3):
        mine = [one.data for one in got if one.pkt_type == pkt_type]
        assert mine == [ethernet(udp(i)) for i in range(2000)]


def test_a_waiting_reader_is_woken(opened, background):
    mock = opened()
    mock.run()
    reading = background(lambda: bytes(mock.next_packet().payload))
    reading.wait_until_blocked()
    mock.add_packet(packet(frames_of(1)[0]))
    assert reading.result(2) == frames_of(1)[0]


def test_a_waiting_reader_uses_no_cpu(opened):
    mock = opened()
    mock.run()
    mock.add_packet(packet(frames_of(1)[0]))
    held = mock.next_batch()
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0.15)
    assert time.thread_time() - before < 0.075, "spins"
    assert len(held) == 1
