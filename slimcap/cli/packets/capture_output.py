"""Capture files as output of a command: options, opening, and copying packets and metadata."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, get_args

import numpy as np

from slimcap.capfile.pcap_writer import PcapWriter
from slimcap.capfile.pcapng_writer import PcapNgWriter
from slimcap.cli.arguments import positive, size
from slimcap.cli.packets.select import Choice, Comments
from slimcap.cli.terminal.streams import OutputError, complain, printable, writing
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.io.compression.encoders import Compression, encoder_for
from slimcap.packet.batch import Batch
from slimcap.packet.enums import LinkType
from slimcap.packet.interface import InterfaceInfo
from slimcap.packet.link import Link
from slimcap.sink.open_writer import Format, open_writer, writer_class
from slimcap.sink.rotate import RotatingWriter
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

MOST_SNAPLEN: Final = 128 << 20  # maximum that readers accept; only D-Bus packets may be as long

_MOST: Final = (1 << 64) - 1  # maximum of a counter

CapturedFiles: TypeAlias = PcapSource | MergedSource
_Writer: TypeAlias = PcapWriter | PcapNgWriter | RotatingWriter

EPILOG: Final = """\
pcapng keeps what a file says of itself, its interfaces and their drops, and
the comments on packets. pcap has one link type for all packets; both have
nanoseconds. A file has another name in its folder until it is whole; one that
was there before is replaced only then. Ctrl-C leaves no file, but those of a
split that are whole.

A TIME is one of UTC, as 2024-03-01T12:00:00.000000001, of another zone, as
2024-03-01 13:00:00+01:00, or in seconds since 1970. A SIZE is in bytes, or with
a unit: k, M, G (1000) or Ki, Mi, Gi (1024).

With --split-… OUT names several files. {index} in it is their number from 0,
{time} the UTC time of the first packet: cap-{index:05}.pcap or
{time:%Y%m%d-%H%M%S}.pcapng.zst. If it has neither, -{index:05} goes before its
endings. The first limit that is reached ends a file; drops are left out, as
they are counted over all of them.
"""


def add_output(command: argparse.ArgumentParser) -> None:
    """Add the options for the format, compression and splitting of the output `args.out`."""
    output = command.add_argument_group("output")
    output.add_argument(
        "--format", choices=get_args(Format), help="by default pcapng if OUT ends in .pcapng, otherwise pcap"
    )
    output.add_argument(
        "--compression",
        choices=(*get_args(Compression), "none"),
        default="infer",
        help="by default what OUT ends in: .gz, .zst, .xz, .lz4, .bz2",
    )
    output.add_argument("--level", type=int, help="of the compression; by default that of its own command")
    output.add_argument("--snaplen", type=positive, metavar="BYTES", help="write so much of a packet")
    split = command.add_argument_group("split")
    split.add_argument(
        "--split-packets", type=positive, metavar="COUNT", help="begin a new file after so many packets"
    )
    split.add_argument("--split-bytes", type=size, metavar="SIZE", help="before it gets larger, uncompressed")
    split.add_argument(
        "--split-seconds", type=positive, metavar="SECONDS", help="each interval of that length, UTC"
    )
    command.set_defaults(error=command.error)


def transfer(source: CapturedFiles, batches: Iterable[Batch], output: Output, choice: Choice) -> None:
    """Write the chosen packets of a source, until no more are wanted.

    Parameters
    ----------
    source : PcapSource or MergedSource
        The source of the batches, for its metadata.
    batches : iterable of Batch
        All batches of the source, from its first packet on: comments are matched by packet number.
    output : Output
        Where to write.
    choice : Choice
        The packets to write.
    """
    given = 0
    if choice.done:
        return
    for batch in batches:
        comments = _comments_on(batch, source.comments, given) if output.is_pcapng else {}
        given += len(batch)
        output.add(*choice.take(batch, comments), source)
        if choice.done:
            return


def _comments_on(batch: Batch, comments: Comments, first: int) -> Comments:
    """Return the comments on a batch by row, from those by packet number; `first` is the number of row 0."""
    rows = {number - first: text for number, text in comments.items()}
    return {row: text for row, text in rows.items() if 0 <= row < len(batch)}


@contextmanager
def opened_output(args: argparse.Namespace, source: CapturedFiles) -> Iterator[Output]:
    """Open the output for the packets of a source, and complete it at the end of the context.

    Writes to a file are atomic: an exception in the context leaves no new file, except those of a split that
    are complete. Errors of the output raise OutputError; options that do not go together end the command.
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
        complain("no packets, and so no files")


def _open(args: argparse.Namespace, source: CapturedFiles) -> _Writer:
    """Open the writer.

    Raises
    ------
    ValueError, ImportError
        The options do not go together (ValueError), or a package that they require is not installed.
    """
    split = {
        "max_packets": args.split_packets,
        "max_bytes": args.split_bytes,
        "max_seconds": args.split_seconds,
    }
    link_type = source.link.type if source.link is not None else LinkType.ETHERNET
    options: dict[str, Any] = {
        "compression": None if args.compression == "none" else args.compression,
        "level": args.level,
    }
    encoder_for(args.out, **options)  # checks the options early: a split opens its first file later
    if writer_class(args.out, args.format) is PcapNgWriter:
        options |= {"snaplen": args.snaplen or MOST_SNAPLEN, **_about(source)}
    else:
        options["snaplen"] = args.snaplen or (MOST_SNAPLEN if link_type == LinkType.DBUS else MAX_SNAPLEN)
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
    """The output of a command: packets and, in pcapng, metadata of the source."""

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
            if comments and not isinstance(self._writer, PcapWriter):
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
                snaplen=min(info.snaplen or MOST_SNAPLEN, self._snaplen) if self._snaplen else info.snaplen,
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
                    f"{printable(self._out)}: pcap has one link type for all packets, and these are of "
                    f"{link.type_name} where the first interface is of {self._link.type_name}: "
                    "use --format pcapng"
                )

    def end(self, source: CapturedFiles) -> None:
        """Write the metadata known only at the end: interfaces without packets, and drop counters."""
        if not self.is_pcapng:
            return
        self._describe(source)
        if isinstance(self._writer, PcapNgWriter):
            for number, info in enumerate(source.interfaces):
                told = _statistics(info)
                dropped = source.total_stats.packets_dropped
                if dropped and not told and len(source.links) == 1:  # those that its packets report
                    told["dropped"] = dropped
                if told:
                    limited = {name: min(max(value, 0), _MOST) for name, value in told.items()}
                    self._writer.write_statistics(number, at=self._latest, **limited)


def _statistics(info: InterfaceInfo) -> dict[str, int]:
    """Return the statistics known of an interface, as keyword arguments of `write_statistics`."""
    told = {
        "received": info.received,
        "dropped": info.os_dropped,
        "interface_dropped": info.interface_dropped,
        "start": info.start,
        "end": info.end,
    }
    return {name: value for name, value in told.items() if value is not None}
