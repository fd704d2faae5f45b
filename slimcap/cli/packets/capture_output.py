"""Capture files as output of a command: options, opening, and copying packets and metadata."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, get_args

import numpy as np

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.capfile.pcapng_writer import PcapNgWriter
from slimcap.cli.arguments import number, size
from slimcap.cli.packets.select import Choice, Comments
from slimcap.cli.terminal.streams import OutputError, complain, printable, writing
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.io.compression.encoders import Compression, encoder_for
from slimcap.packet.batch import Batch
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import ETHERNET, Link
from slimcap.sink.open_writer import Format, open_writer, writer_class
from slimcap.sink.rotate import RotatingWriter
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

DBUS: Final = 231
DBUS_SNAPLEN: Final = 128 << 20  # the maximum that readers accept; only D-Bus packets may be as long

_MAX_COUNTER: Final = (1 << 64) - 1

CapturedFiles: TypeAlias = PcapSource | MergedSource
_Writer: TypeAlias = PcapWriter | PcapNgWriter | RotatingWriter

OUTPUT_DETAILS: Final = """\
In pcapng output, metadata (sections, interfaces, drop counters, comments) is
preserved; with --split-..., all but the drop counters. pcap has one link type
for all packets. Both formats have nanosecond timestamps.

OUT is written to a temporary file in its folder, which is renamed on success.
After Ctrl-C there is no new file, except the complete ones of a split.

A TIME is in ISO 8601, as 2024-03-01T12:00:00.000000001 (UTC) or
2024-03-01 13:00:00+01:00, or in seconds since 1970. A SIZE is in bytes, or has
a unit: k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024).

