"""Decompressors of zstd (RFC 8878) and lz4 (LZ4 frame format 1.6), whose streams are frames of blocks.

    frame      magic  header  block  block …  checksum
    skippable  magic  size  anything            between frames, of either kind

The libraries are given one block at a time. So no data before a damaged block is lost, a call returns at most
one block, and it is known where a frame is truncated.
"""

from __future__ import annotations

import mmap
from typing import Any, ClassVar, Final

from slimcap.io.compression.stream_reader import (
    READ_SIZE,
    VALID_BYTES,
    Chunk,
    Read,
    StreamError,
    lz4_library,
    zstd_library,
)

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"

_MAGIC_LEN = 4
_SKIPPABLE_HEADER = 8
_MAX_HEADER = 19  # bytes that suffice to tell the size of a header or a block
_MAX_ZSTD_BLOCK = 1 << 17  # maximum size of a block (RFC 8878, section 3.1.1.2.4)


def is_skippable(head: bytes) -> bool:
    """Return True if `head` starts a skippable frame: 0x184d2a50 to 0x184d2a5f (RFC 8878, section 3.1.2)."""
    return len(head) >= _MAGIC_LEN and head[0] >> 4 == 5 and head[1:4] == b"\x2a\x4d\x18"


class _Frame:
    """Base class of frames: one frame and the read position in it."""

    name: ClassVar[str]

    def __init__(self, buffer: _OutputBuffer) -> None:
        self._stream, self._errors = self._library(buffer)
        self._limit: tuple[int, ...] = ()
        self._flags = 0
        self._next_size = self._header_size
        self.done = False

    def size(self, head: bytes) -> int:
        """Return the size in bytes of the next chunk, which starts with `head`.

        If `head` is too short to tell, return a number larger than its length.
        """
        return self._next_size(head)

    def process(self, chunk: Chunk) -> Chunk:
        """Decompress the next chunk, which must be complete."""
        data = self.decompress(chunk)
        self._advance(chunk)
        return data

    def decompress(self, data: Chunk) -> Chunk:
        """Pass bytes to the library and return its output."""
        try:
            output: Chunk = self._stream.decompress(data, *self._limit)
        except self._errors as error:
            raise StreamError(f"the {self.name} stream is corrupt: {error}") from None
        return output

    def _checksum_size(self, head: bytes) -> int:
        return 4

    def _header_size(self, head: bytes) -> int:
        raise NotImplementedError

    def _block_size(self, head: bytes) -> int:
        raise NotImplementedError

    def _advance(self, chunk: Chunk) -> None:
        """Determine the kind of the chunk after this one."""
        raise NotImplementedError

    def _library(self, buffer: _OutputBuffer) -> tuple[Any, Any]:
        """Return a decompressor and the exceptions that it raises. Its output may be in `buffer`."""
        raise NotImplementedError


class _ZstdFrame(_Frame):
    """A zstd frame (RFC 8878, section 3.1.1).

    magic (4)  descriptor (1)  window (0-1)  dictionary (0-4)  content size (0-8)
    """

    name = "zstd"

    def _header_size(self, head: bytes) -> int:
        if len(head) < 5:
            return 5
        single = head[4] >> 5 & 1
        return 5 + (1 - single) + (0, 1, 2, 4)[head[4] & 3] + (single, 2, 4, 8)[head[4] >> 6]

    def _block_size(self, head: bytes) -> int:
        if len(head) < 3:
            return 3
        kind, size = head[0] >> 1 & 3, int.from_bytes(head[:3], "little") >> 3
        return 3 + (1 if kind == 1 else size)  # 1 (RLE): one byte, which is repeated `size` times

    def _advance(self, chunk: Chunk) -> None:
        if self._next_size == self._header_size:
            self._flags, self._next_size = chunk[4], self._block_size
        elif self._next_size == self._block_size and chunk[0] & 1 and self._flags & 4:
            self._next_size = self._checksum_size
        else:
            self.done = self._next_size == self._checksum_size or bool(chunk[0] & 1)

    def _library(self, buffer: _OutputBuffer) -> tuple[Any, Any]:
        library = zstd_library()
        if library.__name__ != "zstandard":
            return library.ZstdDecompressor(), library.ZstdError
        return _ZstdStream(library, buffer), library.ZstdError


