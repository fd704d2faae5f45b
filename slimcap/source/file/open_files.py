"""Functions that open and read capture files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, Unpack, cast, overload

from slimcap.errors import FileFormatError
from slimcap.option_set import accepts, parse
from slimcap.packet.batch import Batch, concat
from slimcap.source.file.file_errors import FileErrors
from slimcap.source.file.file_list import is_one_file
from slimcap.source.file.file_options import FilesOptions, PcapOptions, SeveralOptions
from slimcap.source.file.followed import RotatedSource
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Readable(Protocol):
    """A binary file object with `read`. It may return None if it is non-blocking and has no data."""

    def read(self, size: int, /) -> Buffer | None: ...


class ReadableInto(Protocol):
    """A binary file object with `readinto`. It may return None if it is non-blocking and has no data."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


File: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | Readable | ReadableInto
"""A capture file: a path, "-" for standard input, or a binary file object, which need not be seekable."""


@accepts(PcapOptions)
def open_file(file: File, **options: Unpack[PcapOptions]) -> PcapSource:
    """Open a capture file: pcap or pcapng, also compressed.

    Parameters
    ----------
    file : str, bytes, os.PathLike or binary file object
        A path, "-" for standard input, or an object with `readinto` or `read`; it need not be seekable.
    **options
        Those of `PcapOptions`.

    Returns
    -------
    PcapSource
        Close it, or use it as a context manager.

    Raises
    ------
    FileFormatError, FilterError, OSError, TimeoutError, ValueError, ImportError
        As for `PcapSource`.

    Examples
    --------
    >>> with slimcap.open_file("trace.pcapng.zst", filter="tcp port 443") as source:
    ...     for batch in source.batches():
    ...         print(len(batch))
    """
    return PcapSource(file, **options)


Files: TypeAlias = str | os.PathLike[str] | Sequence[File]
"""Several capture files: a path, a folder, a `glob.glob` pattern, or a sequence of files and folders."""


@overload
def open_files(
    files: Files, *, follow: Literal[False] = False, **options: Unpack[SeveralOptions]
) -> MergedSource: ...
@overload
def open_files(
    files: Files, *, follow: Literal[True], **options: Unpack[SeveralOptions]
) -> RotatedSource: ...
@accepts(SeveralOptions)
def open_files(
    files: Files, *, follow: bool = False, **options: Unpack[SeveralOptions]
) -> MergedSource | RotatedSource:
    """Open several capture files as one source.

    Parameters
    ----------
    files : str, os.PathLike or sequence
        A path, a folder, or a pattern as for `glob.glob`, in which ``**`` stands for folders of any depth; or
        a sequence of files as for `open_file`, and of folders. A folder stands for the regular files in it
        whose names do not start with a dot.
    follow : bool, default False
        False: merge the packets in order of time, even if the files overlap. True: read one file after the
        other in the order in which they were written; at the end of the last one wait for more data, and for
        newer files that match the pattern.
    **options
        Those of `SeveralOptions`.

    Returns
    -------
    MergedSource or RotatedSource
        RotatedSource if `follow`. Close it, or use it as a context manager.

    Raises
    ------
    FileFormatError, FilterError, OSError, TimeoutError, ValueError, ImportError
        As for `MergedSource` and `RotatedSource`.

    Examples
    --------
    >>> with slimcap.open_files("trace-*.pcap") as source:
    ...     for batch in source.batches():
    ...         print(batch.timestamps[0], len(batch))
    """
    kind = RotatedSource if follow else MergedSource
    return kind(files, **options)


@accepts(FilesOptions)
def read(file: File | Files, **options: Unpack[FilesOptions]) -> Batch:
    """Read a whole capture file, or several, into memory.

    The batch needs 40 bytes per packet plus the captured bytes. For files that do not fit in memory use
    `open_file(file).batches()`.

    Parameters
    ----------
    file : str, bytes, os.PathLike, binary file object or sequence
        As for `open_file`; or several files, as for `open_files`: their packets are in order of time.
    **options
        Those of `FilesOptions`.

    Returns
    -------
    Batch
        All packets that match the filter. It owns its memory.

    Raises
    ------
    FileFormatError, FilterError, OSError, TimeoutError, ValueError, ImportError
        As for `PcapSource` and `MergedSource`. To get the packets before the damage in a damaged file use
        `on_error="warn"`, or `open_file(file).batches()`.

    Examples
    --------
    >>> batch = slimcap.read("trace.pcap", filter="udp")
    """
    given = parse(FilesOptions, options)  # without `follow`
    source: PcapSource | MergedSource
    try:
        if is_one_file(file):
            source = PcapSource(cast("File", file), **given)
        else:
            source = MergedSource(cast("Files", file), **given)
    except (FileFormatError, OSError) as error:
        if not FileErrors(given["on_error"]).skip(error):
            raise
        return Batch([], b"")
    with source:
        return read_all(source)


def read_all(source: PcapSource | MergedSource) -> Batch:
    """Return the remaining packets of an open file, or of several, as a batch that owns its memory."""
    batch = concat(source.batches())
    return batch if len(batch) else Batch([], b"", source.links)
