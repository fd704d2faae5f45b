"""Read all blocks and options of a pcapng file, independently of slimcap, in a form that can be compared."""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from support.builders.pcapng import (
    CUSTOM,
    ENHANCED,
    INTERFACE,
    NAMES,
    OLD_PACKET,
    SECRETS,
    SECTION,
    SIMPLE,
    STATISTICS,
)

DROPS: Final = 4  # epb_dropcount

_NUMBERS: Final = {
    ENHANCED: {2: "I", 4: "Q", 5: "Q", 6: "I"},
    INTERFACE: {8: "Q", 9: "B", 10: "I", 13: "B", 14: "q", 16: "Q", 17: "Q"},
    STATISTICS: {2: "II", 3: "II", **dict.fromkeys(range(4, 9), "Q")},
}
"""struct formats of option values that are numbers, by type of block and code of option."""

_CUSTOM_OPTIONS: Final = (2988, 2989, 19372, 19373)
_VERDICT: Final = 7
_FILTER: Final = 11


class Block(NamedTuple):
    """A block: its type, its fields as numbers and bytes, and its options as (code, value)."""

    type: int
    fields: tuple[Any, ...]
    options: tuple[tuple[int, Any], ...] = ()


def blocks_of(data: bytes) -> list[Block]:
    """Return the blocks of a file. Obsolete and simple packet blocks become enhanced ones."""
    found: list[Block] = []
    order, at, snaplen = "<", 0, 0
    while at < len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, length = struct.unpack_from(order + "II", data, at)
        assert struct.unpack_from(order + "I", data, at + length - 4) == (length,)
        block = _Reader(order, kind, data[at + 8 : at + length - 4]).block(snaplen)
        if block.type == SECTION:
            snaplen = -1
        elif block.type == INTERFACE and snaplen < 0:
            snaplen = block.fields[1]  # of the section's first interface, to which simple packets belong
        found.append(block)
        at += length
    return found


class _Reader:
    def __init__(self, order: str, kind: int, body: bytes) -> None:
        self.order, self.kind, self.body = order, kind, body

    def block(self, snaplen: int) -> Block:
        if self.kind == SECTION:
            _, *version, _ = self.unpack("IHHq")
            return Block(SECTION, tuple(version), self.options(16))
        if self.kind == INTERFACE:
            linktype, _, snaplen = self.unpack("HHI")
            return Block(INTERFACE, (linktype, snaplen), self.options(8))
        if self.kind == STATISTICS:
            interface, high, low = self.unpack("III")
            return Block(STATISTICS, (interface, high << 32 | low), self.options(12))
        if self.kind in (ENHANCED, OLD_PACKET):
            return self.packet()
        if self.kind == SIMPLE:
            (length,) = self.unpack("I")
            size = min(length, snaplen or length)
            return Block(ENHANCED, (0, 0, length, self.body[4 : 4 + size]))
        return self.other()

    def packet(self) -> Block:
        interface, high, low, size, length = self.unpack("IIIII")
        drops = 0xFFFF
        if self.kind == OLD_PACKET:
            interface, drops, *_ = self.unpack("HH")
        self.kind = ENHANCED
        options = self.options(20 + (size + 3) // 4 * 4)
        options += ((DROPS, (drops,)),) if drops != 0xFFFF else ()
        return Block(ENHANCED, (interface, high << 32 | low, length, self.body[20 : 20 + size]), options)

    def other(self) -> Block:
        if self.kind == NAMES:
            records, at = [], 0
            while True:
                kind, length = struct.unpack_from(self.order + "HH", self.body, at)
                records.append((kind, self.body[at + 4 : at + 4 + length]))
                at += 4 + (length + 3) // 4 * 4
                if kind == 0:
                    return Block(NAMES, tuple(records), self.options(at))
        if self.kind == SECRETS:
            kind, length = self.unpack("II")
            return Block(SECRETS, (kind, self.body[8 : 8 + length]), self.options(8 + (length + 3) // 4 * 4))
        if self.kind & 0xFFFF == CUSTOM:
            return Block(self.kind, (*self.unpack("I"), self.body[4:]))
        return Block(self.kind, (self.body,))

    def unpack(self, format: str) -> tuple[Any, ...]:
        return struct.unpack_from(self.order + format, self.body)

    def options(self, at: int) -> tuple[tuple[int, Any], ...]:
        found: list[tuple[int, Any]] = []
        while at < len(self.body):
            code, length = struct.unpack_from(self.order + "HH", self.body, at)
            if code == 0:
                assert at + 4 == len(self.body)
                break
            found.append((code, self.value(code, self.body[at + 4 : at + 4 + length])))
            at += 4 + (length + 3) // 4 * 4
        return tuple(found)

    def value(self, code: int, value: bytes) -> Any:
        """Return the value of an option, its numbers in a form that does not depend on the byte order."""
        format = _NUMBERS.get(self.kind, {}).get(code)
        if format is not None and len(value) == struct.calcsize("=" + format):
            return struct.unpack(self.order + format, value)
        if code in _CUSTOM_OPTIONS:
            return struct.unpack_from(self.order + "I", value), value[4:]
        if self.kind == ENHANCED and code == _VERDICT and value[:1] in (b"\1", b"\2"):
            return struct.unpack(self.order + "BQ", value)
        if self.kind == INTERFACE and code == _FILTER and value[:1] == b"\1":
            return list(struct.iter_unpack(self.order + "HBBI", value[1:]))
        return value
