"""Pipes into a mock, as in the packages afpacket and afring.

These state the behaviours that the Go library slimcap states in its own tests. Where ours differs on
purpose, the test says how and why.
"""

from __future__ import annotations

import pytest

from slimcap import Packet, PacketType, Stats, open_file
from slimcap.mock import MockRingSource, MockSocketSource
from support.upstream import COUNT, open_mock, packets, total_len_of


@pytest.mark.parametrize("other", [MockRingSource, MockSocketSource], ids=["to afring", "to afpacket"])
def test_a_pipe_from_mock_to_mock_gives_every_packet(kind, other, produce):
    with open_mock(kind) as first, open_mock(other) as second:
        adding = produce(first)
        replay = second.pipe(first)
        assert [packet.total_len for packet in second] == [total_len_of(n) for n in range(COUNT)]
        adding.result()
        assert replay.wait(5) == COUNT
        for mock in (first, second):
            assert mock.stats()[:2] == (COUNT, 0)
            assert mock.stats() == Stats(0, 0, 0)


def test_add_packet_from_another_mock_gives_every_packet(kind, produce):
    with open_mock(kind) as first, open_mock(kind) as second:
        adding = produce(first)
        second.run()
        got = []
        for _ in range(COUNT):
            assert second.add_packet_from(first)
            if not second.can_add_packets or len(got) == 0:
                got.append(second.next_packet().total_len)
        adding.result()
        second.done()
        got += [packet.total_len for packet in second]
    assert got == [total_len_of(n) for n in range(COUNT)]


def test_packets_piped_from_a_file_have_no_type(kind, sample_of):
    sample = sample_of("mixed.pcap")
    with open_file(sample.path) as file, kind(auto_filter=False, timeout=5) as mock:
        mock.pipe(file)
        count = 0
        for packet in mock:
            assert packet.type == PacketType.UNKNOWN
            assert packet.total_len > 0
            count += 1
    assert count == len(sample.rows) > 0


def test_on_packet_added_is_called_for_accepted_packets_only(kind):
    seen = []
    with open_mock(kind) as mock:
        mock.on_packet_added(lambda packet: seen.append(bytes(packet.payload)))
        assert mock.add_packet(packets()[101])
        assert not mock.add_packet(Packet.from_payload(bytes(60)))
    assert seen == [bytes(packets()[101].payload)]
