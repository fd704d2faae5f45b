"""`slimcap read`: show capture files as lines or a summary, or write them to a table file."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import Final, Protocol

from slimcap.cli.arguments import Commands, add_command, count
from slimcap.cli.packets.inputs import batches_of, noting, open_input, tell
from slimcap.cli.packets.table_output import Export
from slimcap.cli.render.lines import Lines, json_lines, text_lines
from slimcap.cli.render.summarize import Summary
from slimcap.cli.terminal.progress import wanted
from slimcap.cli.terminal.streams import complain
from slimcap.packet.batch import Batch
from slimcap.packet.headers.columns import HEADER_DTYPE
from slimcap.sink.arrow import batch_layout
from slimcap.sink.table_file import format_of
from slimcap.source.file.pcap_source import PcapSource

HEADERS: Final = textwrap.fill(
    ", ".join([*(HEADER_DTYPE.names or ()), "flow_hash", "flow_hash_symmetric", "community_id"]), 77
)

HELP: Final = f"""\
each packet's line:
  time            UTC, with as many digits as the file has
  type            In, Out, B (broadcast), M (multicast), P (for another host),
                  - (the file does not say)
  lengths         bytes captured / bytes on the wire
  IP layer        source:port => destination:port (protocol number),
                  port 0 where there is none
  vlan            number of the outermost tag, if there is one
  on              name of the interface, if the file has several

With --json it is an object with timestamp (ISO 8601), timestamp_ns (since
1970), interface (its name, or the file's), type, cap_len, total_len, vlan,
ip_offset (where in the packet the IP header starts), ip_version, protocol
(number), src, dst, sport, dport. All of them are always there; null is what
the packet does not have, or was cut off.

With --to they go into a file, whose columns are those of slimcap's records:
timestamp, total_len, cap_len, ip_offset, interface, vlan_tci, vlan_tpid,
pkt_type, flags, and payload, which CSV has only if --columns names it, as
hexadecimal text. Others are there if --columns names them: offset, and
{HEADERS}.
It needs pyarrow (pip install 'slimcap[parquet]').

In a summary, sizes are bytes on the wire, link-layer header included; first
and last are the earliest and the latest packet. With --json it is one object;
null is what it takes packets, or time between them, to tell.

Files that take long get a progress bar, if standard error is a terminal and
tqdm is installed (pip install 'slimcap[cli]'); but not if lines go to the
terminal or into a pipe, where a bar would be in the way.

exit code:
  0    all is well
  1    a file is bad: what comes before the bad place was shown or written,
       and so were the other files; or the filter is no filter for a file's
       link type
  2    wrong arguments
  130  Ctrl-C; a summary tells what was read so far
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap read`."""
    command = add_command(
        commands,
        "read",
        run,
        help="show the packets of capture files",
        description="Show the packets of pcap and pcapng files, compressed or not, a line each.",
        epilog=HELP,
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a capture file; - is standard input")
    command.add_argument(
        "-n", dest="count", type=count, metavar="COUNT", help="stop after so many packets of all files"
    )
    command.add_argument(
        "--filter", metavar="EXPRESSION", help="show only the packets that it takes, as for tcpdump"
    )
    command.add_argument("--summary", action="store_true", help="show totals, sizes and protocols instead")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--to", type=_table, metavar="FILE", help="write a table: FILE.parquet, FILE.arrow or FILE.csv"
    )
    command.add_argument(
        "--columns", type=_columns, metavar="NAMES", help="of the table, in this order, with commas between"
    )
    command.set_defaults(error=command.error)


def _table(text: str) -> str:
    try:
        format_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _columns(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    try:
        batch_layout(names)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return names


def _check(args: argparse.Namespace) -> None:
    """End the command, as for any wrong argument, if options do not go together."""
    if args.to and (args.summary or args.json):
        args.error("--to writes a table: no --summary or --json with it")
    if args.columns and not args.to:
        args.error("--columns are those of a table: use --to")


def run(args: argparse.Namespace) -> int:
    """Read the files one after the other; an error in one does not stop the next from being read.

    Returns
    -------
    int
        Exit code: 0, or 1 if a file was bad or a required package is not installed.
    """
    _check(args)
    try:
        sink = _sink(args)
    except ImportError as error:
        complain(str(error))
        return 1
    bar = wanted(lines=not (args.summary or args.to))
    reading = _Reading(sink, count=args.count, filter=args.filter, bar=bar)
    try:
        for file in args.files:
            reading.read(file)
    finally:
        # After Ctrl-C, too: a summary then covers what was read so far.
        reading.end()
    return 1 if reading.failures else 0


class _Sink(Protocol):
    """Interface of the outputs. Every method may raise OutputError."""

    def add(self, batch: Batch, source: PcapSource) -> None: ...
    def end_file(self, source: PcapSource) -> None: ...
    def end(self) -> None: ...


def _sink(args: argparse.Namespace) -> _Sink:
    if args.summary:
        return Summary(as_json=args.json)
    if args.to:
        return Export(args.to, args.columns)
    return Lines(json_lines if args.json else text_lines)


class _Reading:
    """Copies the wanted packets of files to a sink, and collects the failures."""

    def __init__(self, sink: _Sink, *, count: int | None, filter: str | None, bar: bool) -> None:
        self._sink = sink
        self._filter = filter
        self._left = sys.maxsize if count is None else min(count, sys.maxsize)
        self._bar = bar
        self.failures: list[str] = []

    def read(self, file: str) -> None:
        """Copy the packets of a file to the sink, up to the number still wanted."""
        if not self._left:
            return
        with noting(file, self.failures), open_input(file, filter=self._filter) as source:
            try:
                for batch in batches_of(source, bar=self._bar, most=self._left):
                    self._left -= len(batch)
                    self._sink.add(batch, source)
            finally:
                self._sink.end_file(source)

    def end(self) -> None:
        """End the sink, which may write a summary, then write the failures."""
        try:
            self._sink.end()
        finally:
            tell(self.failures)
