"""Decompressor of gzip."""

from __future__ import annotations

import zlib
from typing import Any, Final

from slimcap.io.compression.stream_reader import READ_SIZE, Read, StreamError

GZIP_MAGIC: Final = b"\x1f\x8b"

_MAX_OUTPUT = 1 << 18  # maximum output of one call, which bounds the memory used by a decompression bomb
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class GzipReader:
    """Decompressor of gzip (RFC 1952).

    Several members are one stream. Trailing data after the last member is ignored, as by gzip.

    Parameters
    ----------
    head : bytes
        The bytes that were read already.
    read : callable
        `read(n)` returns up to n more bytes; b"" at the end.
    """

    name = "gzip"

    def __init__(self, head: bytes, read: Read) -> None:
        self._zlib, self._errors = fastest_zlib()
        self._read = read
        self._input = head
        self._member = self._zlib.decompressobj(wbits=_GZIP_WINDOW)
        self._damaged = False

    def read(self) -> bytes:
        """Return more decompressed data; b"" at the end.

        Raises
        ------
        StreamError
            The stream is damaged or truncated.
        """
        while not self._at_end():
            # Call it even without input: the decompressor may hold back output that did not fit.
            data = self._decompress()
            if data:
                return data
            if not self._input and not self._member.eof:
                self._input = self._read(READ_SIZE)
                if not self._input:
                    raise StreamError("the gzip stream is truncated", truncated=True)
        return b""

    def _at_end(self) -> bool:
        """Return True if no member follows; start the next one if there is one."""
        if not self._member.eof:
            return False
        while len(self._input) < len(GZIP_MAGIC):
            more = self._read(READ_SIZE)
            if not more:
                return True
            self._input += more
        if not self._input.startswith(GZIP_MAGIC):
            return True
        self._member = self._zlib.decompressobj(wbits=_GZIP_WINDOW)
        return False

    def _decompress(self) -> bytes:
        """Return some output; if a call finds damage, repeat it in parts, since zlib discards its output."""
        if self._damaged:
            return self._before_damage()
        saved = self._member.copy()
        try:
            data: bytes = self._member.decompress(self._input, _MAX_OUTPUT)
        except self._errors:
            self._member = saved
            self._damaged = True
            return self._before_damage()
        self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return data

    def _before_damage(self) -> bytes:
        """Return some output of the input before the damage, which is somewhere in the input."""
        while True:
            part = self._input[: (len(self._input) + 1) // 2]
            saved = self._member.copy()
            try:
                data: bytes = self._member.decompress(part, _MAX_OUTPUT)
            except self._errors as error:
                if len(part) == 1:
                    raise StreamError(f"the gzip stream is corrupt: {error}") from None
                self._member = saved
                self._input = part  # the damage is in it
                continue
            self._input = self._member.unconsumed_tail + self._input[len(part) :]
            if data:
                return data


def fastest_zlib() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return the module zlib-ng if installed, which is a third faster, else zlib; and its exceptions."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib, (zlib.error,)
    # In its stub, `error` is an exception instead of an exception class.
    fast: Any = zlib_ng
    return fast, (fast.error,)
