"""`on_packet_added`, and what the callback may do."""

from __future__ import annotations

import pytest

from support.batches import batch_of
from support.mocks import hand_over, packet
from support.traffic import arp, collect, ethernet, frames_of, payloads, udp


def test_on_packet_added_is_called_for_every_accepted_packet(opened):
    mock = opened()
    seen = []
    mock.on_packet_added(lambda packet: seen.append((bytes(packet.payload), packet.type)))
    frames = [ethernet(udp(1)), arp(), ethernet(udp(2))]
    mock.add_packet(packet(frames[0], 3))
    mock.add_packet(packet(frames[1]))
    assert seen == [(frames[0], 3)]
    assert mock.add_batch(batch_of(frames)) == 2
    assert seen[1:] == [(frames[0], 0), (frames[2], 0)]
    mock.on_packet_added(None)
    mock.add_packet(packet(frames[0]))
    assert len(seen) == 3
    hand_over(mock)
    assert len(collect(mock, 4)) == 4


def test_an_exception_of_on_packet_added_propagates_after_the_packet_was_added(opened):
    mock = opened()
    mock.on_packet_added(lambda packet: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mock.add_packet(packet(frames_of(1)[0]))
    with pytest.raises(ZeroDivisionError):
        mock.add_batch(batch_of(frames_of(3)))
    hand_over(mock)
    assert payloads(collect(mock, 2)) == frames_of(1) * 2


def test_the_callback_may_add_packets_and_replace_itself(opened):
    mock = opened()
    batch = batch_of(frames_of(3))
    later = []

    def added(view):
        later.append(view)
        if len(later) < 3:
            mock.add_packet(view)
        with pytest.raises(BufferError):
            batch.release()
        mock.on_packet_added(None if len(later) > 3 else added)

    mock.on_packet_added(added)
    assert mock.add_batch(batch) == 3
    hand_over(mock)
    assert payloads(collect(mock, 5)) == [frames_of(3)[i] for i in (0, 0, 0, 1, 2)]
    assert {bytes(view.payload) for view in later} <= set(frames_of(3))
