"""The options of commands that select packets: an expression, and conditions on headers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from slimcap.cli.arguments import add_filter
from slimcap.filter.header_filter import HeaderFilter
from slimcap.filter.where_options import WhereOptions
from slimcap.option_set import Option, options_of

FILTER_DETAILS: Final = """\
--filter sees what tcpdump sees: "host", "net" and "port" match packets whose IP
header directly follows the link-layer header, not those with VLAN tags, MPLS
labels or PPPoE headers. The conditions on headers see what follows these, and
with --inner what is in tunnels. All conditions have to hold. One that is given
several times holds if one of its values matches. All packets of a host:
  slimcap convert in.pcap out.pcap --host 192.0.2.1
"""

_CONDITIONS: Final = {
    "host": ("ADDRESS", "source or destination address"),
    "net": ("NETWORK", "network of one of them, such as 192.0.2.0/24"),
    "port": ("PORT", "source or destination port, or a range: 8000-8100"),
    "protocol": ("PROTOCOL", "protocol above IP: a number, or a name such as tcp"),
    "flow": ("FLOW", "flow in either direction, as `slimcap read` prints it"),
    "community_id": ("ID", "Community ID, such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    "vlan": ("ID", "VLAN ID of the outermost or the second tag"),
}
"""Metavar and help of each condition."""


def add_conditions(command: argparse.ArgumentParser) -> None:
    """Add the option --filter, and one for each condition on headers."""
    add_filter(command)
    group = command.add_argument_group("conditions on headers")
    for name, option in options_of(WhereOptions).items():
        if name in _CONDITIONS:
            metavar, help = _CONDITIONS[name]
            checked = _checked(name, option)
            flag = f"--{name.replace('_', '-')}"
            group.add_argument(flag, action="append", type=checked, metavar=metavar, help=help)
    group.add_argument("--inner", action="store_true", help="use the headers of the innermost IP packet")
    help = "UDP ports of a tunnel, in place of the registered port: vxlan=4789,8472"
    group.add_argument("--tunnel-ports", action="append", type=_tunnel, metavar="TUNNEL=PORTS", help=help)


def _checked(name: str, option: Option) -> Callable[[str], str]:
    """Return a function that checks a value of a condition; for argparse's `type`."""

    def check(text: str) -> str:
        assert option.check is not None  # every condition has one
        try:
            option.check(name, text)
        except (TypeError, ValueError) as error:
            message = str(error).removeprefix(name).lstrip()  # argparse names the option
            raise argparse.ArgumentTypeError(message) from None
        return text

    return check


def _tunnel(text: str) -> tuple[str, list[int]]:
    """Parse the ports of a tunnel; for argparse's `type`."""
    name, _, ports = text.partition("=")
    try:
        numbers = [int(port) for port in ports.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not such as vxlan=4789,8472") from None
    try:
        HeaderFilter(host=[], tunnel_ports={name: numbers})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("tunnel_ports: ")) from None
    return name, numbers


def selection(args: argparse.Namespace, *, inner_columns: bool = False) -> dict[str, Any]:
    """Return the options of a source that select packets: `filter` and `where`.

    With `inner_columns`, --inner is accepted without a condition: header columns have it, too.
    """
    given = {name: getattr(args, name) for name in _CONDITIONS if getattr(args, name) is not None}
    if args.inner and not given and not inner_columns:
        args.error("--inner requires a condition on headers, such as --host")
    if args.tunnel_ports and not args.inner:
        args.error("--tunnel-ports requires --inner")
    where = HeaderFilter(**given, inner=args.inner, tunnel_ports=tunnel_ports(args)) if given else None
    return {"filter": args.filter, "where": where}


def tunnel_ports(args: argparse.Namespace) -> dict[str, list[int]] | None:
    """Return the ports of the tunnels for which they were given."""
    found: dict[str, list[int]] = {}
    for name, ports in args.tunnel_ports or ():
        found[name] = found.get(name, []) + ports
    return found or None