With --split-..., OUT is a template: {index} is the number of the file, from 0,
and {time} the UTC time of its first packet, as in cap-{index:05}.pcap or
{time:%Y%m%d-%H%M%S}.pcapng.zst. Without either, -{index:05} is inserted before
the suffix. The first limit that is reached starts a new file.
"""


def add_output(command: argparse.ArgumentParser) -> None:
    """Add the options for the format, compression and splitting of the output `args.out`."""
    formats, compressions = get_args(Format), (*get_args(Compression), "none")
    add = command.add_argument_group("output").add_argument
    add("--format", choices=formats, help="default: pcapng if OUT ends in .pcapng, otherwise pcap")
    add("--compression", choices=compressions, default="infer", help="default: by the suffix of OUT")
    add("--level", type=int, help="compression level (default: that of the format's own program)")
    add("--snaplen", type=number(int, 1), metavar="BYTES", help="truncate packets to BYTES")
    add = command.add_argument_group("split, by starting a new file").add_argument
    add("--split-packets", type=number(int, 1), metavar="COUNT", help="after COUNT packets")
    add("--split-bytes", type=size, metavar="SIZE", help="before SIZE (uncompressed) is exceeded")
    add("--split-seconds", type=number(int, 1), metavar="SECONDS", help="every SECONDS, aligned to UTC")


def transfer(source: CapturedFiles, batches: Iterable[Batch], output: Output, choice: Choice) -> None:
    """Write the selected packets of a source; `batches` are all of its batches, from the first packet on."""
    packets = 0
    if choice.done:
        return
    for batch in batches:
        rows = range(packets, packets + len(batch))
        comments = {index - packets: text for index, text in source.comments.items() if index in rows}
        packets += len(batch)
        output.add(*choice.take(batch, comments), source)
        if choice.done:
            return


@contextmanager
def opened_output(args: argparse.Namespace, source: CapturedFiles) -> Iterator[Output]:
    """Open the output for the packets of a source, and complete it at the end of the context.

    An exception in the context leaves no new file, except those of a split that are complete. Errors of the
    output raise OutputError; options that do not go together end the command.
    """
    try:
        with writing():
            writer = _open(args, source)
    except ValueError as error:
        args.error(str(error))
    with writing(), writer:
        output = Output(args, writer, source)
        yield output
        output.end(source)
    if isinstance(writer, RotatingWriter) and not writer.files:
        complain("no packets were selected: no file was written")


def _open(args: argparse.Namespace, source: CapturedFiles) -> _Writer:
    """Open the writer. Raises ValueError if the options do not go together."""
    split = {f"max_{unit}": getattr(args, f"split_{unit}") for unit in ("packets", "bytes", "seconds")}
    link_type = source.link.type if source.link is not None else ETHERNET
    compression = None if args.compression == "none" else args.compression
    options: dict[str, Any] = {"compression": compression, "level": args.level}
    encoder_for(args.out, **options)  # checks the options early: a split opens its first file later
    if writer_class(args.out, args.format) is PcapNgWriter:
        options |= {"snaplen": args.snaplen or DBUS_SNAPLEN, **_about(source)}
    else:
        options["snaplen"] = args.snaplen or (DBUS_SNAPLEN if link_type == DBUS else MAX_SNAPLEN)
    if not any(split.values()):
        return open_writer(args.out, link_type, format=args.format, atomic=args.out != "-", **options)
    if args.out == "-":
        raise ValueError("standard output cannot be split")
    return RotatingWriter(
        args.out, link_type=link_type, format=args.format, overwrite=True, **split, **options
    )


def _about(source: CapturedFiles) -> dict[str, str]:
    """Return the comment, hardware and OS of the output's section: those of the source's first section."""
    if isinstance(source, MergedSource) or not source.sections:
        return {}
    section = source.sections[0]
    return {"comment": section.comment, "hardware": section.hardware, "os": section.os}


class Output:
    """Output of a command: packets and, in pcapng, metadata of the source."""

    def __init__(self, args: argparse.Namespace, writer: _Writer, source: CapturedFiles) -> None:
        self._out: str = args.out
        self._snaplen: int | None = args.snaplen
        self._writer = writer
        self._link = source.link
        self._described = 0  # number of the source's interfaces written so far
        self._latest = 0  # latest packet time so far, in nanoseconds
        self.is_pcapng = writer_class(args.out, args.format) is PcapNgWriter

    def add(self, batch: Batch, comments: Comments, source: CapturedFiles) -> None:
        """Write a batch, which may be empty, with the comments on its packets by row."""
        if self.is_pcapng:
            self._describe(source)
        if not len(batch):
            return
        if self.is_pcapng:
            self._latest = max(self._latest, int(batch["timestamp"].max()))
        else:
            self._check_link_types(batch)
        try:
            if comments and self.is_pcapng and not isinstance(self._writer, PcapWriter):
                self._writer.write_batch(batch, comments)
            else:
                self._writer.write_batch(batch)
        except ValueError as error:
            raise OutputError(f"{self._out}: {error}") from error

    def _describe(self, source: CapturedFiles) -> None:
        """Write descriptions of the interfaces that the source has found since the last call."""
        assert not isinstance(self._writer, PcapWriter)
        if len(source.links) == self._described:
            return
        for info in source.interfaces[self._described :]:
            self._writer.add_interface(
                info.link,
                snaplen=min(info.snaplen or DBUS_SNAPLEN, self._snaplen) if self._snaplen else info.snaplen,
                comment=info.comment,
                filter=info.filter,
                hardware=info.hardware,
                os=info.os,
            )
            self._described += 1

    def _check_link_types(self, batch: Batch) -> None:
        """Raise OutputError if the packets do not have the link type of the file."""
        links: tuple[Link, ...] = batch.links
        if len({link.type for link in links}) > 1:
            links = tuple([links[index] for index in np.unique(batch["interface"]).tolist()])
        for link in links:
            if self._link is not None and link.type != self._link.type:
                raise OutputError(
                    f"{printable(self._out)}: pcap cannot store link type {link.type_name} next to "
                    f"{self._link.type_name}, that of the first interface: use --format pcapng"
                )

    def end(self, source: CapturedFiles) -> None:
        """Write the metadata known only at the end: interfaces without packets, and drop counters."""
        if not self.is_pcapng:
            return
        self._describe(source)
        if isinstance(self._writer, PcapNgWriter):
            for index, info in enumerate(source.interfaces):
                counters = _statistics(info)
                dropped = source.total_stats.packets_dropped
                if dropped and not counters and len(source.links) == 1:  # those that its packets report
                    counters["dropped"] = dropped
                if counters:
                    limited = {name: min(max(value, 0), _MAX_COUNTER) for name, value in counters.items()}
                    self._writer.write_statistics(index, at=self._latest, **limited)


def _statistics(info: InterfaceInfo) -> dict[str, int]:
    """Return the statistics known of an interface, as keyword arguments of `write_statistics`."""
    values = {
        "received": info.received,
        "dropped": info.os_dropped,
        "interface_dropped": info.interface_dropped,
        "start": info.start,
        "end": info.end,
    }
    return {name: value for name, value in values.items() if value is not None}
