"""Blocks of a TPACKET_V3 ring, laid out by linux/if_packet.h."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

BLOCK_HEADER = struct.Struct("=IIIIIIQIIII")  # struct tpacket_block_desc
PACKET_HEADER = struct.Struct("=IIIIIIHHIIHH8x")  # struct tpacket3_hdr
ADDRESS = struct.Struct("=HHiHBB8s")  # struct sockaddr_ll
FIRST = 48  # offset of the first packet in a block
NET = 96  # offset of the network header in a packet (tp_net)
MAC = NET - 14  # offset of an Ethernet frame in a packet (tp_mac)
PACKET_MIN = PACKET_HEADER.size + ADDRESS.size

# linux/if_packet.h, TP_STATUS_
USER, LOSING, CSUM_NOT_READY, VLAN_VALID, TPID_VALID, CSUM_VALID, GSO = 1, 4, 8, 16, 64, 128, 256

MACS = bytes(range(12))
IPV4 = MACS + b"\x08\x00" + bytes.fromhex("4500001400000000401100000102030405060708")
IPV6 = MACS + b"\x86\xdd\x60" + bytes(39)
ARP = MACS + b"\x08\x06" + bytes(28)
TAGGED = MACS + b"\x81\x00\x20\x07" + IPV4[12:]


class Sent(NamedTuple):
    """A packet in a block. The length on the wire is by default that of `data`."""

    data: bytes = IPV4
    total: int | None = None
    status: int = USER
    mac: int = MAC
    tci: int = 0
    tpid: int = 0
    pkt_type: int = 0
    seconds: int = 1_700_000_000
    nanoseconds: int = 123_456_789


def aligned(n: int) -> int:
    """Round up to a multiple of 8, as TPACKET_ALIGN and V3_ALIGNMENT do."""
    return (n + 7) & ~7


def block_of(packets: Sequence[Sent], size: int = 4096, status: int = USER) -> bytearray:
    """Make a block as tpacket_rcv() and prb_fill_curr_block() do."""
    block = bytearray(size)
    at = FIRST
    for i, packet in enumerate(packets):
        room = aligned(packet.mac + len(packet.data))
        total = len(packet.data) if packet.total is None else packet.total
        PACKET_HEADER.pack_into(
            block, at, room if i < len(packets) - 1 else 0, packet.seconds, packet.nanoseconds,
            len(packet.data), total, packet.status, packet.mac, packet.mac + 14, 0xABCD, packet.tci,
            packet.tpid, 0,
        )  # fmt: skip
        ADDRESS.pack_into(block, at + PACKET_HEADER.size, 17, 8, 3, 1, packet.pkt_type, 6, MACS[6:])
        block[at + packet.mac : at + packet.mac + len(packet.data)] = packet.data
        at += room
    assert at <= size
    BLOCK_HEADER.pack_into(block, 0, 1, FIRST, status, len(packets), FIRST, at, 1, 0, 0, 0, 0)
    return block


def patch(block: bytearray, offset: int, kind: str, value: int) -> bytearray:
    """Overwrite a number in a block; `kind` is its struct format."""
    struct.pack_into("=" + kind, block, offset, value)
    return block
