"""Captures as Parquet files, of any size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

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
    """Write packets to a Parquet file, in row groups of some 64 MiB: more memory it does not take.

    The file gets its name when it is whole. What the source raises on the way, damage in a capture file or
    Ctrl-C, ends the file well, with every packet before, and then goes through. If writing fails there is no
    file.

    Parameters
    ----------
    packets : Source, Batch or iterable of Batch
        A source is read to its end, and stays open.
    path : str or os.PathLike
        Ends in .parquet. An older file is replaced.
    columns : iterable of str, optional
        Names of columns, in this order: those of RECORD_DTYPE, "payload", and those of `Batch.headers`.
        By default those of RECORD_DTYPE but `offset`, and "payload".
    payload : bool
        Whether the payload is among the default columns.
    compression : {"zstd", "snappy", "gzip", "lz4", "none"}
        What the file is compressed with.
    progress : callable, optional
        Called after each batch with the number of packets so far.

    Returns
    -------
    int
        Number of packets.

    Raises
    ------
    ImportError
        pyarrow is not installed: `slimcap[parquet]`.
    ValueError
        There is no such column; the name does not end in .parquet.
    OSError
        The file cannot be written.
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
            del batch  # a ring's block would stay with us while we wait for the next
            if progress is not None:
                progress(file.packets_written)
    if failure is not None:
        raise failure
    return file.packets_written


def _batches_of(packets: Source | Batch | Iterable[Batch]) -> Iterator[Batch]:
    if isinstance(packets, Batch):
        return iter((packets,))
    return packets.batches() if hasattr(packets, "batches") else iter(packets)
