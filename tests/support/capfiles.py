"""Capture files for tests: bytes of pcapng, where its blocks are, and reading bytes as a file."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from slimcap import FileFormatError, PcapSource
from support.builders.conversations import packet4
from support.builders.links import ethernet
from support.builders.pcapng import ENHANCED, INTERFACE, OLD_PACKET, SIMPLE, Ng
from support.builders.pcapng_captures import PCAPNG
from support.samples import Row, drain

LONGEST = 262144  # bytes that may be captured of a packet
LONGEST_DBUS = 128 << 20  # and of one of D-Bus
LONGEST_BLOCK = 128 << 20

FRAME = ethernet(packet4())
NG = Ng()  # of the byte order "<"
BEGIN = NG.section() + NG.interface()
PCAPNG_FILES = {name: build() for name, build in PCAPNG.items()}
PCAPNG_TWINS = ["mixed.pcapng", "mixed_be.pcapng", "mixed_ns.pcapng"]  # with the packets of mixed.pcap
IDB, EPB = INTERFACE, ENHANCED

Fact = tuple[int, int, bytes]  # timestamp, length on the wire, payload


class Block(NamedTuple):
    """Offsets and type of a pcapng block."""

    start: int
    end: int
    kind: int

    @property
    def is_packet(self) -> bool:
        return self.kind in (ENHANCED, SIMPLE, OLD_PACKET)


def blocks_of(data: bytes) -> list[Block]:
    """Return all blocks of a valid pcapng file."""
    offset, order, found = 0, "<", []
    while offset < len(data):
        if data[offset : offset + 4] == b"\n\r\r\n":
            order = "<" if data[offset + 8 : offset + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, length = struct.unpack_from(order + "II", data, offset)
        found.append(Block(offset, offset + length, kind))
        offset += length
    return found


def source_of(data: bytes, **options: Any) -> PcapSource:
    """Open these bytes as a file object."""
    return PcapSource(io.BytesIO(data), **options)


def outcome_of(data: bytes, **options: Any) -> tuple[list[Fact], Exception | None]:
    """Read a file of these bytes to its end; return the packets, and the error that ended it."""
    try:
        source = source_of(data, **options)
    except FileFormatError as error:
        return [], error.with_traceback(None)
    with source:
        drained = drain(source)
    return drained.facts, drained.error


def same_rows(records: np.ndarray, rows: Sequence[Row]) -> bool:
    """Return True if the records are those that the builder made, at their offsets in the file."""
    return bool(
        records["timestamp"].tolist() == [row.timestamp for row in rows]
        and records["offset"].tolist() == [row.offset for row in rows]
        and records["total_len"].tolist() == [row.total_len for row in rows]
        and records["cap_len"].tolist() == [len(row.data) for row in rows]
    )


def near(offsets: Sequence[int], size: int, distance: int = 1) -> list[int]:
    """Return all offsets up to `size` that are at most `distance` from one of these."""
    around = {offset + delta for offset in offsets for delta in range(-distance, distance + 1)}
    return sorted(offset for offset in around if 0 <= offset <= size)
