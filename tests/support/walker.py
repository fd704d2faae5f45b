"""BlockWalker as tests use it, and a slow reference in Python."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimcap import NO_IP, RECORD_DTYPE
from slimcap.source.live.block_walker import BlockWalker
from support.blocks import BLOCK_HEADER, FIRST, PACKET_HEADER, PACKET_MIN

Rows = NDArray[np.void]


def walked(
    block: bytes | bytearray, capacity: int = 64, base: int = 0, linktype: int = 1, max_rows: int = 500
) -> tuple[Rows, BlockWalker]:
    """Walk a block with as many calls as it takes; return all rows, and the walker.

    Asserts that the walker writes only the rows that it counts, and that these are inside of the block.

    Parameters
    ----------
    capacity : int, default: 64
        Rows for one call.
    base : int, default: 0
        Offset that the first byte of the block has in the rows.
    linktype : int, default: 1
    max_rows : int, default: 500
        Stop after that many rows.
    """
    data = np.frombuffer(bytes(block), "u1")
    walker = BlockWalker(linktype)
    walker.start(data)
    found = np.zeros(0, RECORD_DTYPE)
    while len(found) < max_rows:
        rows = np.zeros(capacity + 1, RECORD_DTYPE)
        rows.view("u1")[:] = 0xEE
        count = walker.walk(data, rows[:capacity], base)
        assert 0 <= count <= capacity
        assert (rows[count:].view("u1") == 0xEE).all(), "wrote past the rows it counts"
        if count == 0:
            break
        found = np.concatenate([found, rows[:count]])
    _assert_in_bounds(found, len(data), base)
    return found, walker


def _assert_in_bounds(rows: Rows, size: int, base: int) -> None:
    offsets = rows["offset"] - np.uint64(base)
    assert (offsets >= FIRST + PACKET_MIN).all()
    assert (offsets <= size).all()
    assert (rows["cap_len"] <= size - offsets).all()
    assert (rows["cap_len"] <= rows["total_len"]).all()
    assert ((rows["ip_offset"] < rows["cap_len"]) | (rows["ip_offset"] == NO_IP)).all()


def payloads_in(block: bytes | bytearray, rows: Rows, base: int = 0) -> list[bytes]:
    """Return the bytes that the rows point to."""
    places = rows[["offset", "cap_len"]].tolist()
    return [bytes(block[offset - base : offset - base + length]) for offset, length in places]


def reference_walk(block: bytes | bytearray) -> tuple[list[tuple[int, int]], bool | None]:
    """Return offset and length of each payload, and whether the block is bad.

    None instead of the latter if a packet before the last has no next one: how that is told differs.
    """
    size = len(block)
    if size < FIRST:
        return [], True
    _, _, _, left, at, *_ = BLOCK_HEADER.unpack_from(block)
    found: list[tuple[int, int]] = []
    while left:
        if at < FIRST or at % 8 or at + PACKET_MIN > size:
            return found, True
        step, _, _, snaplen, _, _, mac, *_ = PACKET_HEADER.unpack_from(block, at)
        if mac < PACKET_MIN or at + mac + snaplen > size:
            return found, True
        found.append((at + mac, snaplen))
        left -= 1
        if left and step == 0:
            return found, None
        at += step
    return found, False


def compare_with_reference(block: bytes | bytearray, capacity: int) -> None:
    """Assert that BlockWalker finds the same payloads as `reference_walk`."""
    places, bad = reference_walk(block)
    rows, walker = walked(block, capacity, max_rows=1000)
    got = rows[["offset", "cap_len"]].tolist()
    if bad is None:
        assert got[: len(places)] == places
    else:
        assert got == places
        assert walker.bad == bad
