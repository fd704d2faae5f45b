"""Decompressing zstd (RFC 8878) and lz4 (LZ4 frame format 1.6), which come in frames of blocks.

    frame      magic  header  block  block …  checksum
    skippable  magic  size  anything            between frames, of either kind

Their libraries get one block at a time. So nothing that came before a bad block is lost, one call gives no
more than a block holds, and where a frame is cut shows.
"""

from __future__ import annotations

import mmap
from typing import Any, ClassVar, Final

from slimcap.io.compression.stream_reader import (
    CHUNK,
    KEPT,
    Piece,
    Read,
    StreamError,
    lz4_library,
    zstd_library,
)

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"

_MAGIC_LEN = 4
_SKIPPABLE_HEADER = 8
_MOST_HEADER = 19  # bytes that tell how long a header, or a block, is
_MOST_ZSTD = 1 << 17  # bytes that a block holds (RFC 8878, section 3.1.1.2.4)


def is_skippable(head: bytes) -> bool:
    """Whether a skippable frame starts there: 0x184d2a50 to 0x184d2a5f (RFC 8878, section 3.1.2)."""
    return len(head) >= _MAGIC_LEN and head[0] >> 4 == 5 and head[1:4] == b"\x2a\x4d\x18"


class _Frame:
    """One frame, and how far it was read."""

    name: ClassVar[str]

    def __init__(self, room: _Room) -> None:
        self._stream, self._errors = self._library(room)
        self._limit: tuple[int, ...] = ()
        self._flags = 0
        self._place = self._header_size
        self.done = False

    def size(self, head: bytes) -> int:
        """Bytes of the next piece, which starts with `head`; more than that has if it does not tell yet."""
        return self._place(head)

    def take(self, piece: Piece) -> Piece:
        """Decompress the next piece, all of it."""
        data = self.decompress(piece)
        self._go_on(piece)
        return data

    def decompress(self, data: Piece) -> Piece:
        """What the library makes of some more bytes."""
        try:
            made: Piece = self._stream.decompress(data, *self._limit)
        except self._errors as error:
            raise StreamError(f"the {self.name} stream is broken: {error}") from None
        return made

    def _checksum_size(self, head: bytes) -> int:
        return 4

    def _header_size(self, head: bytes) -> int:
        raise NotImplementedError

    def _block_size(self, head: bytes) -> int:
        raise NotImplementedError

    def _go_on(self, piece: Piece) -> None:
        """Note what comes behind this piece."""
        raise NotImplementedError

    def _library(self, room: _Room) -> tuple[Any, Any]:
        """A decompressor, and the errors that it raises. What it gives may lie in `room`."""
        raise NotImplementedError


