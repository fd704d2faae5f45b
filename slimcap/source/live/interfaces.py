"""List the network interfaces of this host, and choose some by name or pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Final

from slimcap.errors import wrong_type
from slimcap.packet.link import Link, link_of
from slimcap.source.live import rtnetlink
from slimcap.source.live.host.net_namespace import NetNamespace, check_net_namespace, inside

ANY: Final = "any"
"""The name that stands for all interfaces."""


def links(names: str | Iterable[str] | None = None, *, netns: NetNamespace | None = None) -> tuple[Link, ...]:
    """Return interfaces of a network namespace, in the order of their indices.

    Parameters
    ----------
    names : str or iterable of str, optional
        Names or alternative names, or patterns of them as ``"eth*"``, ``"veth?[0-9]"``. Default: all.
    netns : str, path-like or int, optional
        The network namespace, as for `Link`. Default: that of the calling thread.

    Returns
    -------
    tuple of Link
        `Link.addresses_of` returns the IP addresses of all of them at once.

    Raises
    ------
    LinkNotFound
        There is no interface with one of the names, or no such namespace. A pattern may match none.
    LinkError
        The kernel did not list the interfaces, or `netns` is not a network namespace.
    PermissionError
        Entering the network namespace requires CAP_SYS_ADMIN.

    Examples
    --------
    >>> "lo" in [link.name for link in slimcap.links()]
    True
    >>> [link.name for link in slimcap.links(["lo", "no-such*"])]
    ['lo']
    """
    wanted = None if names is None else _names(names)
    there = check_net_namespace("netns", netns)
    return tuple(link_of(interface, there) for interface in inside(there, lambda: _selected(wanted)))


def _selected(names: list[str] | None) -> list[rtnetlink.Interface]:
    """Return the interfaces of the calling thread's network namespace with these names or patterns."""
    found = rtnetlink.interfaces()
    if names is None:
        return found
    patterns = [name for name in names if is_pattern(name)]
    named = {rtnetlink.find(name).ifindex for name in names if name not in patterns}
    return [one for one in found if one.ifindex in named or _matches(one, patterns)]


class InterfaceChoice:
    """Some of the interfaces of a host, those that exist now and those to come.

    Parameters
    ----------
    names : str, Link or iterable of them
        Names and patterns, as for `links`; "any" stands for all. One that starts with "!" excludes.

    Raises
    ------
    TypeError
        An item is neither a str nor a Link.
    ValueError
        There is no name, or only excluded ones.
    """

    def __init__(self, names: str | Link | Iterable[str | Link]) -> None:
        given = [names] if isinstance(names, (str, Link)) else names
        if not isinstance(given, Iterable) or isinstance(given, (bytes, bytearray)):
            raise wrong_type("interfaces", "a str, a Link or an iterable of them", names)
        self.links = []
        self.names, self._patterns, self._excluded = [], [], []
        for one in given:
            if isinstance(one, Link):
                self.links.append(one)
            elif not isinstance(one, str):
                raise wrong_type("each of interfaces", "a str or a Link", one)
            elif one.startswith("!"):
                self._excluded.append(one[1:])
            elif one == ANY or is_pattern(one):
                self._patterns.append("*" if one == ANY else one)
            else:
                self.names.append(one)
        self.names += [link.name for link in self.links]
        if not self.names and not self._patterns:
            raise ValueError('no interface is named: give names, patterns as "eth*", or "any"')

    def netns(self, given: str | int | None) -> str | int | None:
        """Return the network namespace of all interfaces: the option's, or else that of the Links."""
        if given is not None:
            return given
        found = {link.netns for link in self.links}
        if found <= {None}:
            return None
        if len(found) > 1 or len(self.links) < len(self.names) or self._patterns:
            raise ValueError("the Links are of several network namespaces, or are not all: give `netns`")
        return found.pop()

    def has(self, interface: rtnetlink.Interface) -> bool:
        """Return True for an interface that is chosen. One that is named is, even if it is excluded."""
        if any(name in self.names for name in (interface.name, *interface.other_names)):
            return True
        return _matches(interface, self._patterns) and not _matches(interface, self._excluded)


def is_pattern(name: str) -> bool:
    """Return True for a pattern of names, False for a name, and for what no interface can be called."""
    return any(letter in name for letter in "*?[") and name.isprintable() and not set(" /") & set(name)


def are_several(interfaces: object) -> bool:
    """Return True if interfaces are given that may be several, or may come and go."""
    if isinstance(interfaces, str):
        return interfaces == ANY or is_pattern(interfaces) or interfaces.startswith("!")
    return isinstance(interfaces, Iterable)


def _matches(interface: rtnetlink.Interface, patterns: list[str]) -> bool:
    """Return True if a name of an interface is, or matches, one of the patterns."""
    names = (interface.name, *interface.other_names)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


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
