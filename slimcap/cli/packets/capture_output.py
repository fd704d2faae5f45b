"""Capture files as output of a command: options, opening, writing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias, get_args

from slimcap.cli.arguments import number, size
from slimcap.cli.terminal.streams import OutputError, complain, writing
from slimcap.io.compression.encoders import Compression
from slimcap.packet.batch import Batch
from slimcap.sink.capture_file import CaptureFile
from slimcap.sink.open_writer import Format
from slimcap.sink.rotation_options import RotationOptions
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

CapturedFiles: TypeAlias = PcapSource | MergedSource

OUTPUT_DETAILS: Final = """\
pcapng output keeps what pcapng input has besides packets: options of sections,
interfaces and packets, statistics, decryption secrets, names, custom blocks.
With --split-... each file has one section and no statistics, and the secrets
and names of the files before. pcap has one link type for all packets.

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
    add_split(command)


def add_split(command: argparse.ArgumentParser) -> None:
    """Add the options of when a new file is started."""
    add = command.add_argument_group("split, by starting a new file").add_argument
    add("--split-packets", type=number(int, 1), metavar="COUNT", help="after COUNT packets")
    add("--split-bytes", type=size, metavar="SIZE", help="before SIZE (uncompressed) is exceeded")
    add("--split-seconds", type=number(int, 1), metavar="SECONDS", help="every SECONDS, aligned to UTC")


def is_split(args: argparse.Namespace) -> bool:
    """Return True if an option of `add_split` was given."""
    return any((args.split_packets, args.split_bytes, args.split_seconds))


def split_of(args: argparse.Namespace) -> RotationOptions:
    """Return the options of `add_split` as those of a rotation."""
    return {
        "max_packets": args.split_packets,
        "max_bytes": args.split_bytes,
        "max_seconds": args.split_seconds,
    }


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
                    raise OutputError(f"{self._out}: {error}") from error


@contextmanager
def opened_output(args: argparse.Namespace, source: CapturedFiles) -> Iterator[Output]:
    """Open the output for the packets of a source, and complete it at the end of the context.

    An exception in the context leaves no new file, except those of a split that are complete. Errors of the
    output raise OutputError; options that do not go together end the command.
    """
    rotation: RotationOptions = {**split_of(args), "overwrite": True}
    try:
        with writing():
            file = CaptureFile(
                args.out,
                source,
                format=args.format,
                snaplen=args.snaplen,
                compression=None if args.compression == "none" else args.compression,
                level=args.level,
                rotation=rotation if is_split(args) else None,
            )
    except ValueError as error:
        args.error(str(error))
    with writing(), file:
        yield Output(args.out, file)
    if file.files == ():
        complain("no packets were selected: no file was written")
    lost = [f"{count} {what}" for what, count in file.lost.items() if count]
    if lost:
        complain(f"{args.out}: pcap has no place for {', '.join(lost)}: write pcapng to keep them")
    left_out = [f"{count} {what}" for what, count in file.left_out.items() if count]
    if left_out:
        complain(f"{args.out}: left out {', '.join(left_out)}")
