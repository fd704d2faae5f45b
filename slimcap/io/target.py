"""Types of the targets that a capture file can be written to."""

from __future__ import annotations

import os
from typing import Protocol, TypeAlias


class Writable(Protocol):
    """A binary file object with `write`, which may write only part of the data."""

    def write(self, data: memoryview, /) -> int | None: ...


Target: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | Writable
"""A capture file to write: a path, "-" for standard output, or a binary file object."""
