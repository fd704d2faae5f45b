"""`Link`: a network interface of this host, or one described in a capture file."""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, Final, TypeVar, overload

from slimcap.errors import LinkNotFound, in_range, wrong_type
from slimcap.packet.enums import LINK_TYPE_NAMES, NO_IP, LinkType

if TYPE_CHECKING:
    from collections.abc import Callable

    from slimcap.source.live import rtnetlink
    from slimcap.source.live.host.net_namespace import NetNamespace

# ARPHRD_ numbers (linux/if_arp.h), the kernel's link types. Packets of tunnels start with the IP header. On a
# packet socket so do those of PPP, because the kernel removes its header first (ppp_receive_nonmp_frame).
_TYPE_OF_ARPHRD: Final = {
    1: LinkType.ETHERNET,  # ETHER
    512: LinkType.RAW,  # PPP
    519: LinkType.RAW,  # RAWIP
    768: LinkType.RAW,  # TUNNEL
    769: LinkType.RAW,  # TUNNEL6
    772: LinkType.ETHERNET,  # LOOPBACK: its addresses are zero
    776: LinkType.RAW,  # SIT
    778: LinkType.RAW,  # IPGRE
    801: LinkType.IEEE802_11,
    803: LinkType.IEEE802_11_RADIOTAP,
    823: LinkType.RAW,  # IP6GRE
    824: LinkType.NETLINK,
    65534: LinkType.RAW,  # NONE: tun, wireguard
}

_IP_OFFSETS: Final[dict[int, int]] = {
    LinkType.NULL: 4,
    LinkType.ETHERNET: 14,
    LinkType.RAW_BSD: 0,
    LinkType.RAW_OPENBSD: 0,
    LinkType.RAW: 0,
    LinkType.LOOP: 4,
    LinkType.ENC: 12,
    LinkType.LINUX_SLL: 16,
    LinkType.IPNET: 24,
    LinkType.IPV4: 0,
    LinkType.IPV6: 0,
    LinkType.LINUX_SLL2: 20,
}


_Result = TypeVar("_Result")

_MAX_INDEX: Final = 0xFFFFFFFF
_MAX_TYPE: Final = 0xFFFFFFFF
_MAX_ARPHRD: Final = 0xFFFF


