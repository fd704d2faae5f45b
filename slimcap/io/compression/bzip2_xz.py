"""Decompressing bzip2 and xz, whose libraries take their input in any pieces."""

from __future__ import annotations

import importlib
from typing import Any, Final

from slimcap.io.compression.stream_reader import CHUNK, Read, StreamError

BZIP2_MAGIC: Final = b"BZh"
XZ_MAGIC: Final = b"\xfd7zXZ\0"

_STEP = 1 << 14  # from one call: what is lost of the good bytes before a broken place, at most
_MOST_MEMORY = 1 << 28


class StepReader:
    """Decompresses one stream after the other.

    A call of the libraries that meets damage gives nothing of what it had decompressed before, so that up to
    16 KiB before a broken place are missing. At a cut nothing is.

    Parameters
    ----------
    head : bytes
        What was read already, at least the magic.
    read : callable
        `read(n)` gives up to n more bytes, b"" at the end.

    Raises
    ------
    ImportError
        This Python was built without the library.
    """

    name: str
    _magic: bytes
    _padding = b""  # may be between and behind streams

    def __init__(self, head: bytes, read: Read) -> None:
        self._make, self._errors = self._library()
        self._read = read
        self._input = head
        self._stream = self._make()

    def read(self) -> bytes:
        """Some more of what was compressed; b"" at the end.

        Raises
        ------
        StreamError
            The stream is broken or cut here.
        """
        while not self._at_end():
            data = self._step()
            if data:
                return data
            if self._stream.needs_input and not self._stream.eof:
                self._input = self._read(CHUNK)
                if not self._input:
                    raise StreamError(f"the {self.name} stream is cut", cut=True)
        return b""

    def _step(self) -> bytes:
        try:
            data: bytes = self._stream.decompress(self._input, _STEP)
        except self._errors as error:
            raise StreamError(f"the {self.name} stream is broken: {error}") from None
        # It keeps what it has not used yet, but for what is behind the stream.
        self._input = self._stream.unused_data if self._stream.eof else b""
        return data

    def _at_end(self) -> bool:
        """Whether no stream follows; goes on to the next if one does."""
        if not self._stream.eof:
            return False
        while True:
            self._input = self._input.lstrip(self._padding) if self._padding else self._input
            if len(self._input) >= len(self._magic):
                break
            more = self._read(CHUNK)
            if not more:
                return not self._input or self._is_garbage()
            self._input += more
        if not self._input.startswith(self._magic):
            return self._is_garbage()
        self._stream = self._make()
        return False

    def _is_garbage(self) -> bool:
        """What is behind and no stream: True if it is to be ignored."""
        raise NotImplementedError

    def _library(self) -> tuple[Any, Any]:
        """What makes a decompressor, and the errors that it raises."""
        raise NotImplementedError


class Bzip2Reader(StepReader):
    """bzip2; what follows the last stream is ignored, as bzip2 does."""

    name = "bzip2"
    _magic = BZIP2_MAGIC

    def _is_garbage(self) -> bool:
        return True

    def _library(self) -> tuple[Any, Any]:
        return importlib.import_module("bz2").BZ2Decompressor, (OSError, ValueError)


class XzReader(StepReader):
    """xz (The .xz File Format, 1.2.1), with stream padding; what else follows is an error, as for xz.

    At most 256 MiB are used, which is enough for the dictionaries of all presets.
    """

    name = "xz"
    _magic = XZ_MAGIC
    _padding = b"\0"

    def _is_garbage(self) -> bool:
        raise StreamError("what follows the xz stream is none")

    def _library(self) -> tuple[Any, Any]:
        lzma = importlib.import_module("lzma")
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY), lzma.LZMAError
