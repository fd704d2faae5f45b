"""Build files of the pcapng format (draft-ietf-opsawg-pcapng), whose lengths may lie."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from support.builders.pcap import START, Packet

SECTION, INTERFACE, OLD_PACKET, SIMPLE, NAMES, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6
JOURNAL, SECRETS, CUSTOM, PRIVATE, UNKNOWN_BLOCK = 0x9, 0xA, 0xBAD, 0x40000BAD, 0x7E577E57
ENTERPRISE = 32473  # for documentation (RFC 5612)

Option = tuple[int, bytes]


class Ng:
    """Builder of blocks in one byte order; lengths and numbers may lie."""

    def __init__(self, *, big_endian: bool = False) -> None:
        self.order = "<>"[big_endian]

    def number(self, value: int, size: int = 4) -> bytes:
        return value.to_bytes(size, "big" if self.order == ">" else "little")

    def block(
        self,
        kind: int,
        body: bytes,
        options: Sequence[Option] = (),
        *,
        length: int | None = None,
        again: int | None = None,
    ) -> bytes:
        """Build a block; `length` is written as given, and `again` in its place at the end."""
        body += b"\0" * (-len(body) % 4)
        for code, value in options:
            body += struct.pack(self.order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
        if options:
            body += bytes(4)
        length = len(body) + 12 if length is None else length
        again = length if again is None else again
        return self.number(kind) + self.number(length) + body + self.number(again)

    def section(self, options: Sequence[Option] = (), version: tuple[int, int] = (1, 0)) -> bytes:
        body = struct.pack(self.order + "IHHq", 0x1A2B3C4D, *version, -1)
        return self.block(SECTION, body, options)

    def interface(
        self,
        linktype: int = 1,
        snaplen: int = 0,
        name: str = "",
        *,
        resolution: int | None = None,
        offset: int | None = None,
        options: Sequence[Option] = (),
    ) -> bytes:
        given: list[Option] = [(2, name.encode())] if name else []
        given += [(9, bytes([resolution]))] if resolution is not None else []
        given += [(14, self.number(offset & (1 << 64) - 1, 8))] if offset is not None else []
        return self.block(
            INTERFACE, struct.pack(self.order + "HHI", linktype, 0, snaplen), [*given, *options]
        )

    def packet(
        self,
        data: bytes,
        ticks: int = START // 1000,
        interface: int = 0,
        *,
        cap_len: int | None = None,
        orig_len: int | None = None,
        options: Sequence[Option] = (),
    ) -> bytes:
        """Build an enhanced packet block."""
        cap_len = len(data) if cap_len is None else cap_len
        orig_len = cap_len if orig_len is None else orig_len
        head = struct.pack(
            self.order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, cap_len, orig_len
        )
        return self.block(ENHANCED, head + data, options)

    def old_packet(
        self, data: bytes, ticks: int, interface: int = 0, drops: int = 0xFFFF, options: Sequence[Option] = ()
    ) -> bytes:
        """Build an obsolete packet block."""
        head = struct.pack(
            self.order + "HHIIII", interface, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
        )
        return self.block(OLD_PACKET, head + data, options)

    def simple(self, data: bytes, orig_len: int | None = None) -> bytes:
        return self.block(SIMPLE, self.number(len(data) if orig_len is None else orig_len) + data)

    def statistics(self, interface: int = 0, options: Sequence[Option] = (), ticks: int = 0) -> bytes:
        head = struct.pack(self.order + "III", interface, ticks >> 32, ticks & 0xFFFFFFFF)
        return self.block(STATISTICS, head, options)

    def time(self, code: int, ticks: int) -> Option:
        """Build isb_starttime (2) or isb_endtime (3)."""
        return code, self.number(ticks >> 32) + self.number(ticks & 0xFFFFFFFF)

    def count(self, code: int, value: int) -> Option:
        """Build an option of 64 bits: isb_ifdrop (5), isb_osdrop (7), epb_dropcount (4), if_speed (8) …"""
        return code, self.number(value, 8)

    def flags(self, value: int) -> Option:
        """Build epb_flags: 1 inbound, 2 outbound; 4 unicast, 8 multicast, 12 broadcast, 16 promiscuous."""
        return 2, self.number(value)

    def names(self) -> bytes:
        """Build a name resolution block."""
        record = struct.pack(self.order + "HH", 1, 14) + bytes([192, 0, 2, 10]) + b"client\0\0\0\0"
        return self.block(NAMES, record + b"\0\0" + bytes(4))

    def secrets(self, text: bytes = b"# no secrets", options: Sequence[Option] = ()) -> bytes:
        return self.block(SECRETS, self.number(0x544C534B) + self.number(len(text)) + text, options)

    def custom(self, kind: int = CUSTOM) -> bytes:
        return self.block(kind, self.number(ENTERPRISE) + b"anything")

    def custom_option(self, code: int, value: bytes) -> Option:
        return code, self.number(ENTERPRISE) + value

    def journal(self) -> bytes:
        return self.block(JOURNAL, b"MESSAGE=link is up\nPRIORITY=6\n")

    def unknown(self, size: int = 20) -> bytes:
        return self.block(UNKNOWN_BLOCK, bytes(size))


def pcapng_file(
    packets: Iterable[Packet], *, big_endian: bool = False, resolution: int | None = None
) -> bytes:
    """Build one section with one interface; `resolution` is None (microseconds) or 9."""
    ng = Ng(big_endian=big_endian)
    out = ng.section() + ng.interface(1, 262144, "eth0", resolution=resolution)
    for data, time, orig_len in packets:
        ticks = time if resolution == 9 else time // 1000
        out += ng.packet(data, ticks, orig_len=orig_len)
    return out