@dataclass(frozen=True, slots=True, init=False)
class Link:
    """A network interface of this host, or one described in a capture file.

    ``Link("eth0")`` looks up an interface of this host, in the network namespace of the calling thread, and
    ``Link("eth0", netns="blue")`` in another one. ``Link(name, index, type)`` describes an interface of a
    capture file, without a lookup.

    `is_up`, `is_vlan` and `addresses` query the kernel by the interface's index each time they are read. They
    raise `LinkNotFound` if the interface no longer exists, is one of a capture file, or was looked up in
    another network namespace without `netns`. Live sources accept a Link only while its name, index, link
    type and network namespace are those of the same interface.

    Parameters
    ----------
    name : str
        Name of the interface.
    index, type : int, optional
        See the attributes. Give both or neither; by default the interface is looked up by name.
    arphrd : int, optional
        See the attributes; set by a lookup, else None by default.
    description : str, default ""
        See the attributes.
    named : bool, default True
        See the attributes.
    netns : str, path-like or int, optional
        Network namespace to look the interface up in: a name, as listed by ``ip netns``; a path, such as
        ``"/proc/1234/ns/net"``; or the identifier of a process. Only for a lookup by name. Default: that of
        the calling thread.

    Attributes
    ----------
    name : str
        Name of the interface, when it was looked up or as given in the capture file.
    index : int
        The kernel's interface index; for an interface of a capture file, its number in column `interface`.
    type : LinkType or int
        Link type; an int if the LINKTYPE_ number has no name in `LinkType`. It is USER0 if the kernel's link
        type is not supported: no IP header is searched for in such packets.
    arphrd : int or None
        The kernel's link type (ARPHRD_ in linux/if_arp.h); None for an interface of a capture file.
    description : str
        Description from a pcapng file; "" if there is none.
    named : bool
        False if the capture file gives the interface no name: `name` is then the description, or the name of
        the file.
    namespace : int
        A number for the network namespace of the lookup; 0 if it is not known. It is not compared.
    netns : str, int or None
        The network namespace as given: the properties and live sources look for the interface there. If it
        has become another namespace since, they raise LinkNotFound.

    Raises
    ------
    LinkNotFound
        The network namespace has no interface with that name, or does not exist.
    LinkError
        `netns` is not a network namespace.
    PermissionError
        Entering the network namespace requires CAP_SYS_ADMIN.
    TypeError
        Only one of `index` and `type` is given, or `netns` without a lookup.

    Examples
    --------
    >>> slimcap.Link("eth0", index=0, type=1).type_name
    'ETHERNET'
    """

    name: str
    index: int
    type: int
    arphrd: int | None
    description: str = field(repr=False)
    named: bool = field(repr=False)
    namespace: int = field(init=False, repr=False, compare=False)
    netns: str | int | None = field(init=False, repr=False)

    @overload
    def __init__(self, name: str, *, netns: NetNamespace | None = None) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        index: int,
        type: int,
        arphrd: int | None = None,
        description: str = "",
        named: bool = True,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        index: int | None = None,
        type: int | None = None,
        arphrd: int | None = None,
        description: str = "",
        named: bool = True,
        *,
        netns: NetNamespace | None = None,
    ) -> None:
        if (index is None) != (type is None):
            raise TypeError("Link() requires a name, or a name, an index and a type")
        if not isinstance(name, str):
            raise wrong_type("name", "a str", name)
        namespace, entered = 0, None
        if index is None or type is None:
            from slimcap.source.live import rtnetlink
            from slimcap.source.live.host.net_namespace import check_net_namespace, inside

            entered = check_net_namespace("netns", netns)
            found = inside(entered, lambda: rtnetlink.find(name))
            name, index, arphrd, namespace = found.name, found.ifindex, found.arphrd, found.namespace
            type = link_type_of(found.arphrd)
        elif netns is not None:
            raise TypeError("netns is for a lookup by name: Link(name, netns=…)")
        if not isinstance(description, str):
            raise wrong_type("description", "a str", description)
        if arphrd is not None:
            arphrd = in_range("arphrd", arphrd, 0, _MAX_ARPHRD)
        index = in_range("index", index, 0, _MAX_INDEX)
        type = LinkType.of(in_range("type", type, 0, _MAX_TYPE))
        values = (name, index, type, arphrd, description, named, namespace, entered)
        for attribute, value in zip(Link.__slots__, values, strict=True):
            object.__setattr__(self, attribute, value)

    @property
    def type_name(self) -> str:
        """Name of the link type without LINKTYPE_, such as "ETHERNET"; its number as text if it has none."""
        if isinstance(self.type, LinkType):
            return self.type.name
        return LINK_TYPE_NAMES.get(self.type, str(self.type))

    @property
    def ip_offset(self) -> int:
        """Offset of the IP header in an untagged packet, in bytes; `NO_IP` if it is not fixed."""
        return _IP_OFFSETS.get(self.type, NO_IP)

    @property
    def is_up(self) -> bool:
        """True if the interface is administratively up (IFF_UP); it may still have no carrier."""
        return self._query().is_up

    @property
    def is_vlan(self) -> bool:
        """True if this is a VLAN interface on top of another one: its packets come without their tag."""
        return self._query().kind == "vlan"

    @property
    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """IP addresses of the interface with their prefix lengths, in the order of `ip address`."""
        from slimcap.source.live import rtnetlink

        return self._there(lambda: rtnetlink.addresses(self._found().ifindex))

    @staticmethod
    def addresses_of(links: Iterable[Link]) -> dict[Link, tuple[IPv4Interface | IPv6Interface, ...]]:
        """Return the IP addresses of several interfaces, asked for once in each network namespace.

        Parameters
        ----------
        links : iterable of Link
            The interfaces, as returned by `slimcap.links`. One that no longer exists, or of a
            capture file, has no addresses.

        Returns
        -------
        dict
            The addresses of each, as in `addresses`, which asks once for each interface.

        Raises
        ------
        LinkError
            The kernel did not list the addresses.

        Examples
        --------
        >>> len(slimcap.Link.addresses_of(slimcap.links("lo")))
        1
        """
        if not isinstance(links, Iterable):
            raise wrong_type("links", "an iterable of Link", links)
        wanted = list(links)
        for link in wanted:
            if not isinstance(link, Link):
                raise wrong_type("each of links", "a Link", link)
        # The links of a capture file have numbers of their own.
        found: dict[Link, tuple[IPv4Interface | IPv6Interface, ...]] = dict.fromkeys(wanted, ())
        on_host = [link for link in wanted if link.arphrd is not None]
        for netns in dict.fromkeys(link.netns for link in on_host):
            here = [link for link in on_host if link.netns == netns]
            found |= here[0]._there(functools.partial(_addresses_of, here))
        return found

    def _there(self, call: Callable[[], _Result]) -> _Result:
        """Make a call in the network namespace that was given for the lookup."""
        from slimcap.source.live.host.net_namespace import inside

        return inside(self.netns, call)

    def _query(self) -> rtnetlink.Interface:
        """Query the kernel for the interface's current state."""
        return self._there(self._found)

    def _found(self) -> rtnetlink.Interface:
        """Do the same as `_query` in the namespace that the calling thread is in."""
        if self.arphrd is None:
            raise LinkNotFound(
                errno.ENODEV,
                f"{self.name!r} is an interface of a capture file: use Link(name) for one of this host",
            )
        from slimcap.source.live import rtnetlink

        rtnetlink.check_namespace(self.name, self.index, self.namespace)
        return rtnetlink.by_index(self.index, self.name)


def _addresses_of(links: Iterable[Link]) -> dict[Link, tuple[IPv4Interface | IPv6Interface, ...]]:
    """Return the IP addresses of interfaces of the calling thread's network namespace."""
    from slimcap.source.live import rtnetlink

    for link in links:
        rtnetlink.check_namespace(link.name, link.index, link.namespace)
    found = rtnetlink.all_addresses()
    return {link: tuple(found.get(link.index, ())) for link in links}


def link_of(interface: rtnetlink.Interface, netns: str | int | None = None) -> Link:
    """Return the Link for an interface of this host, found in the network namespace `netns`."""
    link = Link(interface.name, interface.ifindex, link_type_of(interface.arphrd), interface.arphrd)
    object.__setattr__(link, "namespace", interface.namespace)
    object.__setattr__(link, "netns", netns)
    return link


def link_type_of(arphrd: int) -> LinkType:
    """Return the link type for an ARPHRD_ number; USER0 if it is not supported."""
    return _TYPE_OF_ARPHRD.get(arphrd, LinkType.USER0)
