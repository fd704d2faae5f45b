"""Decompressing gzip."""

from __future__ import annotations

import zlib
from typing import Any, Final

from slimcap.io.compression.stream_reader import CHUNK, Read, StreamError

GZIP_MAGIC: Final = b"\x1f\x8b"

_MOST_OUT = 1 << 18  # from one call: what a bomb may blow up to at once
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class GzipReader:
    """Decompresses gzip (RFC 1952).

    Several members are one stream; what follows the last and is none is ignored, as gzip does.

    Parameters
    ----------
    head : bytes
        What was read already.
    read : callable
        `read(n)` gives up to n more bytes, b"" at the end.
    """

    name = "gzip"

    def __init__(self, head: bytes, read: Read) -> None:
        self._zlib, self._errors = fastest_zlib()
        self._read = read
        self._input = head
        self._member = self._zlib.decompressobj(wbits=_GZIP_WINDOW)
        self._careful = False

    def read(self) -> bytes:
        """Some more of what was compressed; b"" at the end.

        Raises
        ------
        StreamError
            The stream is broken or cut here.
        """
        while not self._at_end():
            # Also with no input left: the decompressor may hold back output that did not fit.
            data = self._decompress(_MOST_OUT)
            if data:
                return data
            if not self._input and not self._member.eof:
                self._input = self._read(CHUNK)
                if not self._input:
                    raise StreamError("the gzip stream is cut", cut=True)
        return b""

    def _at_end(self) -> bool:
        """Whether no member follows; goes on to the next if one does."""
        if not self._member.eof:
            return False
        while len(self._input) < len(GZIP_MAGIC):
            more = self._read(CHUNK)
            if not more:
                return True
            self._input += more
        if not self._input.startswith(GZIP_MAGIC):
            return True
        self._member = self._zlib.decompressobj(wbits=_GZIP_WINDOW)
        return False

    def _decompress(self, most: int) -> bytes:
        """Some output.

        At an error the last step is done again byte by byte: zlib drops what precedes the error.
        """
        if self._careful:
            return self._step_bytes(most)
        spare = self._member.copy()
        try:
            data: bytes = self._member.decompress(self._input, most)
        except self._errors:
            self._member = spare
            self._careful = True
            return self._step_bytes(most)
        self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return data

    def _step_bytes(self, most: int) -> bytes:
        data = b""
        while not data and not self._member.eof:
            step = self._input[:1]
            try:
                data = self._member.decompress(step, most)
            except self._errors as error:
                raise StreamError(f"the gzip stream is broken: {error}") from None
            self._input = self._member.unused_data + self._member.unconsumed_tail + self._input[1:]
            if not step:
                break
        return data


def fastest_zlib() -> tuple[Any, tuple[type[Exception], ...]]:
    """zlib-ng if it is installed, which is a third faster, else the standard library's."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib, (zlib.error,)
    # Its stub says that `error` is an exception, not a class of them.
    fast: Any = zlib_ng
    return fast, (fast.error,)