class _ZstdFrame(_Frame):
    """RFC 8878, section 3.1.1.

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
        return 3 + (1 if kind == 1 else size)  # 1: one byte, so many times

    def _go_on(self, piece: Piece) -> None:
        if self._place == self._header_size:
            self._flags, self._place = piece[4], self._block_size
        elif self._place == self._block_size and piece[0] & 1 and self._flags & 4:
            self._place = self._checksum_size
        else:
            self.done = self._place == self._checksum_size or bool(piece[0] & 1)

    def _library(self, room: _Room) -> tuple[Any, Any]:
        library = zstd_library()
        if library.__name__ != "zstandard":
            return library.ZstdDecompressor(), library.ZstdError
        return _ZstdStream(library, room), library.ZstdError


class _ZstdStream:
    """One frame, decompressed by zstandard to memory that is used again and again.

    Its other ways make fresh bytes of every block, which takes as long as decompressing them.
    """

    def __init__(self, zstandard: Any, room: _Room) -> None:
        self._feed = _Feed()
        self._reader = zstandard.ZstdDecompressor().stream_reader(self._feed)
        self._room = room

    def decompress(self, piece: Piece) -> Piece:
        self._feed.piece = piece
        room = self._room.some()
        try:
            size: int = self._reader.readinto1(room)
        except _Hungry:  # a header, a checksum, an empty block: nothing came of it
            return b""
        self._room.use(size)
        return room[:size]


class _Feed:
    """What the stream reader reads: a piece at a time, where b"" would be the end for good."""

    piece: Piece | None = None

    def read(self, size: int) -> Piece:
        piece, self.piece = self.piece, None
        if piece is None:
            raise _Hungry
        return piece


class _Hungry(Exception):
    """All that is there was decompressed."""


class _Room:
    """Memory for what frames are decompressed to, from front to back and from the front again."""

    def __init__(self) -> None:
        # Besides what is kept: what is left over at the end, and the block that is being written.
        self._memory = memoryview(mmap.mmap(-1, KEPT + 2 * _MOST_ZSTD))
        self._at = 0

    def some(self) -> memoryview:
        """Room for any block of zstd."""
        if len(self._memory) - self._at < _MOST_ZSTD:
            self._at = 0
        return self._memory[self._at : self._at + _MOST_ZSTD]

    def use(self, size: int) -> None:
        """Keep so much of what `some` gave."""
        self._at += size


class _Lz4Frame(_Frame):
    """Magic (4)  flags (1)  block size (1)  content size (0, 8)  dictionary (0, 4)  checksum (1)."""

    name = "lz4"

    def _header_size(self, head: bytes) -> int:
        if len(head) < 6:
            return 6
        self._flags = head[4]
        # Without a limit, lz4 holds back output that is more than twice its input.
        self._limit = (1 << 8 + 2 * (head[5] >> 4 & 7),)
        return 7 + (8 if self._flags & 8 else 0) + (4 if self._flags & 1 else 0)

    def _block_size(self, head: bytes) -> int:
        if len(head) < 4:
            return 4
        size = int.from_bytes(head[:4], "little") & 0x7FFF_FFFF  # above it: not compressed
        if size == 0:
            return 4
        if size > self._limit[0]:
            most = self._limit[0]
            raise StreamError(f"the lz4 stream is broken: a block of {size} bytes, where {most} are most")
        return 4 + size + (4 if self._flags & 0x10 else 0)

    def _go_on(self, piece: Piece) -> None:
        if self._place == self._header_size:
            self._place = self._block_size
        elif self._place == self._checksum_size:
            self.done = True
        elif len(piece) == 4:  # the mark at the end
            self._place = self._checksum_size
            self.done = not self._flags & 4

    def _library(self, room: _Room) -> tuple[Any, Any]:
        return lz4_library().LZ4FrameDecompressor(), RuntimeError


class FrameReader:
    """Decompresses zstd and lz4: one frame after the other, skippable ones anywhere.

    What follows and is no frame is an error, as it is for zstd and lz4.

    Parameters
    ----------
    head : bytes
        What was read already.
    read : callable
        `read(n)` gives up to n more bytes, b"" at the end.

    Raises
    ------
    ImportError
        The library is not installed; if a skippable frame comes first, from `read`.
    """

    name = "zstd"  # or lz4: a skippable frame may be of either

    def __init__(self, head: bytes, read: Read) -> None:
        self._read = read
        self._input, self._at = head, 0
        self._skip = 0
        self._room = _Room()
        self._frame: _Frame | None = None
        if not is_skippable(head):
            self._next_frame()

    def read(self) -> Piece:
        """Some more of what was compressed, which stays as it is for `KEPT` bytes more; b"" at the end.

        Raises
        ------
        StreamError
            The stream is broken or cut here.
        """
        while self._frame is not None or self._next_frame():
            data = self._next_piece(self._frame) if self._frame is not None else b""
            if data:
                return data
        return b""

    def _next_piece(self, frame: _Frame) -> Piece:
        """Decompress the next piece of a frame."""
        while True:
            have = len(self._input) - self._at
            size = frame.size(self._input[self._at : self._at + _MOST_HEADER])
            if have >= size:
                break
            if not self._read_more(size - have):
                return self._last_piece(frame)
        data = frame.take(memoryview(self._input)[self._at : self._at + size])
        self._at += size
        if frame.done:
            self._frame = None
        return data

    def _last_piece(self, frame: _Frame) -> Piece:
        """What can be had of a piece that is cut; once there is nothing more, StreamError."""
        rest, self._input, self._at = self._input[self._at :], b"", 0
        data = frame.decompress(rest) if rest else b""
        if not data:
            raise StreamError(f"the {frame.name} stream is cut", cut=True)
        return data

    def _next_frame(self) -> bool:
        """Go on to the next frame, over skippable ones; False at the end."""
        while True:
            if not self._skip_on():
                raise StreamError("the compressed stream is cut in a skippable frame", cut=True)
            if not self._have(_MAGIC_LEN):
                break
            head = self._input[self._at : self._at + _SKIPPABLE_HEADER]
            if not is_skippable(head):
                self._frame = _new_frame(head, self._room)
                self.name = self._frame.name
                return True
            if not self._have(_SKIPPABLE_HEADER):
                raise StreamError("the compressed stream is cut in a skippable frame", cut=True)
            head = self._input[self._at : self._at + _SKIPPABLE_HEADER]
            self._skip = _SKIPPABLE_HEADER + int.from_bytes(head[_MAGIC_LEN:], "little")
        if self._at < len(self._input):
            raise StreamError("the compressed stream is cut", cut=True)
        return False

    def _skip_on(self) -> bool:
        """Pass over what is to be skipped; False if the file ends in it."""
        while True:
            step = min(self._skip, len(self._input) - self._at)
            self._at += step
            self._skip -= step
            if not self._skip:
                return True
            if not self._read_more(CHUNK):
                return False

    def _have(self, size: int) -> bool:
        """Whether so many bytes are there, or can be read."""
        while len(self._input) - self._at < size:
            if not self._read_more(size):
                return False
        return True

    def _read_more(self, size: int) -> bool:
        more = self._read(max(CHUNK, size))
        self._input, self._at = self._input[self._at :] + more, 0
        return bool(more)


def _new_frame(head: bytes, room: _Room) -> _Frame:
    if head.startswith(ZSTD_MAGIC):
        return _ZstdFrame(room)
    if head.startswith(LZ4_MAGIC):
        return _Lz4Frame(room)
    raise StreamError("what follows the compressed stream is none")
