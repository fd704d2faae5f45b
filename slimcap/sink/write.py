"""Write packets to a file of any format, and flow records to tables."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack, cast, get_args

import numpy as np

from slimcap.errors import wrong_type
from slimcap.flow.flow_batch import FlowBatch
from slimcap.io.compression.encoders import compression_of
from slimcap.option_set import accepts, changed, parse
from slimcap.packet.batch import Batch
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.file_series import FileSeries
from slimcap.sink.flow_file import FlowFile, FlowFiles
from slimcap.sink.flow_stream import FlowStream
from slimcap.sink.open_writer import Format, stem_and_endings
from slimcap.sink.rotation_options import RotationOptions
from slimcap.sink.table_file import FORMATS, Compression, TableFile, TableFormat
from slimcap.sink.waiting import batches_and_pauses
from slimcap.sink.writer_thread import write_by_thread
from slimcap.source.live.live_source import LiveSource

if TYPE_CHECKING:
    from slimcap.io.target import Target
    from slimcap.packet.batch import _Addresses
    from slimcap.source.base import Source

_LIMITS: Final = ("max_bytes", "max_seconds", "max_packets")
_NAMING: Final = ("max_files", "overwrite", "on_file")
_CAPTURE_ENDINGS: Final = (".pcap", ".cap", ".dmp", ".pcapng", ".ntar")

_Item = TypeVar("_Item")

FileFormat = Format | TableFormat
"""Format of a file that `write` writes."""


@accepts(RotationOptions)
def write(
    packets: Source | Batch | Iterable[Batch] | FlowBatch | Iterable[FlowBatch],
    file: Target,
    *,
    format: FileFormat | None = None,
    compression: str | None = "infer",
    level: int | None = None,
    snaplen: int | None = None,
    columns: Iterable[str] | None = None,
    payload: bool | None = None,
    addresses: _Addresses | None = None,
    inner: bool | None = None,
    tunnel_ports: Mapping[str, Iterable[int]] | None = None,
    progress: Callable[[int], object] | None = None,
    **options: Unpack[RotationOptions],
) -> int:
    """Write packets to a file: pcap, pcapng, Parquet, Arrow or CSV. Or write flow records to a table.

    pcapng files keep the interfaces, comments and packet counters that the source knows. Writes are atomic: a
    path is written to under a temporary name and renamed when the file is complete. If the source raises, as
    for a damaged capture file or Ctrl-C, the file is completed with all packets before, and the exception is
    raised then. If writing fails there is no file.

    Flow records are written to Parquet, Arrow or CSV, by a separate thread: while the disk is slow,
    packets are read until 256 MiB of records wait to be written. If `file` has the field {time}, there is
    one file for each window of the flows, with the records whose `last` is in the window; `FlowFiles`
    defines what happens to late ones, and when time was set back. A file is complete within two seconds
    after the end of its window. If writing fails, the exception is raised within a second, or with the
    next batch, and complete files stay. Import pyarrow before opening a live source: that may take longer
    than its ring can hold packets.

    Parameters
    ----------
    packets : Source, Batch, iterable of Batch, FlowStream, FlowBatch or iterable of FlowBatch
        A source is read to its end, and stays open. A FlowStream, from `flows`, is read to its end as well.
    file : str, bytes, os.PathLike or binary file object
        The file, which is replaced if it exists; with `max_bytes`, `max_seconds` or `max_packets` a template
        of the paths of several files, as for `RotatingWriter`. File objects and "-", standard output, are for
        pcap and pcapng, and so are several files of packets. For flow records of windows,
        ``flows(..., window=300)``, a template with {time}, the start of the window (UTC), {index}, or both:
        ``"{time:%Y%m%d-%H%M%S}.parquet"``.
    format : {"pcap", "pcapng", "parquet", "arrow", "csv"}, optional
        Default: from the suffix of the path, before that of a compression; pcap for a file object and "-".
    compression : str or None, default "infer"
        Of pcap and pcapng as for `open_writer`: by default from the suffix of the path. Of Parquet "zstd",
        "snappy", "gzip", "lz4" or None: by default zstd. Arrow and CSV files are not compressed.
    level : int, optional
        Compression level of pcap and pcapng. Default: that of the command-line tool of that name.
    snaplen : int, optional
        Maximum number of bytes to write of a packet to pcap and pcapng. Default: all of them.
    columns : iterable of str, optional
        Names of the columns of a table, in order, as for `ArrowStream`. Default: those of RECORD_DTYPE except
        `offset`, "interface_name" and "payload"; of flow records all.
    payload : bool, optional
        Include the payload in the default columns of a table. Default: True, except in CSV.
    addresses : {"text", "binary"}, optional
        Type of the addresses in a table: text, in CSV always, or 16 and 6 bytes. Default: text.
    inner : bool, optional
        Enter tunnels for the header columns of a table, as for `Batch.headers`. Default: False.
    tunnel_ports : mapping of str to iterable of int, optional
        Ports of tunnels, as for `Batch.headers`. Default: the registered ones.
    progress : callable, optional
        Called after each batch with the number of packets, or of flow records, so far. Default: no callback.
    **options
        Those of `RotationOptions`. Flow records of windows have `max_files`, `overwrite` and `on_file`, which
        the writing thread calls; other flow records have none.

    Returns
    -------
    int
        Number of packets, or of flow records, written.

    Raises
    ------
    ValueError
        The suffix is not that of a format, an option is not one of the format, or a value is out of range.
    OSError
        The file cannot be written.
    ImportError
        A package is not installed that the format or the compression requires.

    Examples
    --------
    >>> with slimcap.open_file("trace.pcap.gz", filter="tcp port 443") as source:
    ...     count = slimcap.write(source, "https.pcapng.zst")
    >>> slimcap.write(batch, "packets.parquet", columns=["timestamp", "src", "dst", "total_len"])
    1000
    >>> with slimcap.open_live("eth0") as source:
    ...     slimcap.write(slimcap.flows(source, window=300), "flows/{time:%Y%m%d-%H%M}.parquet")
    """
    given = changed(RotationOptions, parse(RotationOptions, options))
    kind = _format_of(file) if format is None else format
    chosen = {"columns": columns, "addresses": addresses}
    table = {**chosen, "payload": payload, "inner": inner, "tunnel_ports": tunnel_ports}
    capture = {"level": level, "snaplen": snaplen, **given}
    source, batches, records = _read(packets)
    if records is not None:
        naming = {name: value for name, value in given.items() if name in _NAMING}
        try:
            _refuse(
                "flow records",
                {name: value for name, value in (table | capture).items() if name not in chosen | naming},
            )
            return _write_flows(records, file, kind, compression, chosen, naming, progress)
        finally:
            if isinstance(records, FlowStream):
                records.close()  # the files that `flows` opened
    _refuse(kind, table if kind not in FORMATS else capture)
    output: TableFile | CaptureFile
    if kind in FORMATS:
        output = TableFile(
            _table_path(file, kind),
            format=kind,
            compression=_table_compression(kind, compression),
            **{"payload": kind != "csv", **_given(table)},
        )
    else:
        split = any(name in given for name in _LIMITS)
        if not split:
            _refuse("a single file", given)
        first = next(batches, None) if source is None else None
        batches = batches if first is None else _joined([first], batches)
        output = CaptureFile(
            file,
            source,
            link=first.links[0] if first is not None and first.links else None,
            format=kind,  # type: ignore[arg-type]
            snaplen=snaplen,
            compression=compression,
            level=level,
            rotation=options if split else None,
        )
        del first
        if "max_seconds" in given and isinstance(source, LiveSource):
            batches = _timely(source, output)
    return _copy(batches, output, progress)


def _timely(source: LiveSource, output: CaptureFile) -> Iterator[Batch]:
    """Yield the batches of a live source, and complete parts of `max_seconds` in time without packets."""
    for batch in batches_and_pauses(source):
        output.end_interval()
        if batch is not None:
            yield batch
        del batch


def _copy(
    batches: Iterator[Batch], output: TableFile | CaptureFile, progress: Callable[[int], object] | None
) -> int:
    """Write all batches; complete the file also if getting them raises."""
    failure: BaseException | None = None
    with output:
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                break
            except BaseException as error:
                failure = error
                break
            output.add(batch)
            del batch  # return a ring's block before waiting for the next one
            if progress is not None:
                progress(output.packets_written)
    if failure is not None:
        raise failure
    return output.packets_written


def _format_of(file: Target) -> Any:
    """Return the format for the suffix of a path."""
    if not isinstance(file, (str, bytes, os.PathLike)) or os.fsdecode(file) == "-":
        return "pcap"
    suffix = stem_and_endings(file)[1].lower()
    if suffix[1:] in FORMATS and compression_of(os.fsdecode(file)) is None:
        return suffix[1:]
    if suffix not in _CAPTURE_ENDINGS:
        endings = ", ".join((*_CAPTURE_ENDINGS, *(f".{name}" for name in FORMATS)))
        raise ValueError(f"{os.fsdecode(file)!r} ends in none of {endings}: give the format")
    return "pcapng" if suffix in (".pcapng", ".ntar") else "pcap"


def _refuse(what: str, options: dict[str, Any]) -> None:
    """Raise ValueError if one of the options is given: they are not options of `what`."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} is not an option of {what}")


