"""Split capture files into disjoint parts that can be read independently, in parallel."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, Unpack, cast

import numpy as np

from slimcap.capfile.boundaries import BlockBoundaries, RecordBoundaries
from slimcap.capfile.pcap_decoder import PcapDecoder
from slimcap.capfile.pcapng_decoder import PcapngDecoder
from slimcap.errors import FileFormatError
from slimcap.filter import Filter, HeaderFilter, HostSet, Machine
from slimcap.filter.where_options import WhereOptions
from slimcap.io.file_range import FileRange
from slimcap.option_set import parse
from slimcap.packet.batch import Batch
from slimcap.packet.record import RECORD_DTYPE
from slimcap.source.file.file_errors import FileErrors
from slimcap.source.file.file_list import list_files
from slimcap.source.file.file_options import FilesOptions, PcapOptions
from slimcap.source.file.open_files import read_all
from slimcap.source.file.pcap_source import PcapSource

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_LONGEST_PCAP_HEADER: Final = 28
_EXTENT: Final = "this part of the file (plan it with exact=True)"
_MOST_PREAMBLE: Final = 1 << 20
"""Maximum size in bytes of the section headers and interface descriptions of a pcapng file. Each task has a
copy of those before it; if they exceed the maximum, the rest of the file is one task."""


class FileIdentity(NamedTuple):
    """Size, modification time and inode of a file, to detect that it changed after it was planned.

    Attributes
    ----------
    size : int
        Size in bytes.
    mtime_ns : int
        Time of the last modification in nanoseconds since the Unix epoch.
    inode : int
        Inode number.
    """

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, repr=False)
class ReadTask:
    """A part of a capture file, readable by any process that can open the file.

    `plan` makes tasks. They are immutable and can be pickled.

    Attributes
    ----------
    path : str
        Path of the file.
    start : int
        Offset of the first byte of the part: 0, or the start of a packet's record.
    stop : int
        Offset after its last byte: the end of a packet's record, or the end of the file. A compressed file is
        one part.
    preamble : bytes
        Bytes needed to decode the part: the file header, or section headers and interface descriptions.
    snaplen : int or None
        Maximum number of bytes to read of a packet; None: all that were captured.
    filter : str, sequence of (code, jt, jf, k), HostSet or None
        Filter that packets must match; None: all packets.
    compression : str or None
        Compression of the file, as in `PcapSource.compression`.
    identity : FileIdentity
        Identity of the file when it was planned; a file that has changed is not read.
    where : slimcap.filter.HeaderFilter, optional
        Conditions on the headers that packets must match. Default: all packets.

    Examples
    --------
    >>> tasks = slimcap.plan("trace.pcap")
    >>> batches = [task.read() for task in tasks]
    """

    path: str
    start: int
    stop: int
    preamble: bytes
    snaplen: int | None
    filter: Filter | None
    compression: str | None
    identity: FileIdentity
    where: HeaderFilter | None = None

    def open(self, **options: Unpack[PcapOptions]) -> PcapSource:
        """Open the part as a source.

        Parameters
        ----------
        **options
            Options of `PcapSource`, which replace the `snaplen`, `filter` and `where` of the task.

        Returns
        -------
        PcapSource
            Source of the packets of this part. Its interfaces have the same numbers as in the whole file.
            `stats()` and the `packet_index` of errors count from the part's first packet; the `offset` of
            errors is an offset in the file. Close it, or use it as a context manager.

        Raises
        ------
        OSError
            With errno ESTALE: the file has changed since it was planned.
        FileFormatError, FilterError, OSError
            As for `PcapSource`.
        """
        options = cast(
            PcapOptions, {"snaplen": self.snaplen, "filter": self.filter, "where": self.where, **options}
        )
        if options.get("concatenated") and (self.start, self.stop) != (0, self.identity.size):
            raise ValueError("concatenated: a part of a file has one header: plan with a larger chunk_bytes")
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._check(fd)
            if self.compression is not None:
                return PcapSource(self.path, **options)
            os.posix_fadvise(fd, self.start, self.stop - self.start, os.POSIX_FADV_SEQUENTIAL)
            extent = "the file" if self.stop == self.identity.size else _EXTENT
            part = FileRange(os.dup(fd), self.path, self.preamble, self.start, self.stop, extent)
            return PcapSource(part, **options)
        finally:
            os.close(fd)

    def read(self, **options: Unpack[PcapOptions]) -> Batch:
        """Read the whole part into memory.

        Parameters
        ----------
        **options
            As for `open`.

        Returns
        -------
        Batch
            It owns its memory and can be pickled.

        Raises
        ------
        FileFormatError, FilterError, OSError
            As for `open`.
        """
        with self.open(**options) as source:
            return read_all(source)

    def batches(self, **options: Unpack[PcapOptions]) -> Iterator[Batch]:
        """Open the part and yield its packets, a block at a time.

        Parameters
        ----------
        **options
            As for `open`.

        Yields
        ------
        Batch
            Views of it keep the memory of its block alive.

        Raises
        ------
        FileFormatError, FilterError, OSError
            As for `open`, when the first batch is requested.
        """
        with self.open(**options) as source:
            yield from source.batches()

    def __repr__(self) -> str:
        of = f", {self.compression}" if self.compression else ""
        part = f"bytes {self.start:,} to {self.stop:,} of {self.identity.size:,}"
        return f"<ReadTask {self.path!r}{of}: {part}>"

    def _check(self, fd: int) -> None:
        now = _identity(os.fstat(fd))
        if now != self.identity:
            raise OSError(
                errno.ESTALE,
                f"the file changed after it was planned (was {self.identity}, is {now}): plan again",
                self.path,
            )


def plan(
    paths: Path | Sequence[Path],
    *,
    chunk_bytes: int = 64 << 20,
    snaplen: int | None = None,
    filter: Filter | None = None,
    where: WhereOptions | HeaderFilter | None = None,
    exact: bool = False,
    on_error: Literal["raise", "skip", "warn"] = "raise",
) -> list[ReadTask]:
    """Split capture files into parts that threads, processes or other machines can read independently.

    The tasks of a file, one after the other, give the same packets as `PcapSource`. Splitting a classic pcap
    file reads hardly any of it; splitting a pcapng file takes about as long as reading it.

    Parameters
    ----------
    paths : path or sequence of paths
        Regular files of any format that `PcapSource` reads; a folder or a pattern, as for `open_files`.
    chunk_bytes : int, default 64 MiB
        Approximate number of bytes of the file in each task. A compressed file is one task.
    snaplen : int, optional
        Maximum number of bytes to read of a packet. Default: all that were captured.
    filter : str, sequence of (code, jt, jf, k) or HostSet, optional
        A tcpdump expression or a classic BPF program. Default: all packets.
    where : mapping or slimcap.filter.HeaderFilter, optional
        Conditions on the headers, as for `open_file`. Default: all packets.
    exact : bool, default False
        True: walk through all records of a classic pcap file. False: find each cut from the bytes after it.
        That is a proof if the records there have regular headers: caplen <= len, a fraction of less than one
        second, no packet longer than 16 MiB. If they do not, and the cut is wrong, the task before it does
        not end at the cut and raises TruncatedFileError there.
    on_error : {"raise", "skip", "warn"}, default "raise"
        What to do about a file that cannot be opened, or whose header is not valid: "raise" the error, "skip"
        the file, or skip it and "warn" with a RuntimeWarning.

    Returns
    -------
    list of ReadTask
        At least one for each file that was not skipped, in order.

    Raises
    ------
    ValueError
        `chunk_bytes` is less than 1, or a path is not a regular file.
    TypeError
        The filter is a Machine, which cannot be pickled.
    FileFormatError, FilterError, OSError, ImportError
        As for `PcapSource` when it opens one of the files. A file that is damaged after its header is planned
        nevertheless: the task with the damage gives all good packets of its part before it, then raises. The
        tasks after it may give anything, so stop at the first task that raises.

    Examples
    --------
    >>> with concurrent.futures.ProcessPoolExecutor() as pool:
    ...     for batch in pool.map(slimcap.ReadTask.read, slimcap.plan("trace.pcap")):
    ...         print(len(batch))
    """
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes is a number of bytes from 1 on, not {chunk_bytes}")
    if isinstance(filter, Machine):
        raise TypeError("a Machine cannot be pickled: give the expression or the program")
    options = parse(FilesOptions, {"on_error": on_error, "where": where})
    errors = FileErrors(options["on_error"])
    if filter is not None and not isinstance(filter, (str, HostSet)):
        filter = tuple(filter)
    tasks: list[ReadTask] = []
    for path in list_files(paths):
        try:
            tasks += _plan_file(os.fsdecode(path), chunk_bytes, snaplen, filter, exact, options["where"])
        except (FileFormatError, OSError) as error:
            if not errors.skip(error):
                raise
    return tasks


def _plan_file(
    path: str,
    chunk_bytes: int,
    snaplen: int | None,
    filter: Filter | None,
    exact: bool,
    where: HeaderFilter | None,
) -> Iterator[ReadTask]:
    status = os.stat(path)  # before opening, which would wait for a writer if it is a FIFO
    if path == "-" or not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path!r} is not a regular file, and only these can be read in parts")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        identity = _identity(os.fstat(fd))
        with PcapSource(path, snaplen=snaplen, filter=filter) as source:
            compression, is_pcapng = source.compression, source.format == "pcapng"
        parts = [(0, b"")]
        if compression is None and is_pcapng:
            parts += _cut_pcapng(fd, identity.size, path, chunk_bytes)
        elif compression is None:
            parts += _cut_pcap(fd, identity.size, path, chunk_bytes, exact)
    finally:
        os.close(fd)
    stops = [*(start for start, _ in parts[1:]), identity.size]
    for (start, preamble), stop in zip(parts, stops, strict=True):
        yield ReadTask(path, start, stop, preamble, snaplen, filter, compression, identity, where)


def _identity(status: os.stat_result) -> FileIdentity:
    return FileIdentity(status.st_size, status.st_mtime_ns, status.st_ino)


def _cut_pcap(fd: int, size: int, path: str, chunk_bytes: int, exact: bool) -> Iterator[tuple[int, bytes]]:
    """Yield start and preamble of each part of a classic pcap file except the first.

    The preamble is the file header.
    """
    header = os.pread(fd, _LONGEST_PCAP_HEADER, 0)
    decoder = PcapDecoder(header)
    header = header[: decoder.header_len]
    boundaries = RecordBoundaries(fd, size, path, decoder)
    start: int | None = decoder.header_len
    while start is not None and start + chunk_bytes < size:
        start = boundaries.find(start, start + chunk_bytes, exact)
        if start is not None:
            yield start, header


def _cut_pcapng(fd: int, size: int, path: str, chunk_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield start and preamble of each part of a pcapng file except the first.

    The preamble is all section headers and interface descriptions before the part.
    """
    boundaries = BlockBoundaries(fd, size, path)
    decoder = PcapngDecoder()
    preamble, start = b"", 0
    while halt := boundaries.walk(start + chunk_bytes):
        if halt == "packet":
            start = boundaries.position
            yield start, preamble
            continue
        block = os.pread(fd, boundaries.length, boundaries.position)
        if len(preamble) + len(block) > _MOST_PREAMBLE or not _understands(decoder, block):
            return
        preamble += block


_NO_ROWS: Final = np.empty(0, RECORD_DTYPE)


def _understands(decoder: PcapngDecoder, block: bytes) -> bool:
    """Return True if the decoder accepts a section header or interface description, and reads to its end."""
    decoder.decode(block, _NO_ROWS)
    return decoder.fault is None and decoder.position == len(block)
