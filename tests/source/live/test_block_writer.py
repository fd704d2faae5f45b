"""BlockWriter, by the bytes in a ring: those that tpacket_rcv() and prb_fill_curr_block() write."""

from __future__ import annotations

import struct

import pytest

from slimcap import Link, Packet
from slimcap.mock import MockRingSource
from support.blocks import (
    ADDRESS,
    BLOCK_HEADER,
    FIRST,
    LOSING,
    NET,
    PACKET_HEADER,
    TPID_VALID,
    USER,
    VLAN_VALID,
    aligned,
)
from support.traffic import LEFT, PAGE, ethernet, tagged, udp, udp6

V3 = 2  # TPACKET_V3


@pytest.fixture
def mock():
    link = Link("mock0", 42, 1, 1)
    with MockRingSource(link, auto_filter=False, timeout=5, block_size=PAGE, num_blocks=3) as opened:
        yield opened


def packets_of(block):
    """Yield header, address and captured bytes of each packet."""
    _, _, _, count, at, used, *_ = BLOCK_HEADER.unpack_from(block)
    for index in range(count):
        header = PACKET_HEADER.unpack_from(block, at)
        address = ADDRESS.unpack_from(block, at + PACKET_HEADER.size)
        mac, snaplen = header[6], header[3]
        assert at % 8 == 0
        assert at + mac + snaplen <= used <= len(block)
        yield header, address, block[at + mac : at + mac + snaplen]
        assert (header[0] == 0) == (index == count - 1)
        at += header[0]


def test_headers_and_addresses_are_those_the_kernel_writes(mock):
    frames = [ethernet(udp(1, 5)), tagged(ethernet(udp(2)), 7, 0x88A8), ethernet(udp6(), 0x86DD), b"\1"]
    times = [1_700_000_000_999_999_999, 1, 2**32 * 10**9 - 1, 10**9]
    for i, frame in enumerate(frames):
        mock.add_packet(Packet.from_payload(frame, i, timestamp=times[i]))
    mock.finalize_block()
    block = bytes(mock.next_batch().data)
    assert len(block) == PAGE
    version, to_priv, status, count, first, used, sequence, *_ = BLOCK_HEADER.unpack_from(block)
    assert (version, to_priv, status, count, first, sequence) == (V3, FIRST, USER, 4, FIRST, 1)
    assert used % 8 == 0
    found = list(packets_of(block))
    assert [data for _, _, data in found] == [frames[0], ethernet(udp(2)), frames[2], frames[3]]
    for i, (header, address, data) in enumerate(found):
        _, sec, nsec, snaplen, total, status, mac, net, _, tci, tpid, _ = header
        assert sec * 10**9 + nsec == times[i]
        assert snaplen == total == len(data)
        assert net == NET
        assert mac == (NET - 14 if len(data) > 14 else NET)
        assert (status, tci, tpid) == (
            (USER | VLAN_VALID | TPID_VALID, 7, 0x88A8) if i == 1 else (USER, 0, 0)
        )
        family, protocol, index, hatype, pkt_type, _, _ = address
        assert (family, index, hatype, pkt_type) == (17, 42, 1, i)
        if len(data) > 14:
            assert protocol.to_bytes(2, "little" if struct.pack("=H", 1)[0] else "big") == data[12:14]


def test_the_tag_of_an_outgoing_packet_stays_in_its_header(mock):
    frame = tagged(ethernet(udp(2)), 7)
    mock.add_packet(Packet.from_payload(frame, 4))
    mock.finalize_block()
    ((header, _, data),) = packets_of(bytes(mock.next_batch().data))
    assert (header[6], header[7], header[5]) == (NET - 18, NET, USER)
    assert data == frame


def test_blocks_are_numbered_and_reused(mock):
    for sequence in range(1, 8):
        mock.add_packet(Packet.from_payload(ethernet(udp(sequence))))
        mock.finalize_block()
        block = bytes(mock.next_batch().data)
        assert BLOCK_HEADER.unpack_from(block)[6] == sequence
        assert len(list(packets_of(block))) == 1


def test_losing_status_is_set_until_the_counters_are_read(mock):
    statuses = []
    for drops in (0, 3, 0):
        mock.drop(drops)
        mock.add_packet(Packet.from_payload(ethernet(udp(1))))
        mock.finalize_block()
        statuses.append(BLOCK_HEADER.unpack_from(bytes(mock.next_batch().data))[2])
    assert statuses == [USER, USER | LOSING, USER | LOSING]


def test_packets_are_aligned_and_fill_a_block():
    """A packet that would not end within the block starts the next one."""
    for size in range(1, 40):
        data = LEFT + bytes(8) + bytes(size)
        room = aligned(NET - 14 + len(data))
        fit = (PAGE - FIRST - 1) // room
        with MockRingSource(auto_filter=False, block_size=PAGE, num_blocks=2) as mock:
            for _ in range(fit + 1):
                mock.add_packet(Packet.from_payload(data), timeout=0)
            batch = mock.next_batch(timeout=0)
        assert len(batch) == fit
        assert [bytes(batch.payload(i)) for i in range(fit)] == [data] * fit
        assert BLOCK_HEADER.unpack_from(bytes(batch.data))[5] == FIRST + fit * room