class _ZstdStream:
    """A decompressor of one frame that uses zstandard, with reused memory for its output.

    zstandard's other interfaces allocate memory for every block, which takes as long as the decompression.
    """

    def __init__(self, zstandard: Any, buffer: _OutputBuffer) -> None:
        self._feed = _Feed()
        self._reader = zstandard.ZstdDecompressor().stream_reader(self._feed)
        self._buffer = buffer

    def decompress(self, chunk: Chunk) -> Chunk:
        self._feed.chunk = chunk
        buffer = self._buffer.reserve()
        try:
            size: int = self._reader.readinto1(buffer)
        except _NeedInput:  # a header, a checksum or an empty block has no output
            return b""
        self._buffer.commit(size)
        return buffer[:size]


class _Feed:
    """Input of the stream reader: one chunk at a time.

    If there is none, `read` raises _NeedInput, because b"" means the end of the stream to the stream reader.
    """

    chunk: Chunk | None = None

    def read(self, size: int) -> Chunk:
        chunk, self.chunk = self.chunk, None
        if chunk is None:
            raise _NeedInput
        return chunk


class _NeedInput(Exception):
    """The stream reader needs more input."""


class _OutputBuffer:
    """A circular buffer for the output of frames."""

    def __init__(self) -> None:
        # VALID_BYTES, plus the unused rest at the end and the block being written.
        self._memory = memoryview(mmap.mmap(-1, VALID_BYTES + 2 * _MAX_ZSTD_BLOCK))
        self._offset = 0

    def reserve(self) -> memoryview:
        """Return memory for a zstd block of any size."""
        if len(self._memory) - self._offset < _MAX_ZSTD_BLOCK:
            self._offset = 0
        return self._memory[self._offset : self._offset + _MAX_ZSTD_BLOCK]

    def commit(self, size: int) -> None:
        """Mark the first `size` bytes that `reserve` returned as used."""
        self._offset += size


class _Lz4Frame(_Frame):
    """An lz4 frame.

    magic (4)  flags (1)  block size (1)  content size (0, 8)  dictionary (0, 4)  checksum (1)
    """

    name = "lz4"

    def _header_size(self, head: bytes) -> int:
        if len(head) < 6:
            return 6
        self._flags = head[4]
        # Without a limit, lz4 holds back output that is more than twice as long as its input.
        self._limit = (1 << 8 + 2 * (head[5] >> 4 & 7),)
        return 7 + (8 if self._flags & 8 else 0) + (4 if self._flags & 1 else 0)

    def _block_size(self, head: bytes) -> int:
        if len(head) < 4:
            return 4
        size = int.from_bytes(head[:4], "little") & 0x7FFF_FFFF  # the highest bit: not compressed
        if size == 0:
            return 4
        if size > self._limit[0]:
            raise StreamError(
                f"the lz4 stream is corrupt: a block of {size} bytes exceeds the maximum, {self._limit[0]}"
            )
        return 4 + size + (4 if self._flags & 0x10 else 0)

    def _advance(self, chunk: Chunk) -> None:
        if self._next_size == self._header_size:
            self._next_size = self._block_size
        elif self._next_size == self._checksum_size:
            self.done = True
        elif len(chunk) == 4:  # the end mark
            self._next_size = self._checksum_size
            self.done = not self._flags & 4

    def _library(self, buffer: _OutputBuffer) -> tuple[Any, Any]:
        return lz4_library().LZ4FrameDecompressor(), RuntimeError


