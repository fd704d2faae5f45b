"""What decompressors have in common, and compressors with them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

CHUNK: Final = 1 << 17
"""Compressed bytes to read at a time."""

KEPT: Final = 1 << 22
"""What a `Reader` gave stays as it is until it gave so many bytes more."""

Read: TypeAlias = Callable[[int], bytes]
"""`read(n)` gives up to n more compressed bytes, b"" at the end."""

Piece: TypeAlias = bytes | memoryview
"""Some of what a stream was decompressed to."""


def zstd_library() -> Any:
    """zstandard if it is installed, else from Python 3.14 on the standard library's module.

    Raises
    ------
    ImportError
        There is neither.
    """
    for name in ("zstandard", "compression.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ImportError("zstd takes the package zstandard: pip install 'slimcap[zstd]'")


def lz4_library() -> Any:
    """lz4.frame.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        return importlib.import_module("lz4.frame")
    except ImportError:
        raise ImportError("lz4 takes the package lz4: pip install 'slimcap[lz4]'") from None


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
