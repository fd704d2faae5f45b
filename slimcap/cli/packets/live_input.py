"""Network interfaces as input of a command: options, opening, reading until it is stopped, totals."""

from __future__ import annotations

import argparse
import errno
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from slimcap.cli.arguments import add_count, add_filter, add_option, duration, mebibytes, number
from slimcap.cli.terminal.streams import printable
from slimcap.errors import CaptureUnblocked, LinkError
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.option_set import options_of
from slimcap.packet.batch import Batch
from slimcap.source.live.group.interfaces_source import InterfacesSource
from slimcap.source.live.interfaces import ANY, links
from slimcap.source.live.live_options import RingOptions
from slimcap.source.live.open_live import LiveCapture, open_live

OPTIONS: Final = options_of(RingOptions)
EXPOSED: Final[dict[str, dict[str, Any]]] = {
    "promiscuous": {"help": "capture packets to other hosts, too"},
    "direction": {"help": "capture packets received by this host, sent by it, or both (default)"},
    "netns": {
        "help": "capture in network namespace NETNS: a name of `ip netns`, or a path such as "
        "/proc/PID/ns/net",
        "metavar": "NETNS",
    },
    "snaplen": {"help": "truncate packets to BYTES", "metavar": "BYTES", "type": number(int, 1, MAX_SNAPLEN)},
    "buffer": {
        "help": "memory for packets until they are read (default: 64MiB)",
        "metavar": "SIZE",
        "type": mebibytes(1, 1 << 20),
    },
    "latency": {
        "help": "maximum delay of a packet (default: 0.02)",
        "metavar": "SECONDS",
        "type": number(float, 0.001, 3600),
    },
}
"""The options of the source that commands have under their own names, except `filter`."""

_PATTERN: Final = re.compile(r"[\w.@:-]*[*?][\w.@:*?-]*")  # unlike an expression, which has no such words


def add_live_input(command: argparse.ArgumentParser) -> None:
    """Add the interface, the expression, options of the source, --count and --duration."""
    command.usage = "%(prog)s [options] INTERFACE... [EXPRESSION ...]"
    add = command.add_argument
    add(
        "words",
        nargs="*",
        metavar="INTERFACE EXPRESSION",
        help="interfaces: names (see `slimcap links`), patterns such as 'eth*', or any for all, unless -i "
        "gives them; then an EXPRESSION of tcpdump",
    )
    add("-i", dest="interfaces", metavar="INTERFACE", action="append", help="an interface; repeatable")
    add_exclude(command)
    add_filter(command)
    add("--everything", action="store_true", help="capture packets other than IP, too, such as ARP")
    add_live_options(command)
    add_count(command, "capture", "-c")
    add("--duration", type=duration(0.001, 10**9), metavar="DURATION", help="end the capture after as long")


def read_words(args: argparse.Namespace) -> None:
    """Set `interfaces` and `filter` from the words of the command line, or end with its usage."""
    if args.interfaces is None:
        if not args.words:
            args.error("the following arguments are required: INTERFACE")
        args.interfaces = [args.words.pop(0)]
        while args.words and _is_interface(args.words[0], args.netns):
            args.interfaces.append(args.words.pop(0))
    if args.words:
        if args.filter is not None:
            args.error("an expression is given with --filter and as words: give one of them")
        args.filter = " ".join(args.words)


def _is_interface(word: str, netns: str | None) -> bool:
    """Return True for a word after the first interface that is one, too, and not part of an expression."""
    if word == ANY or _PATTERN.fullmatch(word):
        return True
    with suppress(LinkError, PermissionError):  # opening the first interface reports the latter
        return bool(links(word, netns=netns))
    return False


def open_live_input(args: argparse.Namespace) -> LiveCapture:
    """Open the interfaces with the options of the command line, after `read_words`."""
    return open_interfaces(
        args.interfaces,
        args.exclude,
        **live_options(args),
        auto_filter=not args.everything,
        reinsert_vlan=True,  # pcap cannot store the tag anywhere else, and its bytes were on the wire
    )


def open_interfaces(names: list[str], exclude: list[str], **options: Any) -> LiveCapture:
    """Open one interface, or several as one source."""
    for name in names:
        if name.startswith("!"):
            raise LinkError(errno.EINVAL, f"{name!r} is not an interface: exclude with --exclude {name[1:]}")
    if len(names) == 1 and not exclude:
        source: LiveCapture = open_live(names[0], **options)
        return source
    return open_live([*names, *(f"!{name}" for name in exclude)], **options)


def add_exclude(command: argparse._ActionsContainer) -> None:
    """Add the option --exclude."""
    command.add_argument(
        "--exclude",
        metavar="PATTERN",
        action="append",
        default=[],
        help="interfaces not to capture from, as 'docker*'; repeatable",
    )


def described(source: LiveCapture) -> str:
    """Return names and link types of the interfaces, for messages."""
    if not source.links:
        return "no interface yet"
    if len(source.links) == 1:
        return f"{printable(source.links[0].name)}, {source.links[0].type_name}"
    return ", ".join(f"{printable(link.name)} ({link.type_name})" for link in source.links)


def add_live_options(command: argparse._ActionsContainer) -> None:
    """Add the options of EXPOSED to a command, or to a group of its options."""
    for name, more in EXPOSED.items():
        add_option(command, name, OPTIONS[name], **more)


def live_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a live source that a command was given."""
    return {name: value for name, value in vars(args).items() if name in OPTIONS}


def live_batches(
    source: LiveCapture,
    meanwhile: Callable[[float], float],
    count: int | None = None,
    duration: float | None = None,
) -> Iterator[Batch | None]:
    """Yield batches until there are `count` packets, `duration` seconds pass, or the source is stopped.

    Before each read, `meanwhile` is called with the time of `time.monotonic`; it returns the time at which it
    has to be called again. If no packet comes until then, None is yielded.
    """
    left = sys.maxsize if count is None else min(count, sys.maxsize)
    end = math.inf if duration is None else time.monotonic() + duration
    while left:
        now = time.monotonic()
        due = meanwhile(now)
        if now >= end:
            end = math.inf
            source.stop()
        try:
            batch = source.next_batch(left, max(0, min(end, due) - now))
        except (TimeoutError, CaptureUnblocked):
            yield None
            continue
        except EOFError:
            return
        left -= len(batch)
        yield batch
        del batch


def live_totals(source: LiveCapture, captured: int) -> str:
    """Return the totals that tcpdump prints at the end, in its wording."""
    received, dropped, _ = source.total_stats
    # Counted as in libpcap (linux_if_drops): rx_dropped includes packets that no protocol accepts.
    lost = source.link_drops.rx_missed_errors + source.link_drops.rx_fifo_errors
    counts = [(captured, "captured"), (received, "received by filter"), (dropped, "dropped by kernel")]
    if lost:
        counts.append((lost, "dropped by interface"))
    lines = [f"{number} packet{'' if number == 1 else 's'} {what}\n" for number, what in counts]
    if isinstance(source, InterfacesSource) and len(source.links) > 1:
        for name, stats in source.stats_by_interface.items():
            found = f"{stats.packets_received} received by filter, {stats.packets_dropped} dropped by kernel"
            lines.append(f"  {printable(name)}: {found}\n")
    return "".join(lines)
