"""`slimcap info`: describe capture files and their contents."""

from __future__ import annotations

import argparse
import hashlib
import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.arguments import Commands, add_command
from slimcap.cli.packets.inputs import batches_of, noting, open_input, tell
from slimcap.cli.render.info_text import as_text
from slimcap.cli.render.totals import Totals, iso
from slimcap.cli.terminal.progress import wanted
from slimcap.cli.terminal.streams import write
from slimcap.packet.batch import Batch
from slimcap.packet.interface import InterfaceInfo, SectionInfo
from slimcap.source.file.pcap_source import PcapSource

HELP: Final = """\
It reads a file to its end, and counts. With --json each file is one object on
one line; null is what the file does not say, or what it takes packets, or
time between them, to tell.

  bytes             on the wire, link-layer headers included
  first, last       the earliest and the latest packet
  in_time_order     whether no packet is earlier than the one before it
  dropped           packets that were lost while capturing, as a pcapng file
                    tells in its packets and statistics
  comments          packets with a comment
  sections          of a pcapng file, each with what wrote it
  interfaces        each with its packets and what the file says of it;
                    ticks_per_second are the units of its timestamps
  error             what is wrong with the file; the numbers are those of what
                    comes before

exit code:
  0    all is well
  1    a file is bad, or cannot be read
  2    wrong arguments
  130  Ctrl-C
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap info`."""
    command = add_command(
        commands,
        "info",
        run,
        help="tell what capture files are, and what is in them",
        description="Tell what capture files are: format, interfaces, packets, times and rates.",
        epilog=HELP,
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a capture file; - is standard input")
    command.add_argument("--json", action="store_true", help="one JSON object a file, a line each")
    command.add_argument(
        "--hash", action="store_true", help="also the SHA-256 of each file, as it is on disk"
    )


def run(args: argparse.Namespace) -> int:
    """Describe the files, one after the other.

    Returns
    -------
    int
        Exit code: 0, or 1 if a file was bad.
    """
    code = 0
    for number, file in enumerate(args.files):
        failures: list[str] = []
        info = _Info(file)
        with noting(file, failures), open_input(file) as source:
            try:
                for batch in batches_of(source, bar=wanted(lines=False)):
                    info.add(batch, source)
            finally:
                info.end(source)
        if args.hash and info.opened:
            with noting(file, failures):
                info.hash()
        report = info.report(failures)
        if args.json:
            write(json.dumps(report) + "\n")
        elif info.opened:
            write(("\n" if number else "") + as_text(report))
        code |= tell(failures)
    return code


class _Info:
    """Collects the report on a file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._totals = Totals()
        self._comments = 0
        self._packets = np.zeros(0, np.int64)  # packets of each interface
        self._head: dict[str, Any] = {}
        self._sections: tuple[SectionInfo, ...] = ()
        self._interfaces: tuple[InterfaceInfo, ...] = ()
        self._dropped = 0
        self._sha256: str | None = None

    @property
    def opened(self) -> bool:
        """True if the file could be opened as a capture file."""
        return bool(self._head)

    def add(self, batch: Batch, source: PcapSource) -> None:
        """Count the packets of a batch."""
        self._totals.add(batch)
        self._comments += len(batch.comments)
        counts = np.bincount(batch["interface"])
        if len(counts) > len(self._packets):
            counts[: len(self._packets)] += self._packets
            self._packets = counts
        else:
            self._packets[: len(counts)] += counts

    def end(self, source: PcapSource) -> None:
        """Note the metadata of the file, once it is read."""
        self._head = {
            "format": source.format,
            "compression": source.compression,
            "file_size": source.progress[1],
        }
        self._sections, self._interfaces = source.sections, source.interfaces
        self._dropped = source.total_stats.packets_dropped

    def hash(self) -> None:
        """Compute the SHA-256 of the file; skip standard input, which cannot be read again."""
        if self._file != "-":
            with open(self._file, "rb") as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def report(self, failures: list[str]) -> dict[str, Any]:
        """Return the report as shown by `--json`."""
        totals = self._totals
        interfaces = [
            _interface(one, packets)
            for one, packets in zip(
                self._interfaces, _padded(self._packets, len(self._interfaces)), strict=True
            )
        ]
        return {
            "file": self._file,
            "format": self._head.get("format"),
            "compression": self._head.get("compression"),
            "file_size": self._head.get("file_size"),
            "sha256": self._sha256,
            "link_types": list(dict.fromkeys(one["link_type"] for one in interfaces)),
            "packets": totals.packets,
            "bytes": totals.bytes,
            "captured_bytes": totals.captured,
            "average_size": totals.bytes / totals.packets if totals.packets else None,
            **totals.span(),
            "in_time_order": totals.in_order,
            "truncated": totals.truncated,
            "dropped": self._dropped,
            "comments": self._comments,
            "sections": [_section(one) for one in self._sections],
            "interfaces": interfaces,
            "error": "; ".join(failures) or None,
        }


def _padded(counts: NDArray[np.int64], size: int) -> list[int]:
    """Return the counts padded with zeros to `size` interfaces: the last ones may have no packets."""
    return [*counts.tolist(), *([0] * (size - len(counts)))]


def _section(section: SectionInfo) -> dict[str, Any]:
    return section._asdict() | {"version": ".".join(map(str, section.version))}


def _interface(interface: InterfaceInfo, packets: int) -> dict[str, Any]:
    told = interface._asdict()
    link = told.pop("link")
    return {
        "name": link.name,
        "description": link.description,
        "link_type": link.type_name,
        "link_type_number": link.type,
        "packets": packets,
        **told,
        "start": iso(interface.start),
        "start_ns": interface.start,
        "end": iso(interface.end),
        "end_ns": interface.end,
    }
