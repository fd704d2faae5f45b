"""Choose a decompressor by the first bytes of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from slimcap.io.compression.bzip2_xz import BZIP2_MAGIC, XZ_MAGIC, Bzip2Reader, XzReader
from slimcap.io.compression.gzip import GZIP_MAGIC, GzipReader
from slimcap.io.compression.stream_reader import Read, Reader
from slimcap.io.compression.zstd_lz4 import LZ4_MAGIC, ZSTD_MAGIC, FrameReader, is_skippable

SNIFF_LEN: Final = 6
"""Number of bytes at the start of a file that tell how it is compressed, if at all."""

_READERS: Final[dict[bytes, Callable[[bytes, Read], Reader]]] = {
    GZIP_MAGIC: GzipReader,
    BZIP2_MAGIC: Bzip2Reader,
    XZ_MAGIC: XzReader,
    ZSTD_MAGIC: FrameReader,
    LZ4_MAGIC: FrameReader,
}


def decompressor(head: bytes, read: Read) -> Reader | None:
    """Return a decompressor for a stream, or None if the stream is not compressed.

    Parameters
    ----------
    head : bytes
        The first bytes of the stream, SNIFF_LEN unless it is shorter.
    read : callable
        `read(n)` returns up to n more bytes; b"" at the end.

    Raises
    ------
    ImportError
        The package for this format is not installed.
    """
    if is_skippable(head):
        return FrameReader(head, read)
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader(head, read)
    return None
