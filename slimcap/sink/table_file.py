"""Write Arrow tables, and batches, to Parquet, Arrow or CSV files, in constant memory."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from slimcap.io.atomic_file import Finished, PartialFile
from slimcap.io.owner import Owner
from slimcap.packet.headers.tunnel_ports import fixed_ports
from slimcap.sink.arrow import ArrowStream, batch_layout
from slimcap.sink.dataframes import library, table_of

if TYPE_CHECKING:
    from slimcap.packet.batch import Batch, _Addresses

GROUP_SIZE: Final = 64 << 20
"""Bytes of columns to write at a time, as a Parquet row group or an Arrow record batch."""

GROUP_ROWS: Final = 1 << 20
"""Maximum number of rows to write at a time, since readers also hold whole groups in memory."""

PART_ROWS: Final = 1 << 16
"""Rows to copy at a time if a batch is larger."""

PART_SIZE: Final = 16 << 20
"""Bytes of payloads to copy at a time if a batch has more; a larger packet is alone."""

TableFormat = Literal["parquet", "arrow", "csv"]
"""Format of a table file."""

FORMATS: Final[tuple[TableFormat, ...]] = ("parquet", "arrow", "csv")

Compression = Literal["zstd", "snappy", "gzip", "lz4", "none"]
"""Compression of a Parquet file."""


class ArrowFile(Finished):
    """A Parquet, Arrow or CSV file to write Arrow tables to: the base class of `TableFile` and `FlowFile`.

    Writes are atomic: the file is written to a temporary file in the same folder and renamed by `close()`. As
    a context manager it is closed on success, and discarded after an exception.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the file. An existing file is replaced. Anything but a regular file, such as a FIFO, is
        written to directly.
    schema : pyarrow.Schema
        Schema of the tables.
    format : {"parquet", "arrow", "csv"}
        Format of the file.
    compression : {"zstd", "snappy", "gzip", "lz4", "none"}
        Compression of a Parquet file; ignored for the other formats.
    distinct : tuple of str
        Columns of which hardly two values are equal. Parquet gets no dictionary and no statistics of them.

    Raises
    ------
    OSError
        The file cannot be created.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: Any,
        *,
        format: TableFormat,
        compression: Compression,
        distinct: tuple[str, ...],
    ) -> None:
        self._pa = pyarrow_for(format)
        self._tables: list[Any] = []  # not written yet, and
        self._size = self._rows = 0  # their total bytes and rows
        self._rows_added = 0
        self._owner = Owner()
        self._file = PartialFile(path)
        self._path = self._file.path
        self._sink: _Sink | None = None
        self._writer: Any = None
        with self._or_discard():
            self._sink = _Sink(self._file.target, self._owner)
            self._writer = _WRITERS[format](self._sink, schema, compression, distinct)

    @property
    def rows_written(self) -> int:
        """Number of rows so far; some may still be in memory."""
        return self._rows_added

    def _check_open(self) -> None:
        """Raise if the file is closed, or another process opened it."""
        if self._writer is None:
            raise ValueError(f"{self._path} is closed")
        self._owner.check(self._path)

    def add_table(self, table: Any) -> None:
        """Write a table.

        Parameters
        ----------
        table : pyarrow.Table
            It has the file's schema. Small tables are collected and written as one row group.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        ValueError
            The file is closed.
        RuntimeError
            Another process opened the file.
        """
        self._check_open()
        self._tables.append(table)
        self._size += table.nbytes
        self._rows += table.num_rows
        self._rows_added += table.num_rows
        if self._size >= GROUP_SIZE or self._rows >= GROUP_ROWS:
            with self._or_discard():
                self._write_group()

    def _write_group(self) -> None:
        if self._tables:
            table = self._pa.concat_tables(self._tables)
            self._tables.clear()
            self._size = self._rows = 0
            self._writer.write_table(table)

    def close(self) -> None:
        """Write the remaining rows, and rename the file to its path. A second call does nothing.

        A forked process leaves the file to the one that opened it.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        """
        if self._writer is None:
            return
        if not self._owner.is_here():
            self.discard()
            return
        with self._or_discard():
            self._write_group()
            writer, self._writer = self._writer, None
            writer.close()
            self._close_sink()
            self._file.finish()

    def _close_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    @contextlib.contextmanager
    def _or_discard(self) -> Iterator[None]:
        """Discard the file if the block raises.

        An OSError then names the file by its final path, not by the temporary one.
        """
        try:
            yield
        except OSError as error:
            self.discard()
            if error.errno is None:
                raise
            raise OSError(error.errno, os.strerror(error.errno), self._path) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the temporary file; an existing file stays as it is. After `close()` this does nothing."""
        writer, self._writer = self._writer, None
        self._tables.clear()
        if writer is not None:
            with contextlib.suppress(Exception):  # closing writes its last bytes: the disk may be full
                writer.close()
        with contextlib.suppress(OSError):
            self._close_sink()
        self._file.discard()


class TableFile(ArrowFile):
    """A Parquet, Arrow or CSV file to write batches to.

    Writes are atomic: the file is written to a temporary file in the same folder and renamed by `close()`. As
    a context manager it is closed on success, and discarded after an exception. Requires `slimcap[parquet]`
    or `slimcap[arrow]`.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the file. An existing file is replaced. Anything but a regular file, such as a FIFO, is
        written to directly.
    columns : iterable of str, optional
        As for `ArrowStream`.
    format : {"parquet", "arrow", "csv"}, optional
        Default: from the suffix of the path.
    payload : bool, default True
        Include the payload in the default columns. In CSV it is hexadecimal text.
    compression : {"zstd", "snappy", "gzip", "lz4", "none"}, default "zstd"
        Compression of a Parquet file; ignored for the other formats.
    addresses : {"text", "binary"}, default "text"
        Type of IP and MAC addresses, as for `ArrowStream`. "binary" is smaller, and not for CSV.
    inner : bool, default False
        As for `Batch.headers`.
    tunnel_ports : mapping of str to iterable of int, optional
        As for `Batch.headers`.

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
    >>> with slimcap.open_file("trace.pcap") as source, TableFile("trace.arrow", ["src", "dst"]) as file:
    ...     for batch in source.batches():
    ...         file.add(batch)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Iterable[str] | None = None,
        *,
        format: TableFormat | None = None,
        payload: bool = True,
        compression: Compression = "zstd",
        addresses: _Addresses = "text",
        inner: bool = False,
        tunnel_ports: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        kind = format_of(path) if format is None else format
        pa = pyarrow_for(kind)
        check_addresses(kind, addresses)
        self._columns = [field.name for field in batch_layout(columns, payload).fields]
        payload_type = "hex" if kind == "csv" else "large_binary"
        self._options: dict[str, Any] = {
            "payload": payload_type,
            "addresses": addresses,
            "inner": inner,
            "tunnel_ports": fixed_ports(tunnel_ports),
        }
        schema = pa.schema(ArrowStream((), self._columns, **self._options))
        super().__init__(path, schema, format=kind, compression=compression, distinct=("payload",))

    @property
    def packets_written(self) -> int:
        """Number of packets so far; some may still be in memory."""
        return self.rows_written

    def add(self, batch: Batch) -> None:
        """Write a batch's packets.

        Parameters
        ----------
        batch : Batch
            Needed only during the call.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        ValueError
            The batch was released, or the file is closed.
        RuntimeError
            Another process opened the file.
        """
        self._check_open()
        sizes = np.cumsum(batch["cap_len"], dtype=np.int64)
        start = 0
        while start < len(batch):
            before = int(sizes[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(sizes, before + PART_SIZE, "right")))
            stop = min(stop, start + PART_ROWS)
            part = batch if stop - start == len(batch) else batch[start:stop]
            self.add_table(table_of(ArrowStream(part, self._columns, **self._options)))
            start = stop


