"""Where packets come from: a network interface of this host, or what a capture file says of one."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, Final, overload

from slimcap.errors import LinkNotFound
from slimcap.packet.enums import NO_IP

if TYPE_CHECKING:
    from slimcap.source.live import rtnetlink

ETHERNET: Final = 1
RAW: Final = 101
UNKNOWN: Final = 147  # USER0

_TYPE_NAMES: Final = {
    0: "NULL",
    ETHERNET: "ETHERNET",
    9: "PPP",
    12: "RAW",
    14: "RAW",
    50: "PPP_HDLC",
    51: "PPP_ETHER",
    RAW: "RAW",
    104: "C_HDLC",
    105: "IEEE802_11",
    108: "LOOP",
    113: "LINUX_SLL",
    127: "IEEE802_11_RADIOTAP",
    228: "IPV4",
    229: "IPV6",
    231: "DBUS",
    253: "NETLINK",
    276: "LINUX_SLL2",
}

# linux/if_arp.h: what a device says its packets start with. Those of tunnels start with the IP header, and so
# do those of PPP, for a packet socket: the kernel takes its header off before (ppp_receive_nonmp_frame).
_TYPE_OF_ARPHRD: Final = {
    1: ETHERNET,  # ETHER
    512: RAW,  # PPP
    519: RAW,  # RAWIP
    768: RAW,  # TUNNEL
    769: RAW,  # TUNNEL6
    772: ETHERNET,  # LOOPBACK: its addresses are zero
    776: RAW,  # SIT
    778: RAW,  # IPGRE
    801: 105,  # IEEE80211
    803: 127,  # IEEE80211_RADIOTAP
    823: RAW,  # IP6GRE
    824: 253,  # NETLINK
    65534: RAW,  # NONE: tun, wireguard
}

_IP_OFFSETS: Final = {0: 4, ETHERNET: 14, 12: 0, 14: 0, RAW: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}


@dataclass(frozen=True, slots=True, init=False)
class Link:
    """An interface that packets are captured on.

    ``Link("eth0")`` looks up an interface of this host, in the network namespace of the calling thread.
    ``Link(name, index, type)`` looks nothing up: it is what a capture file says of an interface.

    `is_up`, `is_vlan` and `addresses` ask the kernel whenever they are read, by the interface's index. They
    raise `LinkNotFound` when the interface is gone, and for one that only a capture file knows.

    Parameters
    ----------
    name : str
        Name of the interface.
    index, type, arphrd, description, named : int, str and bool, optional
        The attributes; looked up if neither index nor type is given.

    Attributes
    ----------
    name : str
        Its name when it was looked up, or as a capture file has it.
    index : int
        The kernel's index of it; of a capture file's, that in the `interface` column.
    type : int
        Link type, the LINKTYPE_ number (draft-ietf-opsawg-pcaplinktype); 147, in whose packets no IP
        header is looked for, if the kernel's type has no counterpart here.
    arphrd : int or None
        Link type as the kernel numbers them (ARPHRD_ in linux/if_arp.h); None if a capture file said it.
    description : str
        What a pcapng file says of it besides its name; else empty.
    named : bool
        Whether `name` is the interface's own. A capture file may have none: then it is the description, or
        the file's name.

    Raises
    ------
    LinkNotFound
        This network namespace has no interface of that name.
    """

    name: str
    index: int
    type: int
    arphrd: int | None
    description: str = field(repr=False)
    named: bool = field(repr=False)

    @overload
    def __init__(self, name: str) -> None: ...
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
    ) -> None:
        if (index is None) != (type is None):
            raise TypeError("Link() takes a name, or a name, an index and a type")
        if index is None or type is None:
            from slimcap.source.live import rtnetlink

            found = rtnetlink.find(name)
            name, index, arphrd = found.name, found.ifindex, found.arphrd
            type = link_type_of(found.arphrd)
        values = (name, index, type, arphrd, description, named)
        for attribute, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, attribute, value)

    @property
    def type_name(self) -> str:
        """Name of the link type; its number if it has no name here."""
        return _TYPE_NAMES.get(self.type, str(self.type))

    @property
    def ip_offset(self) -> int:
        """Where the IP header starts in a packet without tags; `NO_IP` if there is no telling."""
        return _IP_OFFSETS.get(self.type, NO_IP)

    @property
    def is_up(self) -> bool:
        """Whether it is set up (IFF_UP). A cable may still be missing."""
        return self._now().is_up

    @property
    def is_vlan(self) -> bool:
        """Whether it is a VLAN of another interface, so that its packets have lost their tag."""
        return self._now().kind == "vlan"

    @property
    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """Its IP addresses, each with its prefix length, in the order of `ip address`."""
        from slimcap.source.live import rtnetlink

        self._now()
        return rtnetlink.addresses(self.index)

    def _now(self) -> rtnetlink.Interface:
        """What the kernel says of it now."""
        if self.arphrd is None:
            raise LinkNotFound(
                errno.ENODEV,
                f"{self.name!r} is in a capture file: Link(name) looks up an interface of this host",
            )
        from slimcap.source.live import rtnetlink

        return rtnetlink.by_index(self.index, self.name)


def link_type_of(arphrd: int) -> int:
    """Return the LINKTYPE_ number for an ARPHRD_ number; 147 if it has no counterpart here."""
    return _TYPE_OF_ARPHRD.get(arphrd, UNKNOWN)
