"""Start and end of a mock: `run` with and without drain, `done`, `stop`, `unblock`, `close`, fork."""

from __future__ import annotations

import os
import time

import pytest

from slimcap import CaptureStopped, CaptureUnblocked, Stats
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.mocks import drained, hand_over, packet
from support.threads import in_child, wait_until
from support.traffic import arp, collect, ethernet, frames_of, payloads, udp


def test_run_starts_the_block_timeout(opened, kind):
    mock = opened(block_timeout=0.05) if kind is MockRingSource else opened()
    if kind is MockRingSource:
        mock.add_packet(packet(frames_of(1)[0]))
        with pytest.raises(TimeoutError):
            mock.next_packet(timeout=0.1)
    else:
        mock.add_packet(packet(frames_of(1)[0]))
        mock.next_packet(timeout=0)
        mock.add_packet(packet(frames_of(1)[0]))
    mock.run()
    assert payloads(collect(mock, 1)) == frames_of(1)
    began = time.monotonic()
    mock.add_packet(packet(frames_of(1)[0]))
    assert payloads(collect(mock, 1)) == frames_of(1)
    took = time.monotonic() - began
    assert took < 1
    if kind is MockRingSource:
        assert took >= 0.05


def test_done_ends_the_capture_after_the_packets_that_were_added(opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(50)))
    mock.done()
    assert drained(mock) == frames_of(50)
    with pytest.raises(EOFError):
        mock.next_packet()
    assert list(mock) == []
    assert not mock.closed


def test_done_ends_the_wait_of_a_reader(opened, background):
    mock = opened()
    reading = background(lambda: drained(mock))
    reading.wait_until_blocked()
    mock.done()
    assert reading.result(2) == []


def test_stop_delivers_all_packets_that_were_added(opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(20)))
    hand_over(mock)
    got = [bytes(mock.next_packet().payload) for _ in range(7)]
    mock.add_batch(batch_of([ethernet(udp(99))]))
    mock.stop()
    got += [bytes(packet.payload) for packet in mock]
    assert got == [*frames_of(20), ethernet(udp(99))]


def test_unblock_interrupts_a_waiting_reader(opened, background):
    mock = opened()
    reading = background(mock.next_packet)
    reading.wait_until_blocked()
    mock.unblock()
    with pytest.raises(CaptureUnblocked):
        reading.result(2)
    mock.add_packet(packet(frames_of(1)[0]))
    hand_over(mock)
    assert payloads(collect(mock, 1)) == frames_of(1)


def test_a_closed_mock_raises_capture_stopped(opened):
    mock = opened()
    mock.add_packet(packet(frames_of(1)[0]))
    mock.close()
    mock.close()
    with pytest.raises(CaptureStopped):
        mock.add_batch(batch_of(frames_of(1)))
    with pytest.raises(CaptureStopped):
        mock.next_packet()
    with pytest.raises(CaptureStopped):
        mock.run(drain=False)
    mock.run()
    mock.drop(1)
    mock.freeze()
    mock.thaw()
    mock.set_link("down")
    mock.on_packet_added(print)
    hand_over(mock)
    assert isinstance(mock.can_add_packets, bool)
    mock.done()
    for loop in (mock.batches, mock.__iter__):
        with pytest.raises(CaptureStopped):
            loop()
    assert mock.total_stats[:2] == (2, 1)


def test_views_outlive_a_mock(kind, opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(5)))
    hand_over(mock)
    batch = mock.next_batch()
    views = [batch.payload(i) for i in range(5)]
    del batch
    mock.close()
    del mock
    assert [bytes(view) for view in views] == frames_of(5)


def test_an_uninitialised_mock_raises_and_is_empty(kind):
    mock = kind.__new__(kind)
    for call in (
        lambda: mock.add_packet(packet(arp())),
        lambda: mock.run(drain=False),
        lambda: mock.add_batch(batch_of(frames_of(1))),
    ):
        with pytest.raises((AttributeError, ValueError, EOFError)):
            call()
    assert list(mock) == []
    mock.close()


def test_a_forked_process_leaves_the_mock_alone(opened):
    mock, other = opened(), opened()
    mock.add_batch(batch_of(frames_of(3)))

    def child():
        for use in (
            mock.next_packet,
            lambda: mock.add_packet(packet(arp())),
            lambda: mock.add_batch(batch_of(frames_of(9))),
            mock.done,
            lambda: mock.run(drain=False),
            lambda: mock.drop(1),
            mock.freeze,
            mock.thaw,
            mock.run,
            lambda: mock.set_link("down"),
            lambda: mock.can_add_packets,
            lambda: mock.pipe(other),
        ):
            with pytest.raises(RuntimeError, match=f"this source was opened by process {os.getppid()}: "):
                use()
        mock.unblock()
        mock.stop()
        assert mock.total_stats == (0, 0, 0)
        mock.close()
        return "left alone"

    assert in_child(child) == "left alone"
    mock.add_packet(packet(ethernet(udp(9))))
    mock.done()
    assert drained(mock) == [*frames_of(3), ethernet(udp(9))]
    assert mock.total_stats == Stats(4, 0, 0)


# ---- packets that are read again and again


def test_run_without_drain_repeats_the_packets(opened):
    mock = opened()
    frames = frames_of(100)
    mock.add_batch(batch_of(frames))
    mock.run(drain=False)
    assert not mock.can_add_packets
    for add in (lambda: mock.add_packet(packet(frames[0])), lambda: mock.add_batch(batch_of(frames))):
        with pytest.raises(ValueError, match="drain=False"):
            add()
    assert [bytes(mock.next_packet().payload) for _ in range(1000)] == frames * 10
    got = payloads(collect(mock, 1000))
    assert got == (frames * (len(got) // 100 + 1))[: len(got)]
    mock.close()
    with pytest.raises(CaptureStopped):
        mock.next_packet()


def test_run_without_drain_repeats_a_full_mock(full):
    mock, frames = full()
    mock.run(drain=False)
    assert [bytes(mock.next_packet().payload) for _ in range(3 * len(frames))] == frames * 3


def test_run_without_drain_requires_packets(opened):
    mock = opened()
    for _ in range(2):
        with pytest.raises(ValueError, match="drain=False"):
            mock.run(drain=False)
    mock.add_packet(packet(frames_of(1)[0]))
    mock.run(drain=False)
    assert mock.next_packet()


def test_unblock_and_close_end_a_run_without_drain(opened, background):
    mock = opened()
    mock.add_batch(batch_of(frames_of(10)))
    mock.run(drain=False)
    seen = []
    reading = background(lambda: seen.extend(map(len, mock)))
    wait_until(lambda: len(seen) > 20)
    mock.unblock()
    with pytest.raises(CaptureUnblocked):
        reading.result(2)
    before = len(seen)
    reading = background(lambda: seen.extend(map(len, mock.batches())))
    wait_until(lambda: len(seen) > before + 2)
    mock.close()
    reading.result(2)
