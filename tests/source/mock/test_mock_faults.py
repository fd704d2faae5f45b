"""Faults that a mock can simulate: drops, freezes, a link that goes down."""

from __future__ import annotations

import time

import pytest

from slimcap import LinkDown, LinkGone, Stats
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.mocks import drained, hand_over, packet
from support.traffic import arp, collect, ethernet, frames_of, payloads, udp


def test_drop_adds_to_the_counters_only(opened):
    mock = opened()
    mock.drop(7)
    mock.add_batch(batch_of(frames_of(2)))
    assert mock.stats() == Stats(9, 7, 0)
    hand_over(mock)
    assert payloads(collect(mock, 2)) == frames_of(2)
    with pytest.raises(OverflowError):
        mock.drop(-1)


def test_a_frozen_mock_drops_packets_until_it_thaws(opened):
    mock = opened()
    a_ring = isinstance(mock, MockRingSource)
    mock.add_packet(packet(ethernet(udp(0))))
    mock.freeze()
    mock.freeze()
    assert mock.add_packet(packet(ethernet(udp(1))))
    assert not mock.add_packet(packet(arp()))
    mock.thaw()
    mock.add_packet(packet(ethernet(udp(2))))
    assert mock.stats() == Stats(3, 1, int(a_ring))
    mock.freeze()
    mock.thaw()
    assert mock.stats() == Stats(0, 0, int(a_ring))
    mock.done()
    assert drained(mock) == [ethernet(udp(0)), ethernet(udp(2))]


# ---- the link


def test_a_reader_waits_while_the_link_is_down(opened, background):
    mock = opened()
    mock.run()
    mock.add_packet(packet(ethernet(udp(0))))
    mock.set_link("down")
    assert not mock.add_packet(packet(ethernet(udp(1))))
    assert payloads(collect(mock, 1)) == [ethernet(udp(0))]
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0.15)
    assert time.thread_time() - before < 0.075, "spins"
    reading = background(lambda: payloads(collect(mock, 1)))
    mock.set_link("up")
    mock.add_packet(packet(ethernet(udp(2))))
    assert reading.result(3) == [ethernet(udp(2))]
    assert mock.total_stats == Stats(2, 0, 0)


@pytest.mark.parametrize("waits", [True, False])
def test_link_down_raise_raises_while_the_link_is_down(opened, background, waits):
    mock = opened(link_down="raise")
    if waits:
        reading = background(mock.next_packet)
        reading.wait_until_blocked()
    mock.set_link("down")
    if not waits:
        reading = background(mock.next_packet)
    with pytest.raises(LinkDown, match="mock"):
        reading.result(2)
    mock.set_link("up")
    mock.add_packet(packet(frames_of(1)[0]))
    hand_over(mock)
    assert payloads(collect(mock, 1)) == frames_of(1)


@pytest.mark.parametrize("link_down", ["wait", "raise"])
@pytest.mark.parametrize("before", ["up", "down"])
def test_a_link_that_is_gone_raises_after_the_packets_before(opened, background, link_down, before):
    mock = opened(link_down=link_down)
    mock.add_packet(packet(frames_of(1)[0]))
    hand_over(mock)
    mock.set_link(before)
    mock.set_link("gone")
    assert not mock.add_packet(packet(frames_of(1)[0]))
    assert payloads(collect(mock, 1)) == frames_of(1)
    with pytest.raises(LinkGone, match="mock"):
        mock.next_packet()
    reading = background(mock.next_packet)
    with pytest.raises(LinkGone):
        reading.result(3)


def test_an_unknown_link_state_raises_value_error(opened):
    with pytest.raises(ValueError, match="sideways"):
        opened().set_link("sideways")
