"""Fuzz the walk through the kernel's ring blocks: all rows lie within the block."""

from __future__ import annotations

import numpy as np

import slimcap
from slimcap.source.live.block_walker import BlockWalker, reinsert_tags
from support.blocks import ARP, IPV4, IPV6, TAGGED, Sent, block_of

_HEADERS = 48 + 68  # of a block and of a packet, before any payload
_STEP = 8


def check(block: bytes, linktype: int = 1, room: int = 7) -> int:
    """Walk through a block, reinsert VLAN tags, and walk again; return the number of rows."""
    data = np.frombuffer(block, "u1").copy()
    count = _walked(data, linktype, room)
    reinsert_tags(data, 65535)
    _walked(data, linktype, room)
    return count


def _walked(data: np.ndarray, linktype: int, room: int) -> int:
    rows = np.zeros(room, slimcap.RECORD_DTYPE)
    walker = BlockWalker(linktype)
    walker.start(data)
    count = 0
    while (got := walker.walk(data, rows)) > 0:
        assert got <= room
        offsets, cap_lens = rows["offset"][:got], rows["cap_len"][:got].astype("u8")
        assert (offsets >= _HEADERS).all()
        assert (offsets + cap_lens <= len(data)).all()
        assert (rows["cap_len"][:got] <= rows["total_len"][:got]).all()
        count += got
        if count > len(data) // _STEP:  # steps lead forward, or to the same place again at most: 2^32 times
            break
    return count


def seeds() -> list[bytes]:
    """Return inputs to mutate: blocks of packets with and without VLAN tags."""
    tagged = Sent(status=0x51, tci=7, tpid=0x8100)
    frames = [Sent(IPV4), Sent(IPV6), tagged, Sent(ARP), Sent(TAGGED), Sent(IPV4, total=1500)]
    return [bytes(block_of(frames[:count] * 2, 2048)) for count in range(1, len(frames) + 1)]


def test_one_input(data: bytes) -> None:
    """Walk through a block; its length selects the link type, Ethernet or raw IP."""
    check(data, (1, 101)[len(data) & 1])
