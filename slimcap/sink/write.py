"""Write packets to a file of any format."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from slimcap.errors import wrong_type
from slimcap.io.compression.encoders import compression_of
from slimcap.option_set import accepts, changed, parse
from slimcap.packet.batch import Batch
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.open_writer import Format, stem_and_endings
from slimcap.sink.rotation_options import RotationOptions
from slimcap.sink.table_file import FORMATS, TableFile, TableFormat
from slimcap.sink.waiting import batches_and_pauses
from slimcap.source.live.live_source import LiveSource

if TYPE_CHECKING:
    from slimcap.io.target import Target
    from slimcap.packet.batch import _Addresses
    from slimcap.source.base import Source

_LIMITS: Final = ("max_bytes", "max_seconds", "max_packets")
_CAPTURE_ENDINGS: Final = (".pcap", ".cap", ".dmp", ".pcapng", ".ntar")

FileFormat = Format | TableFormat
"""Format of a file that `write` writes."""


@accepts(RotationOptions)
def write(
    packets: Source | Batch | Iterable[Batch],
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
    """Write packets to a file: pcap, pcapng, Parquet, Arrow or CSV.

    pcapng files keep the interfaces, comments and packet counters that the source knows. Writes are atomic: a
    path is written to under a temporary name and renamed when the file is complete. If the source raises, as
    for a damaged capture file or Ctrl-C, the file is completed with all packets before, and the exception is
    raised then. If writing fails there is no file.

    Parameters
    ----------
    packets : Source, Batch or iterable of Batch
        A source is read to its end, and stays open.
    file : str, bytes, os.PathLike or binary file object
        The file, which is replaced if it exists; with `max_bytes`, `max_seconds` or `max_packets` a template
        of the paths of several files, as for `RotatingWriter`. File objects and "-", standard output, are for
        pcap and pcapng, and so are several files.
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
        `offset`, "interface_name" and "payload".
    payload : bool, optional
        Include the payload in the default columns of a table. Default: True, except in CSV.
    addresses : {"text", "binary"}, optional
        Type of the addresses in a table: text, in CSV always, or 16 and 6 bytes. Default: text.
    inner : bool, optional
        Enter tunnels for the header columns of a table, as for `Batch.headers`. Default: False.
    tunnel_ports : mapping of str to iterable of int, optional
        Ports of tunnels, as for `Batch.headers`. Default: the registered ones.
    progress : callable, optional
        Called after each batch with the number of packets so far. Default: no callback.
    **options
        Those of `RotationOptions`.

    Returns
    -------
    int
        Number of packets written.

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
    """
    given = changed(RotationOptions, parse(RotationOptions, options))
    kind = _format_of(file) if format is None else format
    table = {
        "columns": columns,
        "payload": payload,
        "addresses": addresses,
        "inner": inner,
        "tunnel_ports": tunnel_ports,
    }
    capture = {"level": level, "snaplen": snaplen, **given}
    _refuse(kind, table if kind not in FORMATS else capture)
    source, batches = _read(packets)
    output: TableFile | CaptureFile
    if kind in FORMATS:
        output = _open_table(file, kind, compression, table)
    else:
        split = any(name in given for name in _LIMITS)
        if not split:
            _refuse("a single file", given)
        first = next(batches, None) if source is None else None
        batches = batches if first is None else itertools.chain((first,), batches)
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


def _open_table(file: Target, kind: str, compression: str | None, options: dict[str, Any]) -> TableFile:
    """Open a table; options that are None have their defaults."""
    if not isinstance(file, (str, bytes, os.PathLike)):
        raise ValueError(f"{kind} is written to a path, not to {type(file).__name__}")
    if compression == "infer":
        compression = "zstd"
    elif kind != "parquet" and compression is not None:
        raise ValueError(f"{kind} files are not compressed: compression is None")
    given = {name: value for name, value in options.items() if value is not None}
    return TableFile(
        os.fsdecode(file),
        format=kind,  # type: ignore[arg-type]
        compression=compression or "none",  # type: ignore[arg-type]
        **{"payload": kind != "csv", **given},
    )


def _read(packets: Source | Batch | Iterable[Batch]) -> tuple[Source | None, Iterator[Batch]]:
    """Return the source, None if it is not one, and the batches."""
    if isinstance(packets, Batch):
        return None, iter((packets,))
    if hasattr(packets, "batches"):
        source = cast("Source", packets)
        return source, source.batches()
    if not isinstance(packets, Iterable):
        raise wrong_type("packets", "a Source, a Batch or an iterable of Batch", packets)
    return None, iter(packets)
