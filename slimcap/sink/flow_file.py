"""`FlowFile`: flow records as a Parquet, Arrow or CSV file. `FlowFiles`: one for each window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from slimcap.flow.flow_batch import FlowBatch
from slimcap.io.atomic_file import Finished
from slimcap.sink.table_file import (
    PART_ROWS,
    ArrowFile,
    Compression,
    TableFormat,
    check_addresses,
    format_of,
    pyarrow_for,
)

if TYPE_CHECKING:
    from slimcap.packet.batch import _Addresses
    from slimcap.sink.file_series import FileSeries

_SECOND: Final = 1_000_000_000
_EARLIEST: Final = -(1 << 63)
_DISTINCT: Final = ("flow_id", "community_id")


class FlowFile(ArrowFile):
    """A Parquet, Arrow or CSV file to write flow records to.

    Writes are atomic: the file is written to a temporary file in the same folder and renamed by `close()`. As
    a context manager it is closed on success, and discarded after an exception. Requires `slimcap[parquet]`
    or `slimcap[arrow]`.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the file. An existing file is replaced. Anything but a regular file, such as a FIFO, is
        written to directly.
    model : FlowBatch
        A batch with the columns of all batches; its records are not written.
    columns : iterable of str, optional
        Names of the columns, in order. Default: all of `model`.
    format : {"parquet", "arrow", "csv"}, optional
        Default: from the suffix of the path.
    compression : {"zstd", "snappy", "gzip", "lz4", "none"}, default "zstd"
        Compression of a Parquet file; ignored for the other formats.
    addresses : {"text", "binary"}, default "text"
        Type of the addresses, as for `FlowBatch.to_arrow`. "binary" is not for CSV.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    ValueError
        No format is given and `path` does not end in one of them, or a column does not exist.
    OSError
        The file cannot be created.

    Examples
    --------
    >>> from slimcap.sink.flow_file import FlowFile
    >>> flows = slimcap.FlowBatch.concat(slimcap.flows("trace.pcap"))
    >>> with FlowFile("dns.parquet", flows) as file:
    ...     file.add(flows[flows["dst_port"] == 53])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: FlowBatch,
        columns: Iterable[str] | None = None,
        *,
        format: TableFormat | None = None,
        compression: Compression = "zstd",
        addresses: _Addresses = "text",
    ) -> None:
        kind = format_of(path) if format is None else format
        pa = pyarrow_for(kind)
        check_addresses(kind, addresses)
        self._dtype = model.records.dtype
        self._addresses = addresses
        schema = model[:0].to_arrow(columns, addresses=addresses).schema
        self._columns = schema.names
        if kind == "csv":
            others = [field.name for field in schema if not _is_text_or_number(pa, field.type)]
            if others:
                raise ValueError(
                    f"CSV has no type for {', '.join(others)}: choose columns without, or Parquet"
                )
        super().__init__(path, schema, format=kind, compression=compression, distinct=_DISTINCT)

    def add(self, batch: FlowBatch) -> None:
        """Write flow records.

        Parameters
        ----------
        batch : FlowBatch
            Needed only during the call.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        ValueError
            The batch has other columns than `model`, or the file is closed.
        RuntimeError
            Another process opened the file.
        """
        self._check_open()
        if batch.records.dtype != self._dtype:
            raise ValueError(
                f"a batch has the columns {batch.records.dtype.names}, others have {self._dtype.names}: "
                "write them to different files"
            )
        for start in range(0, len(batch), PART_ROWS):
            part = batch[start : start + PART_ROWS]
            self.add_table(part.to_arrow(self._columns, addresses=self._addresses))

    def end_window(self, now: int) -> None:
        """Do nothing: the file has the records of all windows.

        Parameters
        ----------
        now : int
            As for `FlowFiles.end_window`.
        """


class FlowFiles(Finished):
    """Files of flow records, one for each window that has records.

    A record belongs to the window that its `last` is in. If a later window has begun, it belongs to that: so
    does the record of packets that arrived after their window had ended. A file has the start of its window
    as {time}. It is complete when a record of a later window comes, or when `end_window` is called. After
    time was set back, records belong to the current file as long as the files of their windows exist, and
    then to these windows. As a context manager the files are closed on success; after an exception the last
    one is discarded.

    Parameters
    ----------
    series : FileSeries
        The names of the files.
    window : float
        Length of a window in seconds. Windows start at multiples of it since the Unix epoch.
    open_file : callable
        Function of a path that returns a FlowFile.

    Examples
    --------
    >>> from slimcap.sink.file_series import FileSeries
    >>> from slimcap.sink.flow_file import FlowFile, FlowFiles
    >>> flows = slimcap.FlowBatch.concat(slimcap.flows("trace.pcap", window=300))
    >>> series = FileSeries("flows-{time:%H%M}.parquet")
    >>> with FlowFiles(series, 300, lambda path: FlowFile(path, flows)) as files:
    ...     files.add(flows)
    """

    def __init__(self, series: FileSeries, window: float, open_file: Callable[[str], FlowFile]) -> None:
        self._series = series
        self._window = round(window * _SECOND)
        self._open_file = open_file
        self._number = _EARLIEST // self._window  # of the current window, counted from 1970
        self._file: FlowFile | None = None
        self._path = ""

    def add(self, batch: FlowBatch) -> None:
        """Write flow records to the files of their windows.

        Parameters
        ----------
        batch : FlowBatch
            Needed only during the call.

        Raises
        ------
        FileExistsError
            The file of a window exists already.
        OSError, ValueError, RuntimeError
            As for `FlowFile.add`. The current file is discarded.
        """
        if not len(batch):
            return
        last = np.asarray(batch.records["last"])
        numbers = np.maximum.accumulate(np.maximum(last // self._window, self._number))
        ends = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        for start, stop in pairwise([0, *ends.tolist(), len(batch)]):
            self._begin_window(int(numbers[start]))
            self._file = self._file or self._begin_file()
            self._file.add(batch[start:stop])

    def end_window(self, now: int) -> None:
        """Complete the current file if its window is over, or time was set back to one without a file.

        Parameters
        ----------
        now : int
            Clock of the flow table, in nanoseconds since the Unix epoch. All records that ended by then
            were added.

        Raises
        ------
        OSError
            The file cannot be completed; it is discarded.
        """
        number = now // self._window
        if number < self._number and not self._is_free(number):
            return
        self._begin_window(number)

    def _is_free(self, number: int) -> bool:
        try:
            self._series.next_path(number * self._window)
        except FileExistsError:
            return False
        return True

    def _begin_window(self, number: int) -> None:
        if number != self._number:
            self.close()
            self._number = number

    def _begin_file(self) -> FlowFile:
        self._path = self._series.next_path(self._number * self._window)
        return self._open_file(self._path)

    def close(self) -> None:
        """Complete the current file. Records of the same window may follow: they are written to another file.

        Raises
        ------
        OSError
            The file cannot be completed; it is discarded.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()
            self._series.complete(self._path)

    def discard(self) -> None:
        """Discard the current file. Complete files stay."""
        file, self._file = self._file, None
        if file is not None:
            file.discard()


def _is_text_or_number(pa: Any, kind: Any) -> bool:
    """Return False for types of lists and bytes."""
    return not (pa.types.is_nested(kind) or "binary" in str(kind))
