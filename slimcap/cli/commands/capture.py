"""`slimcap capture`: show the packets of an interface as lines, or write them to a capture file."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Final, Protocol

from slimcap.cli.arguments import Commands, add_command, count, seconds
from slimcap.cli.render.lines import Lines, json_lines, text_lines
from slimcap.cli.terminal.progress import wanted
from slimcap.cli.terminal.signals import ended_by_signals
from slimcap.cli.terminal.status_line import StatusLine
from slimcap.cli.terminal.streams import complain, printable, reason, say, writing
from slimcap.errors import FilterError, SlimcapError
from slimcap.filter.program import check_snaplen
from slimcap.packet.batch import Batch
from slimcap.sink.open_writer import open_writer
from slimcap.source.live.live_source import LiveSource
from slimcap.source.live.open_live import open_live

SNAPLEN: Final = 262144

HELP: Final = """\
Lines, and objects of --json, are those of `slimcap read`. A capture file has
nanoseconds, and VLAN tags in their place; each packet is in it within about
10 ms. While it is written, a line on the terminal shows packets, rates and
drops, unless the file is standard output and a pipe or the terminal.

IP packets are captured, also behind VLAN tags and PPPoE; with --filter those
that match it, with --everything all. Expressions are those of tcpdump; see
pcap-filter(7). They need libpcap (Debian: apt install libpcap0.8).

The capture ends with Ctrl-C or SIGTERM, after the packets that came before; a
second one ends it at once. While the interface is down, it waits. Then
standard error has what tcpdump has there:
  captured              shown or written
  received by filter    passed the filter, whether or not they came through
  dropped by kernel     of those: lost, as they came faster than we took them
  dropped by interface  lost by the device before any filter; if there are any

exit code:
  0    all is well
  1    the capture cannot begin or go on, or its file cannot be written; what
       came before is in the file
  2    wrong arguments
  130  Ctrl-C, twice
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap capture`."""
    command = add_command(
        commands,
        "capture",
        run,
        help="capture packets of an interface",
        description="Show the packets of a network interface, or write them to a capture file.",
        epilog=HELP,
    )
    command.add_argument("interface", metavar="IFACE", help="a network interface; `slimcap links` shows them")
    command.add_argument("-n", dest="count", type=count, metavar="COUNT", help="stop after so many packets")
    command.add_argument("--duration", type=seconds, metavar="SECONDS", help="stop after so many seconds")
    output = command.add_mutually_exclusive_group()
    output.add_argument("-w", dest="file", metavar="FILE", help="write a pcap file; - is standard output")
    output.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument("--filter", metavar="EXPR", help="capture what matches a tcpdump expression")
    command.add_argument("--everything", action="store_true", help="capture what is not IP, too")
    command.add_argument(
        "--snaplen", type=_snaplen, default=SNAPLEN, metavar="BYTES", help="capture so much of a packet"
    )
    command.add_argument("--promiscuous", action="store_true", help="capture what is for other hosts, too")
    command.add_argument(
        "--direction",
        choices=("in", "out", "both"),
        default="both",
        help="capture what this host receives, what it sends, or both (default)",
    )


def _snaplen(text: str) -> int:
    try:
        return check_snaplen(int(text))
    except FilterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number of bytes is needed, not {text!r}") from None


def run(args: argparse.Namespace) -> int:
    """Capture until the end, and write the totals to standard error.

    Returns
    -------
    int
        Exit code: 0, or 1 if the source failed.
    """
    try:
        with (
            open_live(
                args.interface,
                snaplen=args.snaplen,
                promiscuous=args.promiscuous,
                filter=args.filter,
                auto_filter=not args.everything,
                reinsert_vlan=True,  # pcap cannot store the tag anywhere else
                direction=args.direction,
            ) as source,
            ended_by_signals(source),
        ):
            _capture(source, args)
    except (SlimcapError, OSError) as error:
        complain(reason(error))
        return 1
    return 0


class _Sink(Protocol):
    """Interface of the outputs. Every method may raise OutputError."""

    def add(self, batch: Batch) -> None: ...
    def close(self) -> None: ...


class _LineSink:
    """Lines on standard output, written as packets arrive."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def add(self, batch: Batch) -> None:
        self._lines.write(batch, "ns")

    def close(self) -> None:
        """Do nothing: all lines are already written."""


class _FileSink:
    """A capture file; an existing one is overwritten."""

    def __init__(self, file: str, link_type: int, snaplen: int) -> None:
        with writing():
            self._writer = open_writer(file, link_type, snaplen=snaplen)

    def add(self, batch: Batch) -> None:
        with writing():
            self._writer.write_batch(batch)

    def close(self) -> None:
        with writing():
            self._writer.close()


def _sink(args: argparse.Namespace, source: LiveSource) -> _Sink:
    if args.file is None:
        return _LineSink(Lines(json_lines if args.json else text_lines))
    return _FileSink(args.file, source.link.type, args.snaplen)


def _capture(source: LiveSource, args: argparse.Namespace) -> None:
    sink = _sink(args, source)
    complain(f"listening on {printable(source.link.name)}, {source.link.type_name}, snaplen {args.snaplen}")
    status = StatusLine(source, shown=wanted(lines=args.file in (None, "-")))
    capture = _Capture(source, sink, status, args.count, args.duration)
    try:
        capture.run()
    finally:
        try:
            sink.close()
        finally:
            status.erase()
            say(_totals(source, capture.packets))


class _Capture:
    """Copies packets from a source to a sink, up to a maximum number and duration (in seconds)."""

    def __init__(
        self, source: LiveSource, sink: _Sink, status: StatusLine, count: int | None, duration: float | None
    ) -> None:
        self._source = source
        self._sink = sink
        self._status = status
        self._most = sys.maxsize if count is None else min(count, sys.maxsize)
        self._end = math.inf if duration is None else time.monotonic() + duration
        self.packets = 0

    def run(self) -> None:
        """Capture until the number of packets is reached, the duration is over, or the source is stopped."""
        while self.packets < self._most:
            now = time.monotonic()
            self._status.refresh(now)
            if now >= self._end:
                self._end = math.inf
                self._source.stop()
            try:
                # A batch in a variable would keep its block from the kernel during the next read.
                self._pass_on(
                    self._source.next_batch(
                        self._most - self.packets, max(0, min(self._end, self._status.due) - now)
                    )
                )
            except TimeoutError:
                continue
            except EOFError:
                return

    def _pass_on(self, batch: Batch) -> None:
        self._sink.add(batch)
        self._status.add(batch)
        self.packets += len(batch)


def _totals(source: LiveSource, captured: int) -> str:
    """Return the totals that tcpdump prints at the end, in its wording."""
    received, dropped, _ = source.total_stats
    # Counted as in libpcap (linux_if_drops): rx_dropped includes packets that nobody wanted.
    lost = source.link_drops.rx_missed_errors + source.link_drops.rx_fifo_errors
    counts = [(captured, "captured"), (received, "received by filter"), (dropped, "dropped by kernel")]
    if lost:
        counts.append((lost, "dropped by interface"))
    return "".join(f"{number} packet{'' if number == 1 else 's'} {what}\n" for number, what in counts)
