"""Decompressors of bzip2 and xz, whose libraries accept input in pieces of any size."""

from __future__ import annotations

import importlib
from typing import Any, Final

from slimcap.io.compression.stream_reader import READ_SIZE, Read, StreamError

BZIP2_MAGIC: Final = b"BZh"
XZ_MAGIC: Final = b"\xfd7zXZ\0"

_MAX_OUTPUT = 1 << 14  # maximum output of one call, hence the maximum number of good bytes lost before damage
_MAX_MEMORY = 1 << 28


class StepReader:
    """Base class of decompressors of concatenated streams.

    A library call that finds damage does not return what it decompressed before. So up to 16 KiB of good data
    before the damage are lost. Nothing is lost if the stream is truncated.

    Parameters
    ----------
    head : bytes
        The bytes that were read already, at least the magic number.
    read : callable
        `read(n)` returns up to n more bytes; b"" at the end.

    Raises
    ------
    ImportError
        This Python was built without the library.
    """

    name: str
    _magic: bytes
    _padding = b""  # padding allowed between and after streams

    def __init__(self, head: bytes, read: Read) -> None:
        self._make, self._errors = self._library()
        self._read = read
        self._input = head
        self._stream = self._make()

    def read(self) -> bytes:
        """Return more decompressed data; b"" at the end.

        Raises
        ------
        StreamError
            The stream is damaged or truncated.
        """
        while not self._at_end():
            data = self._step()
            if data:
                return data
            if self._stream.needs_input and not self._stream.eof:
                self._input = self._read(READ_SIZE)
                if not self._input:
                    raise StreamError(f"the {self.name} stream is truncated", truncated=True)
        return b""

    def _step(self) -> bytes:
        try:
            data: bytes = self._stream.decompress(self._input, _MAX_OUTPUT)
        except self._errors as error:
            raise StreamError(f"the {self.name} stream is corrupt: {error}") from None
        # It keeps input that was not used yet, except for bytes after the end of the stream.
        self._input = self._stream.unused_data if self._stream.eof else b""
        return data

    def _at_end(self) -> bool:
        """Return True if no stream follows; start the next one if there is one."""
        if not self._stream.eof:
            return False
        while True:
            self._input = self._input.lstrip(self._padding) if self._padding else self._input
            if len(self._input) >= len(self._magic):
                break
            more = self._read(READ_SIZE)
            if not more:
                return not self._input or self._ignore_trailing_data()
            self._input += more
        if not self._input.startswith(self._magic):
            return self._ignore_trailing_data()
        self._stream = self._make()
        return False

    def _ignore_trailing_data(self) -> bool:
        """Return True if trailing data after the last stream is to be ignored; else raise StreamError."""
        raise NotImplementedError

    def _library(self) -> tuple[Any, Any]:
        """Return a function that makes a decompressor, and the exceptions that it raises."""
        raise NotImplementedError


class Bzip2Reader(StepReader):
    """Decompressor of bzip2, which ignores trailing data after the last stream, as bzip2 does."""

    name = "bzip2"
    _magic = BZIP2_MAGIC

    def _ignore_trailing_data(self) -> bool:
        return True

    def _library(self) -> tuple[Any, Any]:
        return importlib.import_module("bz2").BZ2Decompressor, (OSError, ValueError)


class XzReader(StepReader):
    """Decompressor of xz (The .xz File Format, 1.2.1), with stream padding.

    Other trailing data is an error, as for xz. It uses at most 256 MiB of memory, enough for the dictionaries
    of all presets.
    """

    name = "xz"
    _magic = XZ_MAGIC
    _padding = b"\0"

    def _ignore_trailing_data(self) -> bool:
        raise StreamError("trailing data after the xz stream")

    def _library(self) -> tuple[Any, Any]:
        lzma = importlib.import_module("lzma")
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY), lzma.LZMAError