def _table_path(file: Target, kind: str) -> str:
    if not isinstance(file, (str, bytes, os.PathLike)):
        raise ValueError(f"{kind} is written to a path, not to {type(file).__name__}")
    return os.fsdecode(file)


def _table_compression(kind: str, compression: str | None) -> Any:
    if compression == "infer":
        return "zstd"
    if kind != "parquet" and compression is not None:
        raise ValueError(f"{kind} files are not compressed: compression is None")
    accepted = get_args(Compression)
    if compression is not None and compression not in accepted:
        raise ValueError(f"compression of {kind} must be {', '.join(accepted)} or None, not {compression!r}")
    return compression or "none"


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are not None; the others have their defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _joined(first: list[_Item], others: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the one item of a list, and then others. Refers to no item that it has yielded."""
    yield first.pop()
    yield from others


def _read(packets: Any) -> tuple[Source | None, Iterator[Batch], FlowStream | Iterator[FlowBatch] | None]:
    """Return the source, None if it is not one; the batches; and flow records instead of these, or None.

    The first item of an iterable tells which of the two it has.
    """
    if isinstance(packets, FlowStream):
        return None, iter(()), packets
    if hasattr(packets, "batches"):
        source = cast("Source", packets)
        return source, source.batches(), None
    if isinstance(packets, (Batch, FlowBatch)):
        packets = (packets,)
    if not isinstance(packets, Iterable):
        raise wrong_type("packets", "a Source, a Batch or an iterable of Batch", packets)
    items = iter(packets)
    for first in items:
        joined = _joined([first], items)
        return (None, iter(()), joined) if isinstance(first, FlowBatch) else (None, joined, None)
    return None, iter(()), None


def _write_flows(
    records: FlowStream | Iterator[FlowBatch],
    file: Target,
    kind: str,
    compression: str | None,
    options: dict[str, Any],
    naming: dict[str, Any],
    progress: Callable[[int], object] | None,
) -> int:
    """Write flow records to a table, or to one for each window."""
    if kind not in FORMATS:
        raise ValueError(f"flow records are written to {', '.join(FORMATS)}, not to {kind}")
    path = _table_path(file, kind)
    stream = window = None
    if isinstance(records, FlowStream):
        stream, window, batches = records, records.window, records.updates()
        model = FlowBatch(np.empty(0, stream.dtype))
    else:
        model = next(records)
        batches = _joined([model], records)
    open_file = functools.partial(
        FlowFile,
        model=model[:0],
        format=kind,
        compression=_table_compression(kind, compression),
        **_given(options),
    )
    output = _open_flows(path, window, naming, open_file)
    return write_by_thread(batches, output, stream=stream, progress=progress)


def _open_flows(
    path: str, window: float | None, naming: dict[str, Any], open_file: Callable[[str], FlowFile]
) -> FlowFile | FlowFiles:
    """Open a file, or files of windows if the path has a brace; raise if none of these could be opened."""
    if "{" not in path:
        _refuse("a single file", naming)
        return open_file(path)
    series = FileSeries(path, **naming)
    if window is None:
        raise ValueError(f"{path!r} names a file for each window: give `flows` a window, in seconds")
    folder = os.path.dirname(path)
    if "{" not in folder and not os.path.isdir(folder or "."):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    open_file(os.devnull).discard()
    return FlowFiles(series, window, open_file)
