"""`slimcap links`: list the interfaces to capture from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from slimcap.cli.render.report_text import json_text
from slimcap.cli.terminal.streams import complain, printable, reason, rich_table, write
from slimcap.errors import LinkNotFound
from slimcap.packet.link import Link
from slimcap.source.live.host.net_namespace import inside
from slimcap.source.live.interfaces import links
from slimcap.source.live.packet_socket import PacketSocket

SUMMARY: Final = "list the network interfaces"
DETAILS: Final = """\
Each line shows the index, name, state, link type and IP addresses of an
interface. A link type without a name is shown as a number; no IP headers are
found in its packets. If capturing is not permitted, standard error says why.

With --json, each interface is an object with index, name, up, vlan (true if it
is a VLAN of another interface), link_type, addresses and may_capture.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap links`."""
    command.add_argument("--json", action="store_true", help="print a JSON object per line")
    help = "list those of network namespace NETNS: a name of `ip netns`, or a path such as /proc/PID/ns/net"
    command.add_argument("--netns", metavar="NETNS", help=help)


def run(args: argparse.Namespace) -> int:
    """List the interfaces; return 1 if they could not be listed."""
    try:
        found = links(netns=args.netns)
        refusal = inside(args.netns, lambda: _refusal(found))
        rows = list(_rows(found, may_capture=refusal is None))
    except (OSError, ValueError) as error:
        complain(reason(error))
        return 1
    write("".join(map(json_text, rows)) if args.json else _table(rows))
    if refusal is not None and not args.json:
        complain(refusal)
    return 0


def _refusal(found: tuple[Link, ...]) -> str | None:
    """Return the reason why this user may not capture; None if capturing is permitted."""
    try:
        for link in found[:1]:
            PacketSocket(link)  # receives nothing until it is bound
    except PermissionError as error:
        return error.strerror
    return None


def _rows(found: tuple[Link, ...], *, may_capture: bool) -> Iterator[dict[str, Any]]:
    """Yield the values to show for each interface, except for those that have disappeared meanwhile."""
    addresses = Link.addresses_of(found)
    for link in found:
        with suppress(LinkNotFound):
            yield {
                "index": link.index,
                "name": link.name,
                "up": link.is_up,
                "vlan": link.is_vlan,
                "link_type": link.type_name,
                "addresses": [str(address) for address in addresses[link]],
                "may_capture": may_capture,
            }


def _table(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        state = "up" if row["up"] else "down"
        cells.append([str(row["index"]), printable(row["name"]), state, row["link_type"]])
        cells[-1].append(" ".join(row["addresses"]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in cells)
    return rich_table(("index", "name", "state", "link type", "addresses"), cells) or "".join(lines)
