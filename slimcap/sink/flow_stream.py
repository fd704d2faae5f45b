"""`flows`: the flow records of a whole source; `flows_by_file`: those of each of several files."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, cast, final

import numpy as np

from slimcap.errors import in_range, wrong_type
from slimcap.flow.flow_batch import ADDRESSES, OPTIONAL, FlowBatch
from slimcap.flow.flow_columns import with_times
from slimcap.flow.flow_options import FlowOptions
from slimcap.flow.flow_table import FlowTable
from slimcap.option_set import accepts, parse
from slimcap.packet.batch import Batch
from slimcap.sink.arrow import array_stream_capsule, schema_capsule
from slimcap.sink.arrow_columns import Layout
from slimcap.sink.waiting import batches_and_pauses
from slimcap.source.base import Source
from slimcap.source.file.file_errors import FileErrors
from slimcap.source.file.file_list import is_one_file, is_path, list_some_files
from slimcap.source.file.file_options import FilesOptions
from slimcap.source.file.open_files import open_file, open_files
from slimcap.source.file.pcap_source import PcapSource

FLUSHED_SIZE: Final = 8 << 20
"""Bytes of records at a time: of those at the end, and of those that a part of a large batch may end."""

_STEP: Final = 1_000_000_000  # nanoseconds without records, after which `updates` returns an empty batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slimcap.filter import Filter
    from slimcap.source.file.open_files import File, Files

_MAX_WORKERS: Final = 1024


@accepts(FlowOptions)
def flows(
    packets: Source | Batch | Iterable[Batch] | File | Files, **options: Unpack[FlowOptions]
) -> FlowStream:
    """Return the flow records of a source, of files or of batches.

    Parameters
    ----------
    packets : Source, Batch, iterable of Batch, or files
        A source is read to its end, and stays open. A file or several are given as for `open_file` and
        `open_files`; several are merged in order of time, and are closed at the end.
    **options
        Those of `FlowOptions`.

    Returns
    -------
    FlowStream
        An iterator of FlowBatch.

    Raises
    ------
    FileFormatError, OSError
        A file cannot be opened.
    TypeError, ValueError
        An argument is not valid.

    Examples
    --------
    >>> for flows in slimcap.flows("trace.pcap", window=300):
    ...     print(len(flows), flows["src_bytes"].sum())
    >>> table = slimcap.FlowBatch.concat(slimcap.flows("trace-*.pcap"))
    """
    table = FlowTable(**options)
    if isinstance(packets, Source):
        return FlowStream(table, packets, None)
    if isinstance(packets, Batch):
        return FlowStream(table, None, iter((packets,)))
    if _are_files(packets):
        source: Source = (
            open_file(cast("File", packets)) if is_one_file(packets) else open_files(cast("Files", packets))
        )
        return FlowStream(table, source, None, is_owner=True)
    if not isinstance(packets, Iterable):
        raise wrong_type("packets", "a Source, a Batch, an iterable of Batch, or files", packets)
    return FlowStream(table, None, iter(cast("Iterable[Batch]", packets)))


@accepts(FlowOptions)
def flows_by_file(
    files: Files,
    *,
    workers: int | None = None,
    filter: Filter | None = None,
    on_error: Literal["raise", "skip", "warn"] = "raise",
    **options: Unpack[FlowOptions],
) -> Iterator[tuple[str, FlowBatch]]:
    """Return the flow records of each file on its own, for several files at a time.

    Each file has its own table: no flow continues from one file to the next. That suits captures that
    have nothing to do with each other, such as those of a data set with a label for each file. For captures
    of one network use `flows`, which merges them in order of time.

    Parameters
    ----------
    files : str, os.PathLike or sequence of paths
        As for `open_files`.
    workers : int, optional
        Number of threads, each of which reads one file at a time, 1 to 1024. Up to `workers` + 1 files are
        open, or have their records in memory. Default: the number of CPUs that the process may use.
    filter : str or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program. Default: all packets.
    on_error : {"raise", "skip", "warn"}, default "raise"
        What to do about a file that is damaged or cannot be opened, after the records of the packets before
        the damage were returned: "raise" the error; "skip" the rest of the file; or skip it and "warn" with a
        RuntimeWarning.
    **options
        Those of `FlowOptions`.

    Returns
    -------
    iterator of (str, FlowBatch)
        Path and all records of each file, in order of `files`. It closes all files if it is closed.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileFormatError, OSError
        From the iterator: a file cannot be opened, or is damaged. Its records come first.
    TypeError, ValueError
        An argument is not valid.

    Examples
    --------
    >>> for path, flows in slimcap.flows_by_file("captures/", features=["lengths", "iat"]):
    ...     print(path, len(flows))
    """
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    in_range("workers", workers, 1, _MAX_WORKERS)
    given = cast(FlowOptions, parse(FlowOptions, options))
    errors = FileErrors(parse(FilesOptions, {"on_error": on_error})["on_error"])
    paths = []
    for path in list_some_files(files):
        if not is_path(path):
            raise wrong_type("each of files", "a path", path)
        paths.append(os.fsdecode(path))
    return _in_threads(_FileFlows(filter, given), paths, workers, errors)


def _in_threads(
    files: _FileFlows, paths: list[str], workers: int, errors: FileErrors
) -> Iterator[tuple[str, FlowBatch]]:
    from concurrent.futures import ThreadPoolExecutor  # not for each import of slimcap: it takes long

    waiting = iter(paths)
    pool = ThreadPoolExecutor(workers, "slimcap-flows")
    try:
        started = deque((path, pool.submit(files.read, path)) for path in islice(waiting, workers))
        while started:
            path, reading = started.popleft()
            flows, error = reading.result()
            started.extend((path, pool.submit(files.read, path)) for path in islice(waiting, 1))
            if flows is not None:
                yield path, flows
            if error is not None and not errors.skip(error):
                raise error
    finally:
        files.stop()
        pool.shutdown(cancel_futures=True)


class _FileFlows:
    """Reads the flow records of files, in several threads."""

    def __init__(self, filter: Filter | None, options: FlowOptions) -> None:
        self._filter = filter
        self._options = options
        self._open: set[PcapSource] = set()
        self._stopped = False

    def read(self, path: str) -> tuple[FlowBatch | None, Exception | None]:
        """Return the records of a file and the error that ended it; None if it cannot be opened."""
        table = FlowTable(**self._options)
        ended = [FlowBatch(np.empty(0, table.dtype))]
        failure = None
        source = PcapSource.__new__(PcapSource)  # known before it is opened, which may wait for a FIFO
        self._open.add(source)
        if self._stopped:
            source.close()
        try:
            source.__init__(path, filter=self._filter)
        except Exception as error:
            self._open.discard(source)
            return None, error
        try:
            ended.extend(FlowStream(table, source, None, is_owner=True))
        except Exception as error:
            failure = error
        self._open.discard(source)
        return FlowBatch.concat(ended), failure

    def stop(self) -> None:
        """Close all files, so that the threads end."""
        self._stopped = True
        for source in list(self._open):
            source.close()


def _are_files(packets: object) -> bool:
    """Return True for a path, a file object, or a list that has no batch."""
    if is_path(packets) or hasattr(packets, "read") or hasattr(packets, "readinto"):
        return True
    return isinstance(packets, Sequence) and not any(isinstance(one, Batch) for one in packets)


@final
class FlowStream:
    """Iterator over the flow records of a source: FlowBatches of at least one record. `flows` makes it.

    At the end, and when the source is closed or stopped, all flows end. If reading raises, as for a damaged
    file, a timeout or Ctrl-C, all flows end as well: their records come first, and the exception is raised
    then. While a source has no packets, the clock of the table advances with time, every second.

    It is an Arrow stream (PyCapsule protocol): `polars.DataFrame(slimcap.flows("trace.pcap"))`. As a context
    manager it calls `close` on exit.

    Parameters
    ----------
    table : FlowTable
        The table, whose `stats` count all packets.
    source : Source or None
        An open source.
    batches : iterator of Batch or None
        The packets, if there is no source. An item may be None: the clock advances then.
    is_owner : bool, default False
        Close the source at the end.

    Attributes
    ----------
    table
        The parameter.
    """

    def __init__(
        self,
        table: FlowTable,
        source: Source | None,
        batches: Iterator[Batch | None] | None,
        *,
        is_owner: bool = False,
    ) -> None:
        self.table = table
        self._source = source
        self._is_owner = is_owner
        self._at_once = max(1, FLUSHED_SIZE // table.dtype.itemsize)  # records
        self._updates = self._run(batches_and_pauses(source) if source is not None else batches or iter(()))
        self._records = filter(len, self._updates)

    def _run(self, batches: Iterator[Batch | None]) -> Iterator[FlowBatch]:
        ended: list[FlowBatch] = []
        failure: BaseException | None = None
        last = shown = time.monotonic_ns()
        while True:
            try:
                # Ctrl-C may interrupt after each call, but a list that is extended has the records then.
                ended.clear()
                batch = next(batches)
                now = time.monotonic_ns()
                if batch is not None:
                    ended.extend(map(self.table.update, _parts_of(batch, self._at_once)))
                elif self.table.clock is not None:
                    ended.extend(map(self.table.expire, (self.table.clock + now - last,)))
                last = now
                del batch  # return a ring's block before waiting for the next one
                if now - shown < _STEP:
                    ended[:] = filter(len, ended)
                if ended:
                    shown = now
            except StopIteration:
                break
            except BaseException as error:
                failure = error
                break
            yield from ended
        if self._is_owner:
            self.close()
        yield from ended
        yield from self.flush()
        if failure is not None:
            raise failure

    def __iter__(self) -> Iterator[FlowBatch]:
        return self

    def __next__(self) -> FlowBatch:
        return next(self._records)

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The dtype of the records, that of the table."""
        return self.table.dtype

    @property
    def window(self) -> float | None:
        """Length of the windows in seconds, that of the table; None without windows."""
        return self.table.window

    def updates(self) -> Iterator[FlowBatch]:
        """Return an iterator over the records, and an empty FlowBatch after each second without records.

        When it returns one, it has returned all records that ended by `table.clock`: so it is known when a
        window is over. What it returns, the stream does not return again.

        Returns
        -------
        iterator of FlowBatch
            The same in each call.
        """
        return self._updates

    def flush(self) -> Iterator[FlowBatch]:
        """End all flows, some at a time, so that their records need little memory.

        Returns
        -------
        iterator of FlowBatch
            The records of the flows that are in the table, at least one batch: it may be empty.
        """
        # Once in any case: an interrupted call left its records in the table, though it has no more flows.
        is_empty = False
        while not is_empty:
            yield from map(self.table.flush, (self._at_once,))
            is_empty = len(self.table) == 0

    def close(self) -> None:
        """Close the files that `flows` opened; a source that it was given stays open.

        May be called from any thread. A waiting read ends, and the remaining records can be read.
        """
        if self._is_owner and self._source is not None:
            self._source.close()

    def unblock(self) -> None:
        """Make the waiting read, or else the next one, raise CaptureUnblocked, which ends all flows."""
        if self._source is not None:
            self._source.unblock()

    def __enter__(self) -> FlowStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __arrow_c_schema__(self) -> object:
        return schema_capsule(self._layout())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return array_stream_capsule(self._layout(), _Rows(self))

    def _layout(self) -> Layout:
        dtype = with_times(self.table.dtype)
        return Layout((dtype,), text=(*ADDRESSES, "community_id"), optional=OPTIONAL)

    def __repr__(self) -> str:
        return f"<FlowStream: {self.table!r}>"


def _parts_of(batch: Batch, max_packets: int) -> Iterator[Batch]:
    """Yield a batch in parts: a table reserves memory for a record of each packet."""
    if not isinstance(batch, Batch) or len(batch) <= max_packets:
        yield batch  # of another type: `update` raises
        return
    for start in range(0, len(batch), max_packets):
        yield batch[start : start + max_packets]


class _Rows:
    """The records of a stream as arrays, which an Arrow consumer reads; `unblock` ends a wait at exit."""

    def __init__(self, stream: FlowStream) -> None:
        self._stream = stream
        self._dtype = with_times(stream.table.dtype)
        self.unblock = stream.unblock

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> NDArray[Any]:
        return np.asarray(next(self._stream).records).view(self._dtype)
