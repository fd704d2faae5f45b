"""Compressed streams: how to make them, and what libraries, our decompressors and sources make of them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import make_samples
from make_samples import pcap_file
from slimcap import FileFormatError, PcapSource
from slimcap.io.compression.detect import SNIFF_LEN, decompressor
from slimcap.io.compression.stream_reader import StreamError
from support.files import Trickle
from support.samples import drain

PACKETS = make_samples.mixed()[:12]
PLAIN = pcap_file(PACKETS)
FACTS = [(packet.time // 1000 * 1000, len(packet.data), packet.data) for packet in PACKETS]
_MIXED = make_samples.SAMPLES["mixed.pcap"]()
LARGE = _MIXED + _MIXED[24:] * 12  # many blocks of zstd and lz4
SKIPPABLE = struct.pack("<II", 0x184D2A5A, 5) + b"other"  # a skippable frame of zstd and lz4


class Kind(NamedTuple):
    """A way to compress.

    Attributes
    ----------
    name : str
        As `PcapSource.compression` has it.
    pack : callable
        Compresses bytes to one stream.
    unpack : callable
        Decompresses the start of a stream, as far as the library gets.
    magic : bytes
        The first bytes of a stream.
    program : str
        Compresses standard input to standard output, with `-c`.
    ignores_garbage : bool
        Data after the last stream is ignored.
    """

    name: str
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]
    magic: bytes
    program: str
    ignores_garbage: bool = False


def _zstandard() -> Any:
    return pytest.importorskip("zstandard")


def _lz4() -> Any:
    return pytest.importorskip("lz4.frame")


def zstd(data: bytes, level: int = 3, **options: Any) -> bytes:
    """Compress to one zstd frame with a checksum."""
    compressor = _zstandard().ZstdCompressor(level=level, **{"write_checksum": True, **options})
    packed: bytes = compressor.compress(data)
    return packed


def lz4_frame(data: bytes, **options: Any) -> bytes:
    """Compress to one lz4 frame with a checksum, in blocks of 64 KiB."""
    packed: bytes = _lz4().compress(
        data, **{"content_checksum": True, "block_size": _lz4().BLOCKSIZE_MAX64KB, **options}
    )
    return packed


GZIP = Kind(
    "gzip",
    lambda data: gzip.compress(data, mtime=0),
    lambda data: zlib.decompressobj(31).decompress(data),
    b"\x1f\x8b",
    "gzip",
    ignores_garbage=True,
)
ZSTD = Kind(
    "zstd",
    zstd,
    lambda data: _zstandard().ZstdDecompressor().decompressobj().decompress(data),
    b"\x28\xb5\x2f\xfd",
    "zstd",
)
LZ4 = Kind(
    "lz4", lz4_frame, lambda data: _lz4().LZ4FrameDecompressor().decompress(data), b"\x04\x22\x4d\x18", "lz4"
)
XZ = Kind(
    "xz",
    lambda data: lzma.compress(data, preset=0),
    lambda data: lzma.LZMADecompressor().decompress(data),
    b"\xfd7zXZ\0",
    "xz",
)
BZIP2 = Kind(
    "bzip2",
    bz2.compress,
    lambda data: bz2.BZ2Decompressor().decompress(data),
    b"BZh",
    "bzip2",
    ignores_garbage=True,
)
KINDS = [GZIP, ZSTD, LZ4, XZ, BZIP2]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
every_framed = pytest.mark.parametrize("kind", [ZSTD, LZ4], ids=["zstd", "lz4"])


class Decompressed(NamedTuple):
    """Output of a decompressor, and its end: at the end of the data, or with an error."""

    data: bytes
    error: StreamError | None


def decompress(packed: bytes, step: int = 1 << 16) -> Decompressed:
    """Run our decompressor on these bytes, of which it reads at most `step` at a time."""
    file = io.BytesIO(packed)
    head = file.read(SNIFF_LEN)
    pieces = []
    try:
        reader = decompressor(head, lambda size: file.read(min(size, step)))
        assert reader is not None, f"not compressed: {head!r}"
        while piece := reader.read():
            pieces.append(bytes(piece))  # a copy: its memory is used again
    except StreamError as error:
        return Decompressed(b"".join(pieces), error.with_traceback(None))
    return Decompressed(b"".join(pieces), None)


class Outcome(NamedTuple):
    """Result of reading a file: facts of its packets, and the error at the end."""

    facts: list[tuple[int, int, bytes]]
    error: Exception | None


def outcome(file: Any, **options: Any) -> Outcome:
    """Read a capture file, given as bytes or as what PcapSource opens, to its end or to an error."""
    try:
        source = PcapSource(io.BytesIO(file) if isinstance(file, bytes) else file, **options)
    except FileFormatError as error:
        return Outcome([], error.with_traceback(None))
    with source:
        drained = drain(source)
    return Outcome(drained.facts, drained.error)


def trickled(data: bytes, step: int, **options: Any) -> Outcome:
    """As `outcome`, from a file object that gives at most `step` bytes at a time."""
    return outcome(Trickle(data, step), **options)


def whole_packets(plain: bytes) -> int:
    """Return the number of packets that lie wholly in the first bytes of a little-endian pcap file."""
    count, at = 0, 24
    while at + 16 <= len(plain):
        at += 16 + int.from_bytes(plain[at + 8 : at + 12], "little")
        if at > len(plain):
            break
        count += 1
    return count


def near(*places: int) -> list[int]:
    """Return these places and those one byte before and after them, in order."""
    return sorted({place + by for place in places for by in (-1, 0, 1)})
