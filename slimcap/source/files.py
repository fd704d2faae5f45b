"""Opening capture files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypedDict, Unpack

from slimcap.filter import Filter, Machine
from slimcap.packet.batch import Batch, concat
from slimcap.source.pcapfile import PcapSource

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Readable(Protocol):
    """A binary file object with `read`, which may give None for nothing yet."""

    def read(self, size: int, /) -> Buffer | None: ...


class ReadableInto(Protocol):
    """A binary file object with `readinto`, which may give None for nothing yet."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


File: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | Readable | ReadableInto
"""What can be opened: a path, "-" for standard input, or a binary file object, which need not seek."""


class PcapOptions(TypedDict, total=False):
    """The options of `PcapSource`."""

    snaplen: int | None
    filter: Filter | Machine | None
    block_size: int
    timeout: float | None


def open_file(file: File, **options: Unpack[PcapOptions]) -> PcapSource:
    """Open a capture file.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`.
    **options
        As `PcapSource` takes them.

    Returns
    -------
    PcapSource
        Close it, or use it as a context manager.

    Raises
    ------
    FileFormatError, FilterError, OSError
        As `PcapSource` does.
    """
    return PcapSource(file, **options)


def read(file: File, **options: Unpack[PcapOptions]) -> Batch:
    """Read all of a capture file into memory.

    Takes 40 bytes a packet and the packets; for files larger than memory use `open_file(file).batches()`.

    Parameters
    ----------
    file, **options
        As `open_file` takes them.

    Returns
    -------
    Batch
        All packets that the filter takes, in memory of their own.

    Raises
    ------
    FileFormatError, FilterError, OSError
        As `PcapSource` does. Of a damaged file, `open_file(file).batches()` gives the packets before the
        damage.
    """
    with PcapSource(file, **options) as source:
        return read_all(source)


def read_all(source: PcapSource) -> Batch:
    """All packets that are left in an open file, in memory of their own."""
    batch = concat(source.batches())
    return batch if len(batch) else Batch([], b"", source.links)
