"""The option `tunnel_ports` of `Batch.headers`: which UDP ports belong to which tunnel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from slimcap.errors import in_range, nearest, wrong_type

PORTS: Final = 65536


def parse(given: object, tunnels: Mapping[str, tuple[int, int]]) -> bytes | None:
    """Return the table of all ports, or None for the default ports.

    Parameters
    ----------
    given : mapping of str to iterable of int, or None
        Ports of each tunnel named, in place of its default port.
    tunnels : mapping of str to (int, int)
        For the name of each tunnel its number in the table, and its default port.

    Returns
    -------
    bytes or None
        For each of the 65,536 ports the number of its tunnel, 0 if it has none.

    Raises
    ------
    TypeError
        `given` is not a mapping of names to iterables of numbers.
    ValueError
        A tunnel does not exist, a port is not 1 to 65535, or two tunnels have the same port.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise wrong_type("tunnel_ports", "a mapping of tunnels to lists of ports", given)
    for name in given:
        if name not in tunnels:
            similar = nearest(name, tunnels)
            hint = f"did you mean {similar!r}?" if similar else f"use any of {', '.join(tunnels)}"
            raise ValueError(f"tunnel_ports: {name!r} is not a tunnel over UDP: {hint}")
    owners: dict[int, str] = {}
    for name, (_, default) in tunnels.items():
        for port in _ports_of(name, given[name]) if name in given else [default]:
            if owners.setdefault(port, name) != name:
                raise ValueError(
                    f"tunnel_ports: UDP port {port} cannot be that of both {owners[port]!r} and {name!r}: "
                    f"give {owners[port]!r} other ports, or none ([])"
                )
    table = bytearray(PORTS)
    for port, name in owners.items():
        table[port] = tunnels[name][0]
    return bytes(table)


def fixed_ports(given: object) -> object:
    """Return a mapping of tunnels to ports as it is now, to be parsed again and again; else `given`."""
    if not isinstance(given, Mapping):
        return given
    return {
        name: tuple(ports) if isinstance(ports, Iterable) and not isinstance(ports, (str, bytes)) else ports
        for name, ports in given.items()
    }


def _ports_of(name: str, given: object) -> Iterable[int]:
    """Yield the ports of one tunnel."""
    label = f"tunnel_ports[{name!r}]"
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise wrong_type(label, "a list of ports", given)
    for port in given:
        yield in_range(f"a port of {label}", port, 1, PORTS - 1)
