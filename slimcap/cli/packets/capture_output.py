"""Capture files as output of a command: options, opening, writing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias, get_args

from slimcap.cli.arguments import positive, size
from slimcap.cli.terminal.streams import OutputError, complain, printable, writing
from slimcap.io.compression.encoders import Compression
from slimcap.packet.batch import Batch
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.open_writer import Format
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

CapturedFiles: TypeAlias = PcapSource | MergedSource

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


class Output:
    """The capture file that a command writes. Errors of writing raise OutputError."""

    def __init__(self, out: str, file: CaptureFile) -> None:
        self._out = out
        self._file = file

    def add(self, batches: Iterable[Batch]) -> None:
        """Write all batches."""
        for batch in batches:
            with writing():
                try:
                    self._file.add(batch)
                except ValueError as error:
                    raise OutputError(f"{printable(self._out)}: {error}") from error


@contextmanager
def opened_output(args: argparse.Namespace, source: CapturedFiles) -> Iterator[Output]:
    """Open the output for the packets of a source, and complete it at the end of the context.

    Writes to a file are atomic: an exception in the context leaves no new file, except those of a split that
    are complete. Errors of the output raise OutputError; options that do not go together end the command.
    """
    rotation = {
        "max_packets": args.split_packets,
        "max_bytes": args.split_bytes,
        "max_seconds": args.split_seconds,
    }
    split = any(rotation.values())
    try:
        with writing():
            file = CaptureFile(
                args.out,
                source,
                format=args.format,
                snaplen=args.snaplen,
                compression=None if args.compression == "none" else args.compression,
                level=args.level,
                rotation={**rotation, "overwrite": True} if split else None,
            )
    except ValueError as error:
        args.error(str(error))
    with writing(), file:
        yield Output(args.out, file)
    if file.files == ():
        complain("no packets, and so no files")
    lost = [f"{count} {what}" for what, count in file.lost.items() if count]
    if lost:
        complain(f"{printable(args.out)}: pcap has no place for {', '.join(lost)}: write pcapng to keep them")
