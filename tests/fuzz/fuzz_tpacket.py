"""Fuzz the walk through the kernel's ring blocks: whatever is in a block, the rows lie within it."""

from __future__ import annotations

import numpy as np

import slimcap
from slimcap.source.tpacket import BlockWalker, reinsert_tags

_HEADERS = 48 + 68  # of a block, and of a packet, in front of any payload
_STEP = 8


def check(block: bytes, linktype: int = 1, room: int = 7) -> int:
    """Walk through a block to its end, put tags back, and walk again; gives the number of rows."""
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


def test_one_input(data: bytes) -> None:
    """What atheris calls."""
    check(data, 1 + (len(data) & 1) * 100)
