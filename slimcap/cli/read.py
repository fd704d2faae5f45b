"""`slimcap read`: capture files as lines, or as a summary."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import Final, Protocol

from slimcap.cli.arguments import Commands, add_command, count
from slimcap.cli.lines import Lines, json_lines, text_lines
from slimcap.cli.output import complain, reason
from slimcap.cli.progress import progress_bar, wanted
from slimcap.cli.summary import Summary
from slimcap.errors import FilterError, SlimcapError
from slimcap.packet.batch import Batch
from slimcap.source.files import open_file
from slimcap.source.pcapfile import PcapSource

HELP: Final = """\
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

In a summary, sizes are bytes on the wire, link-layer header included; first
and last are the earliest and the latest packet. With --json it is one object;
null is what it takes packets, or time between them, to tell.

Files that take long get a progress bar, if standard error is a terminal and
tqdm is installed (pip install 'slimcap[cli]'); but not if lines go to the
terminal or into a pipe, where a bar would be in the way.

exit code:
  0    all is well
  1    a file is bad: what comes before the bad place was shown, and so were
       the other files; or the filter is no filter for a file's link type
  2    wrong arguments
  130  Ctrl-C; a summary tells what was read so far
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add what `slimcap read` takes."""
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


def run(args: argparse.Namespace) -> int:
    """Read the files, one after the other; a bad one does not keep us from the next.

    Returns
    -------
    int
        Exit code: 0, or 1 if a file was bad.
    """
    bar = wanted(lines=not args.summary)
    reading = _Reading(_sink(args), count=args.count, filter=args.filter, bar=bar)
    try:
        for file in args.files:
            reading.read(file)
    finally:
        # Ctrl-C leads here, too: a summary tells what was read so far.
        reading.end()
    return 1 if reading.failures else 0


class _Sink(Protocol):
    """Where packets go. Every method may raise OutputError."""

    def add(self, batch: Batch, source: PcapSource) -> None: ...
    def end_file(self, source: PcapSource) -> None: ...
    def end(self) -> None: ...


def _sink(args: argparse.Namespace) -> _Sink:
    if args.summary:
        return Summary(as_json=args.json)
    return Lines(json_lines if args.json else text_lines)


class _Reading:
    """Takes the packets that are wanted from files to a sink, and keeps count of what went wrong."""

    def __init__(self, sink: _Sink, *, count: int | None, filter: str | None, bar: bool) -> None:
        self._sink = sink
        self._filter = filter
        self._left = sys.maxsize if count is None else min(count, sys.maxsize)
        self._bar = bar
        self.failures: list[str] = []

    def read(self, file: str) -> None:
        """Take a file's packets, all of them or as many as are still wanted."""
        if not self._left:
            return
        try:
            # If it was closed from the start, descriptor 0 may be anything by now.
            if file == "-" and sys.stdin is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "<stdin>")
            with open_file(file, filter=self._filter) as source:
                try:
                    self._pass_on(source)
                finally:
                    self._sink.end_file(source)
        except FilterError as error:  # for this link type; it may do for others
            self.failures.append(f"{file}: {error}")
        except (SlimcapError, OSError, ImportError) as error:
            self.failures.append(reason(error))

    def _pass_on(self, source: PcapSource) -> None:
        with progress_bar(source, shown=self._bar) as move:
            while self._left:
                try:
                    batch = source.next_batch(self._left)
                except EOFError:
                    return
                self._left -= len(batch)
                self._sink.add(batch, source)
                move()

    def end(self) -> None:
        """Write what is still to be said: a summary, then what went wrong."""
        try:
            self._sink.end()
        finally:
            for failure in self.failures:
                complain(failure)
