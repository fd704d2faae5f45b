"""Build gzip members (RFC 1952), valid and damaged, and read them."""

from __future__ import annotations

import struct
import zlib


def deflated(data: bytes, level: int = 9, *, cut_short: bool = False) -> bytes:
    """Compress to raw deflate; with `cut_short`, all of the data but no last block."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH if cut_short else zlib.Z_FINISH)


def gzip_member(data: bytes, level: int = 9, *, flags: int = 0, fields: bytes = b"") -> bytes:
    """Build a member; `fields` are the optional header fields of `flags`; the CRC (2) is added."""
    head = struct.pack("<HBBIBB", 0x8B1F, 8, flags, 0, 0, 255) + fields
    if flags & 2:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + deflated(data, level) + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def gzip_members(data: bytes) -> bytes:
    """Build six members with all optional header fields, one of them empty; none ends with a packet."""
    pieces = data[:11], data[11:31], b"", data[31:5003], data[5003:20011], data[20011:]
    return b"".join(
        (
            gzip_member(pieces[0], 0),
            gzip_member(pieces[1], flags=8, fields=b"mixed.pcap\0"),
            gzip_member(pieces[2]),
            gzip_member(pieces[3], 1, flags=4 | 16, fields=b"\x08\0SC\x04\0test" + b"a comment\0"),
            gzip_member(pieces[4], 0, flags=2),
            gzip_member(pieces[5], flags=2 | 4 | 8 | 16, fields=b"\0\0" + b"name\0" + b"another comment\0"),
        )
    )


def gzip_cut(data: bytes) -> bytes:
    """Build a member of all the data, without the last block and the trailer."""
    return gzip_member(data)[:10] + deflated(data, cut_short=True)


def inflated(data: bytes) -> bytes:
    """Decompress gzip members, up to the first damage."""
    out, member = b"", zlib.decompressobj(31)
    for i in range(len(data)):
        if member.eof:
            member = zlib.decompressobj(31)
        try:
            out += member.decompress(data[i : i + 1])
        except zlib.error:
            break
    return out
