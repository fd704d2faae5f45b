"""Packets that no thread will hand over, rings of one block, and the state of the simulated interface."""

from __future__ import annotations

import pickle
import threading

import pytest

from slimcap import Link, LinkNotFound
from slimcap.mock import MockRingSource
from support.batches import batch_of, payloads_of
from support.mocks import drained, hand_over, packet
from support.traffic import PAGE, collect, frames_of, payloads


@pytest.mark.parametrize("read", ["next_packet", "next_batch", "next_payload", "__next__"])
def test_reading_an_open_block_without_run_raises_at_once(read):
    with MockRingSource() as mock:
        mock.add_packet(packet(frames_of(1)[0]))
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"call run\(\) once.* finalize_block\(\)"):
                getattr(mock, read)()
        with pytest.raises(TimeoutError, match=r"call run\(\)"):
            mock.next_batch(timeout=0.01)
        mock.run()
        assert bytes(mock.next_packet().payload) == frames_of(1)[0]


def test_full_blocks_are_read_before_the_open_one_is_missed():
    with MockRingSource(block_size=PAGE, num_blocks=4) as mock:
        frames = frames_of(60)
        mock.add_batch(batch_of(frames))
        got = []
        with pytest.raises(RuntimeError, match=r"run\(\)"):
            got.extend(bytes(packet.payload) for packet in mock)
        assert 0 < len(got) < 60
        mock.done()
        assert got + drained(mock) == frames


def test_another_thread_may_hand_over_later(background):
    """A reader waits for packets of another thread, which may finalize the block."""
    with MockRingSource() as mock:
        adding = threading.Event()

        def add():
            mock.add_batch(batch_of(frames_of(3)))
            adding.set()

        background(add).result()
        assert adding.wait(5)
        reading = background(mock.next_batch)
        reading.wait_until_blocked()
        mock.finalize_block()
        assert len(reading.result()) == 3


def test_ring_of_one_block_can_be_read_in_a_loop():
    """The variable of the loop still has the last batch when the next one is read."""
    with MockRingSource(num_blocks=1, block_size=PAGE, timeout=5) as mock:
        kept = []
        frames = frames_of(12)
        for start in range(0, 12, 3):
            mock.add_batch(batch_of(frames[start : start + 3]))
            mock.finalize_block()
            kept.append(mock.next_batch())
        assert [data for batch in kept for data in payloads_of(batch)] == frames


def test_link_of_a_mock_has_the_state_of_the_mock(opened):
    """Not that of lo, which has the same index."""
    mock = opened("eth9")
    assert isinstance(mock.link, Link)
    assert mock.link == Link("eth9", 1, 1, 1) == mock.link
    assert mock.link != Link("eth9", 2, 1, 1)
    assert pickle.loads(pickle.dumps(mock.link)) == mock.link
    assert len({mock.link, Link("eth9", 1, 1, 1)}) == 1
    assert (mock.link.name, mock.link.type, mock.link.is_up, mock.link.is_vlan) == ("eth9", 1, True, False)
    assert mock.link.addresses == ()
    mock.set_link("down")
    assert not mock.link.is_up
    mock.set_link("up")
    assert mock.link.is_up
    mock.add_batch(batch_of(frames_of(2)))
    hand_over(mock)
    assert payloads(collect(mock, 2)) == frames_of(2)
    mock.set_link("gone")
    for name in ("is_up", "is_vlan", "addresses"):
        with pytest.raises(LinkNotFound, match=r"'eth9' was removed with set_link"):
            getattr(mock.link, name)
