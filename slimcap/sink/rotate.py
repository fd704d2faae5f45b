"""`RotatingWriter`: a capture in several files, each limited in size, time or number of packets."""

from __future__ import annotations

import contextlib
import os
import threading
import time as clock
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np

from slimcap.capfile.write_options import InterfaceOptions, StatisticsOptions
from slimcap.errors import integer, wrong_type
from slimcap.io.atomic_file import Finished
from slimcap.io.compression.encoders import encoder_for
from slimcap.io.owner import Owner
from slimcap.option_set import accepts, changed, parse
from slimcap.packet.batch import Batch
from slimcap.packet.interface import BlockType, InterfaceInfo, OtherBlock
from slimcap.packet.record import RECORD_DTYPE
from slimcap.sink.file_series import FileSeries
from slimcap.sink.open_writer import writer_class
from slimcap.sink.rotation_options import RotatingOptions

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from slimcap.capfile.pcap_writer import PcapWriter
    from slimcap.capfile.pcapng_writer import PcapNgWriter
    from slimcap.packet.link import Link
    from slimcap.packet.packet import Packet

_SECOND: Final = 1_000_000_000
_LATEST: Final = (1 << 63) - 1  # maximum of a time in ns, and of a number of bytes
_MAX_CLOSING: Final = 4  # maximum number of files that are completed at a time
_LEAST: Final = 16  # minimum bytes of a packet in any format
_FOR_LATER_FILES: Final = (BlockType.NAMES, BlockType.SECRETS)
_MAX_CONTEXT: Final = 64 << 20  # maximum bytes of such blocks to repeat in each file
_NAMING: Final = (
    *("overwrite", "skip_existing", "number_existing", "first_index", "reserved"),
    *("max_files", "on_file"),
)
_OF_A_PACKET: Final = ("timestamp", "total_len", "cap_len", "vlan_tci", "vlan_tpid", "flags")