class FrameReader:
    """Decompressor of zstd and lz4: a sequence of frames, with skippable frames anywhere.

    As for zstd and lz4, trailing data that is not a frame is an error.

    Parameters
    ----------
    head : bytes
        The bytes that were read already.
    read : callable
        `read(n)` returns up to n more bytes; b"" at the end.

    Raises
    ------
    ImportError
        The package is not installed. If the stream starts with a skippable frame, `read` raises it instead.
    """

    name = "zstd"  # or lz4: a skippable frame may be of either

    def __init__(self, head: bytes, read: Read) -> None:
        self._read = read
        self._input, self._offset = head, 0
        self._skip = 0
        self._buffer = _OutputBuffer()
        self._frame: _Frame | None = None
        if not is_skippable(head):
            self._next_frame()

    def read(self) -> Chunk:
        """Return more decompressed data; b"" at the end. It is valid for the next `VALID_BYTES` bytes.

        Raises
        ------
        StreamError
            The stream is damaged or truncated.
        """
        while self._frame is not None or self._next_frame():
            data = self._next_chunk(self._frame) if self._frame is not None else b""
            if data:
                return data
        return b""

    def _next_chunk(self, frame: _Frame) -> Chunk:
        """Read and decompress the next chunk of a frame."""
        while True:
            available = len(self._input) - self._offset
            size = frame.size(self._input[self._offset : self._offset + _MAX_HEADER])
            if available >= size:
                break
            if not self._read_more(size - available):
                return self._last_chunk(frame)
        data = frame.process(memoryview(self._input)[self._offset : self._offset + size])
        self._offset += size
        if frame.done:
            self._frame = None
        return data

    def _last_chunk(self, frame: _Frame) -> Chunk:
        """Return the output of a truncated chunk; raise StreamError when there is none left."""
        rest, self._input, self._offset = self._input[self._offset :], b"", 0
        data = frame.decompress(rest) if rest else b""
        if not data:
            raise StreamError(f"the {frame.name} stream is truncated", truncated=True)
        return data

    def _next_frame(self) -> bool:
        """Start the next frame after skippable ones; return False at the end."""
        while True:
            if not self._skip_frame():
                raise StreamError("the compressed stream is truncated in a skippable frame", truncated=True)
            if not self._ensure(_MAGIC_LEN):
                break
            head = self._input[self._offset : self._offset + _SKIPPABLE_HEADER]
            if not is_skippable(head):
                self._frame = _new_frame(head, self._buffer)
                self.name = self._frame.name
                return True
            if not self._ensure(_SKIPPABLE_HEADER):
                raise StreamError("the compressed stream is truncated in a skippable frame", truncated=True)
            head = self._input[self._offset : self._offset + _SKIPPABLE_HEADER]
            self._skip = _SKIPPABLE_HEADER + int.from_bytes(head[_MAGIC_LEN:], "little")
        if self._offset < len(self._input):
            raise StreamError("the compressed stream is truncated", truncated=True)
        return False

    def _skip_frame(self) -> bool:
        """Skip the rest of a skippable frame; return False if the file ends in it."""
        while True:
            step = min(self._skip, len(self._input) - self._offset)
            self._offset += step
            self._skip -= step
            if not self._skip:
                return True
            if not self._read_more(1):
                return False

    def _ensure(self, size: int) -> bool:
        """Read until `size` bytes are buffered; return False if the file ends before."""
        missing = size - (len(self._input) - self._offset)
        return missing <= 0 or self._read_more(missing)

    def _read_more(self, size: int) -> bool:
        """Read at least `size` more bytes; return False if the file ends before."""
        # Joined once, since a pipe may give a block in thousands of pieces; also if a read is interrupted.
        pieces = [self._input[self._offset :]]
        try:
            while size > 0:
                more = self._read(max(READ_SIZE, size))
                if not more:
                    return False
                pieces.append(more)
                size -= len(more)
        finally:
            self._input, self._offset = b"".join(pieces), 0
        return True


def _new_frame(head: bytes, buffer: _OutputBuffer) -> _Frame:
    if head.startswith(ZSTD_MAGIC):
        return _ZstdFrame(buffer)
    if head.startswith(LZ4_MAGIC):
        return _Lz4Frame(buffer)
    raise StreamError("trailing data after the compressed stream")
