"""`slimcap top`: the busiest flows, hosts or ports of an interface, on the terminal or as text."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final

from slimcap.cli.arguments import number
from slimcap.cli.packets.live_input import (
    add_live_input,
    live_batches,
    live_totals,
    open_live_input,
    read_words,
)
from slimcap.cli.packets.top_counter import Snapshot, TopCounter
from slimcap.cli.packets.top_tables import FLOWS, HOSTS, PORTS, TopTables
from slimcap.cli.render.top_table import ORDERS, compact, heading, table_lines
from slimcap.cli.terminal.full_screen import FullScreen, is_possible
from slimcap.cli.terminal.signals import ended_by_signals
from slimcap.cli.terminal.streams import complain, printable, reason, say, write
from slimcap.errors import SlimcapError
from slimcap.source.live.open_live import LiveCapture

SUMMARY: Final = "show the busiest flows, hosts or ports of a network interface"
DETAILS: Final = """\
columns:
  bit/s, packets/s   rates in the last interval
  bytes, packets     counts since the start; bytes are those on the wire,
                     link-layer headers included, of both directions
  seconds            from the first to the last packet
  flow               initiator:port => other side:port and protocol; after a
                     minute without packets it is another flow
  host               an address, with what it sent and received
  port               protocol and port of the side that is not the initiator

keys: f, h, p show flows, hosts or ports; r, b, k sort by rate, bytes or
packets; space pauses the display, not the capture; Ctrl-Z suspends both;
q ends.

The first line has the rates of all packets, the packets dropped by the kernel,
and the counts of all packets since the start. Intervals start at multiples of
their length since 1970 (UTC); the first one is 0.5 to 1.5 times as long. Of
each kind, the 100,000 entries with the most bytes are kept. The sums of those
that are not are shown as "other".

Options, Ctrl-C, SIGTERM and the totals at the end are those of `slimcap
capture`, except that --snaplen is 256 by default: headers are enough. In pipes
and scripts use --batch.
"""

SNAPLEN: Final = 256  # bytes: all headers that are counted, but for long chains of extension headers
POLL: Final = 0.05  # seconds between two looks at keys and time

_KIND_KEYS: Final = {"f": FLOWS, "h": HOSTS, "p": PORTS}
_ORDER_KEYS: Final = {"r": "rate", "b": "bytes", "k": "packets"}
_HELP: Final = "f flows h hosts p ports   r rate b bytes k packets   space pause q quit"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap top`."""
    add_live_input(command)
    command.set_defaults(snaplen=SNAPLEN)
    add = command.add_argument
    add("--by", choices=tuple(_KIND_KEYS.values()), default=FLOWS, help="what to list (default: flows)")
    add("--sort", choices=tuple(ORDERS), default="rate", help="what to sort by (default: rate)")
    help = "length of an interval (default: 1)"
    add("--interval", type=number(float, 0.1, 3600), default=1.0, metavar="SECONDS", help=help)
    add("--batch", type=number(int, 1), metavar="N", help="print N snapshots as plain text, then end")
    help = "print at most N entries a snapshot (default: 20)"
    add("--rows", type=number(int, 1), default=20, metavar="N", help=help)


def run(args: argparse.Namespace) -> int:
    """Show tables until the end, then write the totals to standard error; return 1 if the source failed."""
    read_words(args)
    if args.batch is None and not is_possible():
        args.error("standard input and output have to be a terminal: use --batch N to print N snapshots")
    try:
        with open_live_input(args) as source:
            captured = (_show if args.batch is None else _print)(source, args)
            say(live_totals(source, captured))
    except (SlimcapError, OSError) as error:
        complain(reason(error))
        return 1
    return 0


def _print(source: LiveCapture, args: argparse.Namespace) -> int:
    """Print snapshots until there are enough; return the number of packets."""
    left: int = args.batch

    def show(snapshot: Snapshot) -> None:
        nonlocal left
        if left == 0:
            return
        lines = [_heading(snapshot, source), *table_lines(snapshot, args.by, args.sort, args.rows)]
        write("\n".join([*lines, "", ""]))
        left -= 1
        if left == 0:
            source.stop()

    with ended_by_signals(source):
        return _count(source, args, show, lambda: None)


def _show(source: LiveCapture, args: argparse.Namespace) -> int:
    """Show snapshots on the terminal until a key or a signal ends that; return the number of packets."""
    screen = FullScreen()
    with ended_by_signals(source, before_kill=screen.leave), screen:
        display = _Display(source, screen, args)
        return _count(source, args, display.show, display.poll)


def _count(
    source: LiveCapture, args: argparse.Namespace, show: Callable[[Snapshot], None], poll: Callable[[], None]
) -> int:
    """Count packets until the end, show each interval, and call `poll` meanwhile; return their number."""
    counter = TopCounter(args.interval, time.time_ns(), latency=source.latency)
    captured, due = 0, 0.0

    def meanwhile(now: float) -> float:
        nonlocal due
        if now >= due:
            poll()
            counter.advance(time.time_ns())
            if snapshot := counter.finished():
                show(snapshot)
            due = now + POLL
        return due

    try:
        for batch in live_batches(source, meanwhile, args.count, args.duration):
            if batch is not None:
                counter.add(batch)
                captured += len(batch)
            del batch  # it would keep its block from the kernel during the next read
        for snapshot in counter.end(time.time_ns()):
            show(snapshot)
    finally:
        counter.close()
    return captured


class _Display:
    """The screen: the last snapshot in the order that was asked for, drawn again when a key changes it."""

    def __init__(self, source: LiveCapture, screen: FullScreen, args: argparse.Namespace) -> None:
        self._source = source
        self._screen = screen
        self._kind: str = args.by
        self._order: str = args.sort
        self._paused = False
        self._latest = self._shown = Snapshot(TopTables().tables, args.interval, 0, 0)
        self._size = screen.size
        self._draw()

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot, or keep it for later during a pause."""
        self._latest = snapshot
        if not self._paused:
            self._draw()

    def poll(self) -> None:
        """React to keys, and to another size of the terminal."""
        keys = self._screen.keys()
        for key in keys:
            self._react(key)
        if keys or self._screen.size != self._size:
            self._draw()

    def _react(self, key: str) -> None:
        self._kind = _KIND_KEYS.get(key, self._kind)
        self._order = _ORDER_KEYS.get(key, self._order)
        if key == " ":
            self._paused = not self._paused
        elif key == "q":
            self._source.stop()

    def _draw(self) -> None:
        if not self._paused:
            self._shown = self._latest
        self._size = self._screen.size
        height = self._size.lines
        table = table_lines(self._shown, self._kind, self._order, max(1, height - 4), compact)
        lines = [_heading(self._shown, self._source), *table]
        last = f"paused   {_HELP}" if self._paused else _HELP
        # An "other" line takes the place of the last entry, and the keys are always in the last line.
        lines = lines[: height - 1] if len(lines) < height else [*lines[: height - 2], lines[-1]]
        self._screen.show([*lines, *[""] * (height - 1 - len(lines)), last], reverse=2)


def _heading(snapshot: Snapshot, source: LiveCapture) -> str:
    names = ", ".join(printable(link.name) for link in source.links)
    return heading(snapshot, names, source.total_stats.packets_dropped)
