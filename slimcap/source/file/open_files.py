"""Opening capture files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypedDict, Unpack, overload

from slimcap.filter import Filter, Machine
from slimcap.packet.batch import Batch, concat
from slimcap.source.file.followed import RotatedSource
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

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


class FilesOptions(TypedDict, total=False):
    """The options of `open_files`."""

    snaplen: int | None
    filter: Filter | Machine | None
    block_size: int
    timeout: float | None


class PcapOptions(FilesOptions, total=False):
    """The options of `PcapSource`."""

    follow: bool


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


Files: TypeAlias = str | os.PathLike[str] | Sequence[File]
"""What can be opened together: a pattern as `glob.glob` takes it, or files."""


@overload
def open_files(
    files: Files, *, follow: Literal[False] = False, **options: Unpack[FilesOptions]
) -> MergedSource: ...
@overload
def open_files(files: Files, *, follow: Literal[True], **options: Unpack[FilesOptions]) -> RotatedSource: ...
def open_files(
    files: Files, *, follow: bool = False, **options: Unpack[FilesOptions]
) -> MergedSource | RotatedSource:
    """Open several capture files as one source.

    Parameters
    ----------
    files : str, os.PathLike or sequence
        A pattern of `glob.glob`, or a sequence of what `open_file` takes.
    follow : bool
        False: merge the packets in order of time, however the files overlap. True: one file after the other,
        in the order in which they were written; wait at the end of the last one for more, and for newer files
        that match the pattern.
    **options
        As `MergedSource` and `RotatedSource` take them: those of `PcapSource`.

    Returns
    -------
    MergedSource or RotatedSource
        Close it, or use it as a context manager.

    Raises
    ------
    FileFormatError, FilterError, OSError, ValueError
        As these do.
    """
    return RotatedSource(files, **options) if follow else MergedSource(files, **options)


def read(file: File, **options: Unpack[FilesOptions]) -> Batch:
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
