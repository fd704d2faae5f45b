"""List the network interfaces of this host."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from slimcap.errors import wrong_type
from slimcap.packet.link import Link, link_of
from slimcap.source.live import rtnetlink


def links(names: str | Iterable[str] | None = None) -> tuple[Link, ...]:
    """Return interfaces of the calling thread's network namespace, in the order of their indices.

    Parameters
    ----------
    names : str or iterable of str, optional
        Names or alternative names, or patterns of them as ``"eth*"``, ``"veth?[0-9]"``. Default: all.

    Returns
    -------
    tuple of Link
        `Link.addresses_of` returns the IP addresses of all of them at once.

    Raises
    ------
    LinkNotFound
        There is no interface with one of the names. A pattern may match none.
    LinkError
        The kernel did not list the interfaces.

    Examples
    --------
    >>> "lo" in [link.name for link in slimcap.links()]
    True
    >>> [link.name for link in slimcap.links(["lo", "no-such*"])]
    ['lo']
    """
    wanted = None if names is None else _names(names)
    found = rtnetlink.interfaces()
    if wanted is None:
        return tuple(map(link_of, found))
    patterns = [name for name in wanted if any(letter in name for letter in "*?[")]
    named = {Link(name).index for name in wanted if name not in patterns}
    return tuple(
        link_of(interface)
        for interface in found
        if interface.ifindex in named
        or any(
            fnmatch.fnmatchcase(name, pattern)
            for name in (interface.name, *interface.other_names)
            for pattern in patterns
        )
    )


def _names(names: str | Iterable[str]) -> list[str]:
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable):
        raise wrong_type("names", "a str or an iterable of str", names)
    found = list(names)
    for name in found:
        if not isinstance(name, str):
            raise wrong_type("each of names", "a str", name)
    return found
