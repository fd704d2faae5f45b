"""Types and libraries that decompressors and compressors have in common."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

READ_SIZE: Final = 1 << 17
"""Number of compressed bytes to read at a time."""

VALID_BYTES: Final = 1 << 22
"""Data returned by a `Reader` stays valid until this number of bytes was returned after it."""

Read: TypeAlias = Callable[[int], bytes]
"""`read(n)` returns up to n more compressed bytes; b"" at the end."""

Chunk: TypeAlias = bytes | memoryview
"""Decompressed data of any length."""


def zstd_library() -> Any:
    """Import zstandard, or, if it is not installed, the standard library's module of Python 3.14 and later.

    Raises
    ------
    ImportError
        Neither is available.
    """
    for name in ("zstandard", "compression.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ImportError("zstd support requires the 'zstandard' package: pip install 'slimcap[zstd]'")


def lz4_library() -> Any:
    """Import lz4.frame.

    Raises
    ------
    ImportError
        lz4 is not installed.
    """
    try:
        return importlib.import_module("lz4.frame")
    except ImportError:
        raise ImportError("lz4 support requires the 'lz4' package: pip install 'slimcap[lz4]'") from None


class StreamError(Exception):
    """A compressed stream is damaged or, with `truncated`, ends early. The data before that was returned."""

    def __init__(self, reason: str, truncated: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.truncated = truncated


class Reader(Protocol):
    """Interface of decompressors."""

    @property
    def name(self) -> str:
        """Name of the compression, as in `PcapSource.compression`."""
        ...

    def read(self) -> Chunk:
        """Return more decompressed data; b"" at the end. It is valid for the next `VALID_BYTES` bytes.

        Raises StreamError, or an exception of reading the input.
        """
        ...
