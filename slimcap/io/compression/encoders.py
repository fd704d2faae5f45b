"""Compressors whose flushed output can be decompressed."""

from __future__ import annotations

import importlib
import os
import zlib
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol

from slimcap.io.compression.gzip import fastest_zlib
from slimcap.io.compression.stream_reader import lz4_library, zstd_library

Compression = Literal["gzip", "zstd", "xz", "lz4", "bzip2"]
"""Supported compression formats."""

ENDINGS: Final[dict[str, Compression]] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".xz": "xz",
    ".lz4": "lz4",
    ".bz2": "bzip2",
}

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class Encoder(Protocol):
    """Interface of compressors."""

    def compress(self, data: memoryview, /) -> bytes:
        """Add data; return the output that is ready, b"" if there is none yet."""
        ...

    def flush(self) -> bytes:
        """Return the rest of the output, so that all data so far can be decompressed."""
        ...

    def finish(self) -> bytes:
        """Return the rest of the output, and end the stream."""
        ...


class _Flushing:
    """A compressor of gzip (RFC 1952) or zstd (RFC 8878): one stream, which can be flushed anywhere."""

    def __init__(self, stream: Any, flush: int, finish: int) -> None:
        self._stream = stream
        self._flush, self._finish = flush, finish

    def compress(self, data: memoryview, /) -> bytes:
        output: bytes = self._stream.compress(data)
        return output

    def flush(self) -> bytes:
        output: bytes = self._stream.flush(self._flush)
        return output

    def finish(self) -> bytes:
        output: bytes = self._stream.flush(self._finish)
        return output


class _Concatenated:
    """A compressor of xz, bzip2 or lz4: a flush ends the stream, and the next data starts another one.

    bzip2 cannot flush within a stream. xz and lz4 can, but their Python modules do not expose it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._stream: Any = None

    def compress(self, data: memoryview, /) -> bytes:
        head = b""
        if self._stream is None:
            self._stream = self._make()
            begin = getattr(self._stream, "begin", None)  # only lz4 has it
            head = begin() if begin is not None else b""
        output: bytes = self._stream.compress(data)
        return head + output

    def flush(self) -> bytes:
        if self._stream is None:
            return b""
        stream, self._stream = self._stream, None
        output: bytes = stream.flush()
        return output

    finish = flush


def _gzip(level: int) -> Encoder:
    library, _ = fastest_zlib()
    stream = library.compressobj(level, library.DEFLATED, _GZIP_WINDOW)
    return _Flushing(stream, library.Z_SYNC_FLUSH, library.Z_FINISH)


def _zstd(level: int) -> Encoder:
    library = zstd_library()
    if library.__name__ != "zstandard":
        return _standard_zstd(library, level)
    stream = library.ZstdCompressor(level, write_checksum=True).compressobj()
    return _Flushing(stream, library.COMPRESSOBJ_FLUSH_BLOCK, library.COMPRESSOBJ_FLUSH_FINISH)


def _standard_zstd(zstd: Any, level: int) -> Encoder:
    options = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}
    stream = zstd.ZstdCompressor(options=options)
    return _Flushing(stream, stream.FLUSH_BLOCK, stream.FLUSH_FRAME)


def _xz(level: int) -> Encoder:
    lzma = importlib.import_module("lzma")
    return _Concatenated(lambda: lzma.LZMACompressor(preset=level))


def _bzip2(level: int) -> Encoder:
    bz2 = importlib.import_module("bz2")
    return _Concatenated(lambda: bz2.BZ2Compressor(level))


def _lz4(level: int) -> Encoder:
    lz4 = lz4_library()
    return _Concatenated(lambda: lz4.LZ4FrameCompressor(compression_level=level, content_checksum=True))


class _Kind(NamedTuple):
    make: Callable[[int], Encoder]
    levels: range
    level: int  # default level, that of the command-line tool


_KINDS: Final[dict[str, _Kind]] = {
    "gzip": _Kind(_gzip, range(10), 6),
    "zstd": _Kind(_zstd, range(-7, 23), 3),
    "xz": _Kind(_xz, range(10), 6),
    "lz4": _Kind(_lz4, range(17), 0),
    "bzip2": _Kind(_bzip2, range(1, 10), 9),
}


def compression_of(file: object) -> Compression | None:
    """Return the compression that a path's extension stands for; None for any other file."""
    if not isinstance(file, (str, bytes, os.PathLike)):
        return None
    return ENDINGS.get(os.path.splitext(os.fsdecode(file))[1].lower())


def encoder_for(file: object, compression: str | None, level: int | None) -> Encoder | None:
    """Return a compressor by a writer's parameters; None for no compression.

    Parameters
    ----------
    file : object
        The writer's `file`.
    compression : {"infer", "gzip", "zstd", "xz", "lz4", "bzip2"} or None
        Compression format; "infer" chooses it by the path's extension.
    level : int or None
        Compression level. None: the default of the command-line tool.

    Raises
    ------
    ImportError
        The package for this format is not installed.
    ValueError
        `compression` or `level` is not valid.
    """
    if compression == "infer":
        compression = compression_of(file)
    if compression is None:
        if level is not None:
            raise ValueError(f"level {level} was given, but no compression: give both or neither")
        return None
    if compression not in _KINDS:
        raise ValueError(
            f"compression must be one of {', '.join(_KINDS)}, infer or None, not {compression!r}"
        )
    kind = _KINDS[compression]
    if level is None:
        level = kind.level
    if level not in kind.levels:
        raise ValueError(f"level of {compression} must be {kind.levels[0]} to {kind.levels[-1]}, not {level}")
    return kind.make(level)
