"""The walk over the blocks of a pcapng file, which finds where a part can start."""

from __future__ import annotations

import struct

import pytest

from slimcap.capfile.boundaries import BlockBoundaries
from support.samples import DATA

PACKET = 6


def positions_of_packets(data: bytes) -> list[int]:
    """Return the offsets of the packet blocks of a little-endian file."""
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == PACKET:
            found.append(at)
        at += length
    return found


def part_start(descriptor: int, size: int, wanted: int) -> int | None:
    """Return where the first part after `wanted` can start."""
    walk = BlockBoundaries(descriptor, size, "mixed.pcapng")
    while (stop := walk.walk(wanted)) == "description":
        pass
    return walk.position if stop == "packet" else None


@pytest.mark.parametrize("before", [0, 1, 4])
def test_part_starts_at_the_first_packet_block_from_the_wanted_place_on(before: int) -> None:
    path = DATA / "mixed.pcapng"
    data = path.read_bytes()
    positions = positions_of_packets(data)
    assert len(positions) > 100
    with path.open("rb") as file:
        for position in positions[1:]:
            assert part_start(file.fileno(), len(data), position - before) == position, position
        assert part_start(file.fileno(), len(data), positions[-1] + 1) is None
