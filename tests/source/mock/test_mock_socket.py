"""Mock sockets: batches and buffer."""

from __future__ import annotations

from itertools import pairwise

import pytest

from slimcap import Link
from slimcap.mock import MockSocketSource
from slimcap.source.mock.mock_socket import MockSocket
from support.batches import batch_of
from support.mocks import fill, packet
from support.traffic import ethernet, frames_of, udp


def test_the_socket_gives_each_packet_at_once():
    with MockSocketSource(timeout=0) as mock:
        for i in range(100):
            mock.add_packet(packet(ethernet(udp(i))))
            assert bytes(mock.next_packet().payload) == ethernet(udp(i))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, 1024])
def test_batches_of_a_socket_have_at_most_batch_size_packets(batch_size):
    with MockSocketSource(timeout=1, batch_size=batch_size) as mock:
        mock.add_batch(batch_of(frames_of(100)))
        mock.done()
        sizes = [len(batch) for batch in mock.batches()]
    assert sum(sizes) == 100
    assert max(sizes) == min(batch_size, 100)
    assert all(a >= b for a, b in pairwise(sizes))


def test_the_buffer_size_limits_the_bytes_of_a_socket():
    with MockSocketSource(timeout=1, buffer_size=1 << 16) as mock:
        small = len(fill(mock))
    with MockSocketSource(timeout=1, buffer_size=1 << 16) as mock:
        large = 0
        while mock.can_add_packets:
            mock.add_packet(packet(ethernet(udp(1, 9000))), timeout=0)
            large += 1
    assert 2 * (1 << 16) / 900 < small < 2 * (1 << 16) / 700
    assert 10 < large < 16


def test_a_mock_socket_without_a_source_drops_packets():
    """It behaves as a socket that is not bound."""
    device = MockSocket(Link("mock", 1, 1))
    assert not device.has_space
    assert not device.add_packet(packet(frames_of(1)[0]))
    assert device.add_batch(batch_of(frames_of(3))) == 0
    assert not device.finalize()
    with pytest.raises(TypeError, match="ring"):
        device.add_empty_block()
