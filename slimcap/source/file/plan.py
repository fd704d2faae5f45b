"""Plans for reading capture files in parallel: disjoint parts of them, each of which is read by itself."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias, Unpack, cast

import numpy as np

from slimcap.capfile.boundaries import BlockBoundaries, RecordBoundaries
from slimcap.capfile.pcap_decoder import PcapDecoder
from slimcap.capfile.pcapng_decoder import PcapngDecoder
from slimcap.filter import Filter, Machine
from slimcap.io.file_range import FileRange
from slimcap.packet.batch import Batch
from slimcap.packet.record import RECORD_DTYPE
from slimcap.source.file.open_files import PcapOptions, read_all
from slimcap.source.file.pcap_source import PcapSource

Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_LONGEST_PCAP_HEADER: Final = 28
_EXTENT: Final = "this part of the file (plan it with exact=True)"
_MOST_PREAMBLE: Final = 1 << 20
"""Bytes of section headers and interface descriptions, of which each task of a pcapng file has a copy: with
more, the rest of the file is one task."""


class FileIdentity(NamedTuple):
    """What tells whether a file is still the one that was planned for.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns : int
        When it was last written to, in nanoseconds.
    inode : int
        Its number in the file system.
    """

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, repr=False)
class ReadTask:
    """A part of a capture file, for anybody to read who can open it. `plan` makes it; it can be pickled.

    Attributes
    ----------
    path : str
        The file.
    start : int
        Where its part of the file's bytes starts, with a packet but for the first.
    stop : int
        Where it ends, behind a packet. A compressed file is one part.
    preamble : bytes
        What it takes to understand them: the file's header, section headers and interface descriptions.
    snaplen : int or None
        Most bytes to take of a packet.
    filter : str, sequence of (code, jt, jf, k) or None
        Packets to give out.
    compression : str or None
        What the file is compressed with.
    identity : FileIdentity
        The file's, when it was planned: another one is not read.
    """

    path: str
    start: int
    stop: int
    preamble: bytes
    snaplen: int | None
    filter: Filter | None
    compression: str | None
    identity: FileIdentity

    def open(self, **options: Unpack[PcapOptions]) -> PcapSource:
        """Open it as a source.

        Parameters
        ----------
        **options
            As `PcapSource` takes them, instead of the task's own.

        Returns
        -------
        PcapSource
            With the packets of this part, and interfaces numbered as in the whole file. `comments`, `stats()`
            and the `packet_index` of errors count from the part's first packet; `offset` is the place in the
            file. Close it, or use it as a context manager.

        Raises
        ------
        OSError
            With ESTALE: the file is not what it was when it was planned.
        FileFormatError, FilterError, OSError
            As `PcapSource` does.
        """
        options = cast(PcapOptions, {"snaplen": self.snaplen, "filter": self.filter, **options})
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
        """Read all of it into memory.

        Parameters
        ----------
        **options
            As `open` takes them.

        Returns
        -------
        Batch
            In memory of its own; it can be pickled.

        Raises
        ------
        FileFormatError, FilterError, OSError
            As `open` does.
        """
        with self.open(**options) as source:
            return read_all(source)

    def batches(self, **options: Unpack[PcapOptions]) -> Iterator[Batch]:
        """Open it, and give its packets, a block at a time.

        Parameters
        ----------
        **options
            As `open` takes them.

        Yields
        ------
        Batch
            A view that is taken from it keeps its block's memory.

        Raises
        ------
        FileFormatError, FilterError, OSError
            As `open` does, when the first is asked for.
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
    exact: bool = False,
) -> list[ReadTask]:
    """Cut capture files into parts that can be read by themselves, by threads, processes or other machines.

    The tasks of a file, one after the other, give the packets that `PcapSource` gives of it. To cut a classic
    pcap file takes hardly any reading, to cut a pcapng file about as much as to read it.

    Parameters
    ----------
    paths : path or sequence of paths
        Regular files of any format that `PcapSource` reads.
    chunk_bytes : int
        Bytes of a file for each task, about. A compressed file is one task.
    snaplen, filter : optional
        As `PcapSource` takes them; the filter is an expression or a program.
    exact : bool
        Cut a classic pcap file by a walk through all of its records. Without, a cut is proven from the bytes
        behind it, if the records there have headers as the format has them: caplen <= len, less than a second
        of microseconds, no packet of 16 MiB. If they have not, and the proof goes wrong by that, the task
        before the cut does not end where it should, and raises TruncatedFileError there.

    Returns
    -------
    list of ReadTask
        At least one for each file, in order.

    Raises
    ------
    ValueError
        `chunk_bytes` is less than 1, or a path is no regular file.
    TypeError
        The filter is a Machine, which cannot be pickled.
    FileFormatError, FilterError, OSError, ImportError
        As `PcapSource` does when it opens one of the files. A file that is damaged further on has tasks all
        the same: the one with the damage gives all good packets of its part before it, then raises. What the
        tasks behind it give may be packets or none: stop at the first that raises.
    """
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes is a number of bytes from 1 on, not {chunk_bytes}")
    if isinstance(filter, Machine):
        raise TypeError("a Machine cannot be pickled: give the expression or the program")
    if isinstance(paths, (str, bytes, os.PathLike)):
        paths = [paths]
    if filter is not None and not isinstance(filter, str):
        filter = tuple(filter)
    return [
        task for path in paths for task in _plan_file(os.fsdecode(path), chunk_bytes, snaplen, filter, exact)
    ]


def _plan_file(
    path: str, chunk_bytes: int, snaplen: int | None, filter: Filter | None, exact: bool
) -> Iterator[ReadTask]:
    status = os.stat(path)  # before it is opened: that of a FIFO waits for a writer
    if path == "-" or not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path!r} is no regular file: it cannot be read in parts")
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
        yield ReadTask(path, start, stop, preamble, snaplen, filter, compression, identity)


def _identity(status: os.stat_result) -> FileIdentity:
    return FileIdentity(status.st_size, status.st_mtime_ns, status.st_ino)


def _cut_pcap(fd: int, size: int, path: str, chunk_bytes: int, exact: bool) -> Iterator[tuple[int, bytes]]:
    """Where the parts of a classic pcap file start, but for the first; and their preambles, its header."""
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
    """Where the parts of a pcapng file start, but for the first; and the descriptions before each."""
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
    """Whether a decoder reads on behind a section header or an interface description."""
    decoder.decode(block, _NO_ROWS)
    return decoder.fault is None and decoder.position == len(block)
