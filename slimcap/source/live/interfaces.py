"""List the network interfaces of this host."""

from __future__ import annotations

from slimcap.packet.link import Link, link_type_of
from slimcap.source.live import rtnetlink


def links() -> tuple[Link, ...]:
    """Return all interfaces of the calling thread's network namespace, in the order of their indices.

    Returns
    -------
    tuple of Link

    Raises
    ------
    LinkError
        The kernel did not list the interfaces.

    Examples
    --------
    >>> "lo" in [link.name for link in slimcap.links()]
    True
    """
    found = rtnetlink.interfaces()
    return tuple(Link(one.name, one.ifindex, link_type_of(one.arphrd), one.arphrd) for one in found)