@accepts(RotatingOptions)
class RotatingWriter(Finished):
    """Write packets to a series of capture files.

    A file is opened for its first packet, so a writer without packets leaves no file. Writes are atomic: each
    file is written to a temporary file in the same folder and renamed when it is complete. If there are
    several limits, the first one that is reached ends a file. With `max_seconds` a file is complete when the
    first packet of a later interval comes; in a live capture call `end_interval` from time to time, so that
    it is complete in time without one. Only one thread may write at a time. As a context manager the writer
    is closed on success, and after an exception the last file is discarded.

    Parameters
    ----------
    template : str or os.PathLike
        Template of the paths, as for `str.format`. ``{index}`` is the number of the file, from 0; ``{time}``
        is the UTC time of its first packet, a `datetime`. Examples: ``"cap-{index:05}.pcap"``,
        ``"{time:%Y%m%d-%H%M%S}.pcapng.zst"``. A template without fields gets ``-{index:05}`` before its
        suffixes.
    **options
        Those of `RotatingOptions`.

    Raises
    ------
    ValueError
        The template or an option is not valid.
    ImportError
        The compression requires a package that is not installed.

    Examples
    --------
    >>> from slimcap.sink.rotate import RotatingWriter
    >>> with RotatingWriter("eth0-{index}.pcap", max_bytes=10**9, max_files=10) as writer:
    ...     for batch in slimcap.open_live("eth0").batches():
    ...         writer.write_batch(batch)
    """

    def __init__(self, template: str | os.PathLike[str], **options: Unpack[RotatingOptions]) -> None:
        if not isinstance(template, (str, os.PathLike)):
            raise wrong_type("template", "a str or os.PathLike", template)
        found = parse(RotatingOptions, options)
        self._max_bytes, self._max_packets = found.pop("max_bytes"), found.pop("max_packets")
        seconds = found.pop("max_seconds")
        self._interval = None if seconds is None else seconds * _SECOND
        naming = {name: found.pop(name) for name in _NAMING}
        self._on_begin, self._on_end = found.pop("on_begin"), found.pop("on_end")
        self._series = FileSeries(os.fspath(template), **naming)
        background = found.pop("background")
        self._thread = _new_thread() if background else None
        self._class = writer_class(self._series.example, found.pop("format"))
        # Check them before the first file is opened.
        encoder_for(self._series.example, found["compression"], found["level"])
        self._options = changed(RotatingOptions, found)  # of the writer
        # For every file: as given to add_interface, by link.
        self._interfaces: dict[Link, tuple[Link | InterfaceInfo, InterfaceOptions]] = {}
        self._writer: PcapWriter | PcapNgWriter | None = None
        self._path = ""
        self._until = 0  # end of the current file's interval in ns
        self._ended = 0  # end of the last interval that `end_interval` has ended
        self._packets = 0  # in all finished files
        self._closing: deque[tuple[str, Future[None]]] = deque()  # files that the thread completes
        self._context: list[OtherBlock] = []  # blocks that later files need, too
        self._context_size = 0
        self._closed = False
        self._owner = Owner()
        self._lock = threading.Lock()

    def protect(self, paths: Iterable[str]) -> None:
        """Do not replace files, since they are being read.

        Parameters
        ----------
        paths : iterable of str
            Paths, or "<stdin>"; those that do not exist are ignored. Opening one of these files raises
            ValueError.
        """
        self._series.protect(paths)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the complete files that were kept, the oldest first; a tuple of str."""
        return self._series.files

    @property
    def path(self) -> str | None:
        """Path that the current file will have once it is complete; None if there is none."""
        return self._path if self._writer is not None else None

    @property
    def closed(self) -> bool:
        """True after `close()` or `discard()`."""
        return self._closed

    @property
    def packets_written(self) -> int:
        """Number of packets so far in all files; some may still be in the buffer."""
        return self._packets + (self._writer.packets_written if self._writer is not None else 0)

    @accepts(InterfaceOptions)
    def add_interface(self, interface: Link | InterfaceInfo, **options: Unpack[InterfaceOptions]) -> None:
        """Describe an interface in the current file and all later ones; pcap files have no place for it.

        Parameters
        ----------
        interface : Link or InterfaceInfo
            The interface.
        **options
            Those of `InterfaceOptions`.

        Raises
        ------
        ValueError
            The writer is closed, or as for `PcapNgWriter.add_interface`.
        OSError, RuntimeError
            As for `write_batch`.
        """
        link = interface.link if isinstance(interface, InterfaceInfo) else interface
        with self._alone():
            if self._writer is not None:
                self._writer.add_interface(interface, **options)
            elif link in self._interfaces and options:
                raise ValueError(f"{link.name!r} is described already")
            self._interfaces.setdefault(link, (interface, options))

    @accepts(StatisticsOptions)
    def write_statistics(self, interface: int = 0, **options: Unpack[StatisticsOptions]) -> None:
        """Do nothing: counters are of the whole capture, and a file has only a part of it.

        Parameters
        ----------
        interface : int, default 0
            Ignored.
        **options
            Those of `StatisticsOptions`.
        """

    def write_batch(self, batch: Batch) -> None:
        """Write all packets of a batch, to as many files as necessary.

        Parameters
        ----------
        batch : Batch
            Needed only during the call. Its interfaces, options and blocks are written, too, but to pcap
            files; decryption secrets and names also to all later files.

        Raises
        ------
        FileExistsError
            The next file exists already, and is neither skipped nor replaced: see `RotatingOptions`.
        ValueError
            As for the format's writer, or the writer is closed.
        OSError
            A write failed. `packets_written` is the number of packets accepted before.
        RuntimeError
            Another thread is writing, or another process opened the writer.
        """
        with self._alone():
            self._note_complete()
            blocks = [(row, block) for row, block in batch.blocks if isinstance(block, OtherBlock)]
            if len(blocks) < len(batch.blocks):  # each file has its own section and interfaces
                batch = batch.with_blocks(blocks)
            if not len(batch) and self._writer is not None:
                self._writer.write_batch(batch)
                self._remember(batch)
            self._write(batch)

    def _write(self, batch: Batch) -> None:
        # A packet that is older than the one before must not end a file, so times never decrease.
        times = np.maximum.accumulate(batch["timestamp"]) if self._interval is not None else None
        start = 0
        while start < len(batch):
            if self._writer is not None:
                count = self._fitting(self._writer, batch, start, times)
                if count:
                    part = batch[start : start + count]
                    self._writer.write_batch(part)
                    self._remember(part)
                    start += count
                    continue
                self._end_file()
            self._begin_file(int(batch["timestamp"][start]))

    def _remember(self, batch: Batch) -> None:
        """Remember the blocks that later files need, too, up to a limit."""
        for _, block in batch.blocks:
            if isinstance(block, OtherBlock) and block.type in _FOR_LATER_FILES:
                self._context_size += len(block.body)
                if self._context_size <= _MAX_CONTEXT:
                    self._context.append(block)

    def write_packet(
        self, packet: Packet, *, interface: Link | None = None, comment: str | None = None
    ) -> None:
        """Write one packet, which is passed to its file at once. `write_batch` is much faster.

        Parameters
        ----------
        packet : Packet or PacketView
            Needed only during the call.
        interface : Link, optional
            Interface of the packet. Default: one without a name, of `link_type`.
        comment : str, optional
            Comment on the packet, for pcapng files. Default: the packet's own.

        Raises
        ------
        FileExistsError, ValueError, OSError, RuntimeError
            As for `write_batch`.
        """
        row = np.zeros(1, RECORD_DTYPE)
        for name in _OF_A_PACKET:
            row[name] = getattr(packet, name)
        row["pkt_type"], row["ip_offset"] = packet.type, packet.ip_layer_offset
        comment = packet.comment if comment is None else comment
        links = () if interface is None else (interface,)
        self.write_batch(
            Batch(row, packet.payload, links, comments=None if comment is None else {0: comment})
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the writer for this thread; raise if it is closed, or another thread or process has it."""
        if not self._closed:
            self._owner.check("this writer")
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("another thread is writing with this writer: one at a time")
        try:
            if self._closed:
                raise ValueError("the writer is closed")
            yield
        finally:
            self._lock.release()

    def _fitting(
        self,
        writer: PcapWriter | PcapNgWriter,
        batch: Batch,
        start: int,
        times: np.ndarray[Any, Any] | None,
    ) -> int:
        """Return how many packets from `start` on fit in the file; 0 if it must end before them."""
        stop = len(batch)
        if times is not None:
            stop = start + int(np.searchsorted(times[start:], self._until))
        if self._max_packets is not None:
            stop = min(stop, start + self._max_packets - writer.packets_written)
        if self._max_bytes is not None and stop > start:
            room = min(max(0, self._max_bytes - writer.bytes_written), _LATEST)
            stop = start + writer._fitting(batch[start : min(stop, start + room // _LEAST + 1)], room)
        return max(stop - start, int(writer.packets_written == 0))

    def _begin_file(self, time: int) -> None:
        """Open the next file, whose first packet has this time."""
        time = max(time, self._ended)  # a late packet of an interval that was ended
        path = self._series.next_path(time)
        writer = self._class(path, atomic=True, **self._options)
        try:
            for interface, options in self._interfaces.values():
                writer.add_interface(interface, **options)
            if self._context:
                nothing = Batch(np.zeros(0, RECORD_DTYPE), b"")
                writer.write_batch(nothing.with_blocks([(0, block) for block in self._context]))
            if self._on_begin is not None:
                self._on_begin(path, writer)
        except BaseException:
            writer.discard()
            raise
        self._writer = writer
        self._path = path
        if self._interval is not None:
            self._until = min((time // self._interval + 1) * self._interval, _LATEST)

    def _end_file(self) -> None:
        """Complete the current file, and remove the oldest one if there are too many."""
        writer = self._writer
        if writer is None:
            return
        if self._on_end is not None:
            self._on_end(writer)
        writer.flush()  # if this fails, the file stays the current one, and the next call continues it
        self._writer = None
        self._packets += writer.packets_written
        if self._thread is None:
            writer.close()
            self._series.complete(self._path)
        else:
            self._series.leave(self._path)
            self._closing.append((self._path, self._thread.submit(writer.close)))
            self._note_complete()

    def _note_complete(self, allowed: int = _MAX_CLOSING) -> None:
        """Note which files the thread has completed; wait until at most `allowed` are left."""
        while self._closing and (len(self._closing) > allowed or self._closing[0][1].done()):
            path, closed = self._closing.popleft()
            closed.result()
            self._series.complete(path)

    def end_file(self) -> bool:
        """Complete the current file. The next packet starts a new one.

        Returns
        -------
        bool
            False if there is no current file.

        Raises
        ------
        ValueError, OSError, RuntimeError
            As for `flush`.
        """
        with self._alone():
            is_open = self._writer is not None
            self._end_file()
            return is_open

    def end_interval(self, time: int | None = None) -> bool:
        """Complete the current file if its interval of `max_seconds` is over, although no packet came since.

        A packet of that interval that is written later goes into the next file.

        Parameters
        ----------
        time : int, optional
            The time in nanoseconds since 1970. Default: one second ago, because packets that arrived since
            then may be on their way.

        Returns
        -------
        bool
            True if a file was completed.

        Raises
        ------
        ValueError, OSError, RuntimeError
            As for `flush`.

        Examples
        --------
        >>> from slimcap.sink.rotate import RotatingWriter
        >>> source = slimcap.open_live("eth0", timeout=1)
        >>> with source, RotatingWriter("eth0.pcap", max_seconds=60) as writer:
        ...     while True:
        ...         with contextlib.suppress(TimeoutError):
        ...             writer.write_batch(source.next_batch())
        ...         writer.end_interval()
        """
        time = clock.time_ns() - _SECOND if time is None else integer("time", time)
        with self._alone():
            self._note_complete()
            if self._interval is None or self._writer is None or time < self._until:
                return False
            self._ended = self._until
            self._end_file()
            return True

    def flush(self) -> None:
        """Write out the buffer. The current file keeps its temporary name.

        Raises
        ------
        ValueError
            The writer is closed.
        OSError
            A write failed; the rest will be written by a later call.
        RuntimeError
            Another thread is writing.
        """
        with self._alone():
            self._note_complete()
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """Complete the last file, and close the writer. A second call does nothing.

        A forked process leaves the files to the one that opened the writer.

        Raises
        ------
        OSError
            A write failed; the last file is discarded.
        RuntimeError
            Another thread is writing.
        """
        if self._is_over():
            return
        with self._alone():
            try:
                self._end_file()
                self._note_complete(0)
            finally:
                self._discard()

    def discard(self) -> None:
        """Discard the current file, and close the writer. Complete files stay.

        After `close()` this does nothing.

        Raises
        ------
        RuntimeError
            Another thread is writing.
        """
        if self._is_over():
            return
        with self._alone():
            self._discard()

    def _is_over(self) -> bool:
        """Return True if there is nothing to end; a forked process drops its copy of the writer here."""
        if not self._closed and not self._owner.is_here():
            self._discard()
        return self._closed

    def _discard(self) -> None:
        self._closed = True
        if self._thread is not None and self._owner.is_here():
            self._thread.shutdown()
            while self._closing:
                with contextlib.suppress(OSError):
                    self._note_complete(0)
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.discard()


def _new_thread() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # not for each import of slimcap: it takes long

    return ThreadPoolExecutor(1, "slimcap rotation")
