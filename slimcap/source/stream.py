"""What decompressors have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

CHUNK: Final = 1 << 17
"""Compressed bytes to read at a time."""

KEPT: Final = 1 << 21
"""What a `Reader` gave stays as it is until it gave so many bytes more."""

Read: TypeAlias = Callable[[int], bytes]
"""`read(n)` gives up to n more compressed bytes, b"" at the end."""

Piece: TypeAlias = bytes | memoryview
"""Some of what a stream was decompressed to."""


class StreamError(Exception):
    """A compressed stream is broken, or (`cut`) ends too early. What came before that was given."""

    def __init__(self, reason: str, cut: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cut = cut


class Reader(Protocol):
    """A decompressor."""

    @property
    def name(self) -> str:
        """What it decompresses, as `PcapSource.compression` has it."""
        ...

    def read(self) -> Piece:
        """Some more of what was compressed, which stays as it is for `KEPT` bytes more; b"" at the end.

        Raises StreamError, or what reading raises.
        """
        ...
