"""Write captures of any size to Parquet files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from slimcap.errors import wrong_type
from slimcap.packet.batch import Batch
from slimcap.sink.table_file import Compression, TableFile, format_of

if TYPE_CHECKING:
    from slimcap.source.base import Source


def write(
    packets: Source | Batch | Iterable[Batch],
    path: str | os.PathLike[str],
    columns: Iterable[str] | None = None,
    *,
    payload: bool = True,
    compression: Compression = "zstd",
    progress: Callable[[int], object] | None = None,
) -> int:
    """Write packets to a Parquet file, in row groups of about 64 MiB and in constant memory.

    The file is written to a temporary file and renamed when it is complete. An exception of the source, such
    as for a damaged capture file or Ctrl-C, completes the file with all packets before it, and is then
    raised. If writing fails no file is left.

    Parameters
    ----------
    packets : Source, Batch or iterable of Batch
        A source is read to its end, and stays open.
    path : str or os.PathLike
        Path of the file; it ends in .parquet. An existing file is replaced.
    columns : iterable of str, optional
        Names of the columns, in order: those of RECORD_DTYPE, "payload", and those of `Batch.headers`.
        Default: those of RECORD_DTYPE except `offset`, and "payload".
    payload : bool, default True
        Include the payload in the default columns.
    compression : {"zstd", "snappy", "gzip", "lz4", "none"}, default "zstd"
        Compression of the file.
    progress : callable, optional
        Called after each batch with the number of packets so far. Default: no callback.

    Returns
    -------
    int
        Number of packets written.

    Raises
    ------
    ImportError
        pyarrow is not installed: `slimcap[parquet]`.
    ValueError
        A column does not exist, or `path` does not end in .parquet.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> with slimcap.open_file("trace.pcap") as source:
    ...     count = slimcap.sink.parquet.write(source, "trace.parquet", ["timestamp", "src", "dst"])
    """
    if format_of(path) != "parquet":
        raise ValueError(f"{os.fspath(path)!r} does not end in .parquet")
    batches = _batches_of(packets)
    failure: BaseException | None = None
    with TableFile(path, columns, payload=payload, compression=compression) as file:
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                break
            except BaseException as error:
                failure = error
                break
            file.add(batch)
            del batch  # return a ring's block before waiting for the next one
            if progress is not None:
                progress(file.packets_written)
    if failure is not None:
        raise failure
    return file.packets_written


def _batches_of(packets: Source | Batch | Iterable[Batch]) -> Iterator[Batch]:
    if isinstance(packets, Batch):
        return iter((packets,))
    if not isinstance(packets, Iterable):
        raise wrong_type("packets", "a Source, a Batch or an iterable of batches", packets)
    return packets.batches() if hasattr(packets, "batches") else iter(packets)
