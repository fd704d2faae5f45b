"""Build files of the pcap format, whose lengths may lie."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

MICRO, NANO, MODIFIED, IXIA_HW, IXIA_SW = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34, 0x1C0001AC, 0x1C0001AB
START = 1_709_294_400 * 10**9  # 2024-03-01 12:00:00 UTC, in ns
FILE_HEADER = 24  # bytes


class Packet(NamedTuple):
    """One packet: the bytes captured, ns since the epoch, the length on the wire (None: `len(data)`)."""

    data: bytes
    time: int = START
    orig_len: int | None = None


class Record(NamedTuple):
    """One packet with its timestamp as the file holds it: seconds and a fraction in units of the file."""

    data: bytes
    seconds: int = START // 10**9
    fraction: int = 0
    orig_len: int | None = None


def pcap_header(
    *,
    magic: int = MICRO,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    """Build a file header."""
    return struct.pack("<>"[big_endian] + "IHHiIII", magic, *version, 0, 0, snaplen, linktype)


def pcap_record(
    data: bytes,
    seconds: int = START // 10**9,
    fraction: int = 0,
    *,
    cap_len: int | None = None,
    orig_len: int | None = None,
    magic: int = MICRO,
    big_endian: bool = False,
) -> bytes:
    """Build a record that may lie: `cap_len` and `orig_len` are written as given."""
    order = "<>"[big_endian]
    cap_len = len(data) if cap_len is None else cap_len
    orig_len = cap_len if orig_len is None else orig_len
    # The patched libpcap of old Linux systems appended interface, protocol and packet type: 24 bytes in all.
    extra = struct.pack(order + "IHBx", 2, 3, 0) if magic == MODIFIED else b""
    return struct.pack(order + "IIII", seconds, fraction, cap_len, orig_len) + extra + data


@dataclass(frozen=True)
class Capture:
    """A pcap file as its records and options.

    Parameters
    ----------
    records : list of Record
    magic, big_endian, linktype, snaplen, version
        As in `pcap_header`.
    finish : callable, default: None
        Compresses or damages the bytes of the plain file.
    """

    records: list[Record]
    magic: int = MICRO
    big_endian: bool = False
    linktype: int = 1
    snaplen: int = 262144
    version: tuple[int, int] = (2, 4)
    finish: Callable[[bytes], bytes] | None = None

    @property
    def record_header(self) -> int:
        """Length of a record's header in bytes."""
        return 24 if self.magic == MODIFIED else 16

    def plain(self) -> bytes:
        """Build the file, not yet compressed or damaged."""
        header = pcap_header(
            magic=self.magic,
            big_endian=self.big_endian,
            linktype=self.linktype,
            snaplen=self.snaplen,
            version=self.version,
        )
        records = (
            pcap_record(
                data, seconds, fraction, orig_len=orig_len, magic=self.magic, big_endian=self.big_endian
            )
            for data, seconds, fraction, orig_len in self.records
        )
        return header + b"".join(records)

    def file(self) -> bytes:
        """Build the file."""
        return self.plain() if self.finish is None else self.finish(self.plain())


def capture(
    packets: Iterable[Packet],
    *,
    magic: int = MICRO,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    version: tuple[int, int] = (2, 4),
    finish: Callable[[bytes], bytes] | None = None,
) -> Capture:
    """Describe a pcap file of these packets; see `Capture` for the options."""
    unit = 1 if magic == NANO else 1000
    records = [
        Record(data, time // 10**9, time % 10**9 // unit, orig_len) for data, time, orig_len in packets
    ]
    return Capture(records, magic, big_endian, linktype, snaplen, version, finish)


def pcap_file(
    packets: Iterable[Packet],
    *,
    magic: int = MICRO,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    """Build a pcap file of these packets."""
    return capture(
        packets, magic=magic, big_endian=big_endian, linktype=linktype, snaplen=snaplen, version=version
    ).file()


def cut(packets: Iterable[Packet], snaplen: int) -> list[Packet]:
    """Truncate packets to `snaplen` bytes."""
    return [Packet(p.data[:snaplen], p.time, len(p.data)) for p in packets]


def paced(frames: Iterable[bytes], start: int = 0, step: int = 10_000) -> list[Packet]:
    """Give frames timestamps: `step` µs apart and a little more, from `start` µs on."""
    base = START + start * 1000
    return [
        Packet(frame, base + i * (step * 1000 + 37_291) + len(frame) * 97 + i * i * 7919 % 997)
        for i, frame in enumerate(frames)
    ]
