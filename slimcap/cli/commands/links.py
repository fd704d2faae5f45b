"""`slimcap links`: list the interfaces to capture from."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from typing import Any, Final

from slimcap.cli.arguments import Commands, add_command
from slimcap.cli.terminal.streams import complain, printable, reason, write
from slimcap.errors import LinkNotFound
from slimcap.packet.link import Link
from slimcap.source.live.interfaces import links
from slimcap.source.live.packet_socket import PacketSocket

HELP: Final = """\
each interface's line: index, name, up or down, link type (of the packets that
are captured; a number if it has no name here, and then no IP is found in
them), IP addresses. If this user may not capture, standard error tells what
it takes.

With --json it is an object with index, name, up, vlan (whether it is a VLAN
of another interface), link_type, addresses (each with its prefix length), and
may_capture.

exit code:
  0    all is well
  1    the kernel does not tell
  2    wrong arguments
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap links`."""
    command = add_command(
        commands,
        "links",
        run,
        help="show the network interfaces",
        description="Show the interfaces of this network namespace, a line each.",
        epilog=HELP,
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """List the interfaces.

    Returns
    -------
    int
        Exit code: 0, or 1 if the interfaces could not be listed.
    """
    try:
        found = links()
        refusal = _refusal(found)
        rows = [row for link in found if (row := _row(link, may_capture=refusal is None)) is not None]
    except OSError as error:
        complain(reason(error))
        return 1
    write("".join(json.dumps(row) + "\n" for row in rows) if args.json else _table(rows))
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


def _row(link: Link, *, may_capture: bool) -> dict[str, Any] | None:
    """Return the values to show for an interface; None if it has disappeared meanwhile."""
    with suppress(LinkNotFound):
        return {
            "index": link.index,
            "name": link.name,
            "up": link.is_up,
            "vlan": link.is_vlan,
            "link_type": link.type_name,
            "addresses": [str(address) for address in link.addresses],
            "may_capture": may_capture,
        }
    return None


def _table(rows: list[dict[str, Any]]) -> str:
    """Format the interfaces as a table of minimal width."""
    cells = [
        (
            str(row["index"]),
            printable(row["name"]),
            "up" if row["up"] else "down",
            row["link_type"],
            " ".join(row["addresses"]),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in cells
    )