class _Sink(io.FileIO):
    """The file that pyarrow writes to.

    pyarrow ends a Parquet file when its writer is collected, in a forked process, too: what is written there
    is dropped, since the process that opened the file continues it.
    """

    def __init__(self, path: str, owner: Owner) -> None:
        super().__init__(path, "w")
        self._owner = owner

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        while view and self._owner.is_here():
            view = view[super().write(view) or 0 :]
        return size

    def __del__(self) -> None:
        self.close()  # without the ResourceWarning of the base class: the process may be a forked one


def format_of(path: str | os.PathLike[str]) -> TableFormat:
    """Return the format for the suffix of a path.

    Raises
    ------
    ValueError
        The suffix is not one of FORMATS.
    """
    suffix = Path(path).suffix[1:].lower()
    for format in FORMATS:
        if suffix == format:
            return format
    accepted = ", ".join(f".{name}" for name in FORMATS)
    raise ValueError(f"path must end in one of {accepted}, not {os.fspath(path)!r}")


def pyarrow_for(format: TableFormat) -> Any:
    """Import pyarrow, and the part of it that writes a format.

    Raises
    ------
    ImportError
        It is not installed; the message names the extra to install.
    """
    extra = "parquet" if format == "parquet" else "arrow"
    pa = library("pyarrow", extra)
    library(_MODULES[format], extra)
    return pa


def check_addresses(format: TableFormat, addresses: str) -> None:
    """Raise ValueError if addresses of this type cannot be written to a format."""
    if format == "csv" and addresses == "binary":
        raise ValueError("addresses='binary' is not for CSV, which is text: leave it out")


def _parquet_writer(sink: _Sink, schema: Any, compression: Compression, distinct: tuple[str, ...]) -> Any:
    # Distinct values only make a dictionary grow, and their minimum and maximum are useless.
    stamps = [field.name for field in schema if str(field.type).startswith("timestamp")]
    others = [name for name in schema.names if name not in {*distinct, *stamps}]
    return library("pyarrow.parquet", "parquet").ParquetWriter(
        sink,
        schema,
        compression=compression,
        use_dictionary=others or False,
        column_encoding=dict.fromkeys(stamps, "DELTA_BINARY_PACKED") or None,
        write_statistics=[*stamps, *others] or False,
    )


def _arrow_writer(sink: _Sink, schema: Any, compression: Compression, distinct: tuple[str, ...]) -> Any:
    return library("pyarrow.ipc", "arrow").new_file(sink, schema)


def _csv_writer(sink: _Sink, schema: Any, compression: Compression, distinct: tuple[str, ...]) -> Any:
    return library("pyarrow.csv", "arrow").CSVWriter(sink, schema)


_MODULES: Final = {"parquet": "pyarrow.parquet", "arrow": "pyarrow.ipc", "csv": "pyarrow.csv"}
_WRITERS: Final = {"parquet": _parquet_writer, "arrow": _arrow_writer, "csv": _csv_writer}
