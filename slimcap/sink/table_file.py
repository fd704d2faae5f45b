"""Files of tables: batches in, Parquet, Arrow or CSV out, in memory that stays the same however many come."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from slimcap.io.atomic_file import Finished, PartialFile
from slimcap.sink.arrow import ArrowStream, batch_layout
from slimcap.sink.dataframes import library

if TYPE_CHECKING:
    from slimcap.packet.batch import Batch, _Payload

GROUP_SIZE: Final = 64 << 20
"""Bytes of columns that are written at a time: a row group of Parquet, a record batch of Arrow."""

GROUP_ROWS: Final = 1 << 20
"""Most rows of that: readers hold whole groups, too."""

PART_ROWS: Final = 1 << 16
"""Rows of a larger batch that are copied at a time."""

FORMATS: Final = ("parquet", "arrow", "csv")

Compression = Literal["zstd", "snappy", "gzip", "lz4", "none"]
"""What a Parquet file is compressed with."""


class TableFile(Finished):
    """A table to write batches to. The file has another name until `close()`: it is whole, or not there.

    Parameters
    ----------
    path : str or os.PathLike
        What the file is called in the end; an older one is replaced. It ends in .parquet, .arrow or .csv.
        What is no regular file, as a FIFO, is written to directly.
    columns : iterable of str, optional
        As `ArrowStream` takes them.
    payload : bool
        Whether the payload is among the default columns; in CSV it is hexadecimal text.
    compression : {"zstd", "snappy", "gzip", "lz4", "none"}
        Of a Parquet file.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    ValueError
        The name says no format that can be written, or there is no such column.
    OSError
        The file cannot be made.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Iterable[str] | None = None,
        *,
        payload: bool = True,
        compression: Compression = "zstd",
    ) -> None:
        kind = format_of(path)
        self._pa = library("pyarrow", "arrow" if kind != "parquet" else "parquet")
        self._text = kind == "csv"
        self._payload: _Payload = "hex" if kind == "csv" else "large_binary"
        self._columns = [field.name for field in batch_layout(columns, payload).fields]
        self._tables: list[Any] = []  # what waits to be written, and
        self._size = self._rows = 0  # how much it is
        self._packets = 0
        self._file = PartialFile(path)
        self._path = self._file.path
        self._writer: Any = None
        schema = self._pa.schema(ArrowStream((), self._columns, payload=self._payload, text=self._text))
        with self._or_discard():
            self._writer = _WRITERS[kind](self._file.target, schema, compression)

    @property
    def packets_written(self) -> int:
        """Packets so far; some may still be in memory."""
        return self._packets

    def add(self, batch: Batch) -> None:
        """Write a batch's packets, which are needed only during the call.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        ValueError
            The batch was released, or the file is closed.
        """
        if self._writer is None:
            raise ValueError(f"{self._path} is closed")
        if len(batch) <= PART_ROWS:
            self._add(batch)
        else:
            for start in range(0, len(batch), PART_ROWS):
                self._add(batch[start : start + PART_ROWS])

    def _add(self, batch: Batch) -> None:
        table = self._pa.table(ArrowStream(batch, self._columns, payload=self._payload, text=self._text))
        self._tables.append(table)
        self._size += table.nbytes
        self._rows += len(batch)
        self._packets += len(batch)
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
        """Write what is left, and give the file its name. A second call does nothing.

        Raises
        ------
        OSError
            A write failed; the file is discarded.
        """
        if self._writer is None:
            return
        with self._or_discard():
            self._write_group()
            writer, self._writer = self._writer, None
            writer.close()
            self._file.finish()

    @contextlib.contextmanager
    def _or_discard(self) -> Iterator[None]:
        """Discard the file if something fails. An error names the file as the caller does."""
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
        """Leave no file, and an older one as it is. After `close()` this does nothing."""
        writer, self._writer = self._writer, None
        self._tables.clear()
        if writer is not None:
            with contextlib.suppress(Exception):  # it writes its last bytes, for which there may be no room
                writer.close()
        self._file.discard()


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's name says.

    Raises
    ------
    ValueError
        It says none of FORMATS.
    """
    suffix = Path(path).suffix[1:].lower()
    if suffix not in FORMATS:
        raise ValueError(f"{os.fspath(path)!r} ends in none of {', '.join(f'.{name}' for name in FORMATS)}")
    return suffix


def _parquet_writer(path: str, schema: Any, compression: Compression) -> Any:
    # A dictionary of payloads would only grow, and their minimum and maximum tell nothing.
    numbers = [name for name in schema.names if name not in {"payload", "timestamp"}]
    stamps = {"timestamp"} & set(schema.names)
    return library("pyarrow.parquet", "parquet").ParquetWriter(
        path,
        schema,
        compression=compression,
        use_dictionary=numbers or False,
        column_encoding=dict.fromkeys(stamps, "DELTA_BINARY_PACKED") or None,
        write_statistics=[*stamps, *numbers] or False,
    )


def _arrow_writer(path: str, schema: Any, compression: Compression) -> Any:
    return library("pyarrow.ipc", "arrow").new_file(path, schema)


def _csv_writer(path: str, schema: Any, compression: Compression) -> Any:
    return library("pyarrow.csv", "arrow").CSVWriter(path, schema)


_WRITERS: Final = {"parquet": _parquet_writer, "arrow": _arrow_writer, "csv": _csv_writer}
