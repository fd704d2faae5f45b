"""Where packets come from: a network interface of this host, or what a capture file says of one.

What the kernel knows of an interface is asked of rtnetlink(7), which answers for the network namespace of the
calling thread and takes an interface's index, so that a renamed one is still the same. (/sys shows the
namespace that it was mounted in; ioctls go by name.)

    nlmsghdr         ifinfomsg or ifaddrmsg   rtattr                         rtattr …
    16 bytes         16 or 8 bytes            size type value, 4-aligned
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, NamedTuple, overload

from slimcap.errors import LinkError, LinkNotFound
from slimcap.packet.types import NO_IP

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
    index, type, arphrd : int, optional
        The attributes; looked up if neither index nor type is given.

    Attributes
    ----------
    name : str
        Its name when it was looked up; of a classic pcap file, which has none, the file's.
    index : int
        The kernel's index of it; of a capture file's, that in the `interface` column.
    type : int
        Link type, the LINKTYPE_ number (draft-ietf-opsawg-pcaplinktype); 147, in whose packets no IP
        header is looked for, if the kernel's type has no counterpart here.
    arphrd : int or None
        Link type as the kernel numbers them (ARPHRD_ in linux/if_arp.h); None if a capture file said it.

    Raises
    ------
    LinkNotFound
        This network namespace has no interface of that name.
    """

    name: str
    index: int
    type: int
    arphrd: int | None

    @overload
    def __init__(self, name: str) -> None: ...
    @overload
    def __init__(self, name: str, index: int, type: int, arphrd: int | None = None) -> None: ...
    def __init__(
        self, name: str, index: int | None = None, type: int | None = None, arphrd: int | None = None
    ) -> None:
        if (index is None) != (type is None):
            raise TypeError("Link() takes a name, or a name, an index and a type")
        if index is None or type is None:
            found = _find(name)
            name, index, arphrd = found.name, found.ifindex, found.arphrd
            type = _type_of(found.arphrd)
        for attribute, value in (("name", name), ("index", index), ("type", type), ("arphrd", arphrd)):
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
        return bool(self._now().flags & _IFF_UP)

    @property
    def is_vlan(self) -> bool:
        """Whether it is a VLAN of another interface, so that its packets have lost their tag."""
        return self._now().kind == "vlan"

    @property
    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """Its IP addresses, each with its prefix length, in the order of `ip address`."""
        self._now()
        found = (_parse_address(message) for message in _dump(_RTM_GETADDR, bytes(8)))
        return tuple(address[1] for address in found if address is not None and address[0] == self.index)

    def _now(self) -> _Interface:
        """What the kernel says of it now."""
        if self.arphrd is None:
            raise LinkNotFound(
                errno.ENODEV,
                f"{self.name!r} is in a capture file: Link(name) looks up an interface of this host",
            )
        try:
            return _parse_interface(_ask(_RTM_GETLINK, struct.pack("=4xi8x", self.index))[0])
        except LinkError as error:
            raise _explained(error, f"{self.name!r} (index {self.index})") from None


def links() -> tuple[Link, ...]:
    """All interfaces of the calling thread's network namespace, in the order of their indices."""
    found = sorted(_parse_interface(message) for message in _dump(_RTM_GETLINK, bytes(16)))
    return tuple(Link(one.name, one.ifindex, _type_of(one.arphrd), one.arphrd) for one in found)


def _type_of(arphrd: int) -> int:
    return _TYPE_OF_ARPHRD.get(arphrd, UNKNOWN)


# ---- rtnetlink: numbers of linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, if.h

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST: Final = 1
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_DUMP: Final = 0x300
_RTM_GETLINK: Final = 18
_RTM_GETADDR: Final = 22
_IFLA_IFNAME: Final = 3
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFF_UP: Final = 1
_IFNAMSIZ: Final = 16  # with the NUL at its end

_NLMSGHDR: Final = struct.Struct("=IHHII")  # length with this header, type, flags, sequence number, port
_IFINFOMSG: Final = struct.Struct("=BxHiII")  # family, ARPHRD_, index, flags, mask
_IFADDRMSG: Final = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_RTATTR: Final = struct.Struct("=HH")  # length with this header, type


class _Interface(NamedTuple):
    """What RTM_GETLINK tells of an interface."""

    ifindex: int
    name: str
    arphrd: int
    flags: int
    kind: str  # the driver's name for what it made: vlan, veth, …; "" of hardware


def _find(name: str) -> _Interface:
    """The interface of that name."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an interface is a str, not {type(name).__name__}")
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = b""
    # No interface has another name (dev_valid_name); the kernel reads to a NUL and would find the wrong one.
    if not 0 < len(encoded) < _IFNAMSIZ or b"\0" in encoded:
        raise _explained(LinkError(errno.ENODEV, ""), repr(name))
    size = _RTATTR.size + len(encoded) + 1
    attribute = _RTATTR.pack(size, _IFLA_IFNAME) + encoded
    try:
        return _parse_interface(_ask(_RTM_GETLINK, bytes(16) + attribute.ljust(_aligned(size), b"\0"))[0])
    except LinkError as error:
        raise _explained(error, repr(name)) from None


def _explained(error: LinkError, name: str) -> LinkError:
    """The error with the interface's name and what to do."""
    if error.errno == errno.ENODEV:
        return LinkNotFound(
            errno.ENODEV,
            f"no interface {name} in this network namespace: `ip link` lists those there are",
        )
    return LinkError(error.errno, f"interface {name}: {error.strerror}")


def _parse_interface(message: bytes) -> _Interface:
    if len(message) < _IFINFOMSG.size:
        raise _nonsense()
    _, arphrd, index, flags, _ = _IFINFOMSG.unpack_from(message)
    attributes = _attributes(message[_IFINFOMSG.size :])
    info = _attributes(attributes.get(_IFLA_LINKINFO, b""))
    return _Interface(
        index, _text(attributes.get(_IFLA_IFNAME, b"")), arphrd, flags, _text(info.get(_IFLA_INFO_KIND, b""))
    )


def _parse_address(message: bytes) -> tuple[int, IPv4Interface | IPv6Interface] | None:
    """Index of the interface, and an address of it; None if it is not one of IP."""
    if len(message) < _IFADDRMSG.size:
        raise _nonsense()
    family, prefix, _, _, index = _IFADDRMSG.unpack_from(message)
    attributes = _attributes(message[_IFADDRMSG.size :])
    # On a point-to-point link IFA_ADDRESS is the other end's.
    address = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
    if family == socket.AF_INET and len(address) == 4 and prefix <= 32:
        return index, IPv4Interface((address, prefix))
    if family == socket.AF_INET6 and len(address) == 16 and prefix <= 128:
        return index, IPv6Interface((address, prefix))
    return None


def _attributes(data: bytes) -> dict[int, bytes]:
    """The values of attributes by their type; the last of each."""
    found = {}
    while len(data) >= _RTATTR.size:
        size, kind = _RTATTR.unpack_from(data)
        if not _RTATTR.size <= size <= len(data):
            raise _nonsense()
        found[kind & 0x3FFF] = data[_RTATTR.size : size]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        data = data[_aligned(size) :]
    return found


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and content of every message of a datagram."""
    while data:
        if len(data) < _NLMSGHDR.size:
            raise _nonsense()
        size, kind, flags, _, _ = _NLMSGHDR.unpack_from(data)
        if not _NLMSGHDR.size <= size <= len(data):
            raise _nonsense()
        yield kind, flags, data[_NLMSGHDR.size : size]
        data = data[_aligned(size) :]


def _ask(request: int, body: bytes) -> list[bytes]:
    """What the kernel answers to a request for one thing."""
    return _exchange(request, _NLM_F_REQUEST, body)[0]


def _dump(request: int, body: bytes) -> list[bytes]:
    """What the kernel answers to a request for all there are."""
    for _ in range(10):
        answers, whole = _exchange(request, _NLM_F_REQUEST | _NLM_F_DUMP, body)
        if whole:
            break
    return answers


def _exchange(request: int, flags: int, body: bytes) -> tuple[list[bytes], bool]:
    """What the kernel answers; False if there were changes meanwhile, so that something may be missing."""
    answers: list[bytes] = []
    whole = True
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.send(_NLMSGHDR.pack(_NLMSGHDR.size + len(body), request, flags, 1, 0) + body)
            while True:
                data, _, how, _ = netlink.recvmsg(1 << 16)
                if not data or how & socket.MSG_TRUNC:
                    raise _nonsense()
                for kind, answer_flags, message in _messages(data):
                    whole = whole and not answer_flags & _NLM_F_DUMP_INTR
                    if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                        code = -int.from_bytes(message[:4], sys.byteorder, signed=True)
                        if code > 0:
                            raise OSError(code, os.strerror(code))
                        if kind == _NLMSG_DONE:
                            return answers, whole
                        raise _nonsense()  # an acknowledgement, which was not asked for
                    answers.append(message)
                if not flags & _NLM_F_DUMP:
                    return answers, whole
    except LinkError:
        raise
    except OSError as error:
        raise LinkError(error.errno, f"rtnetlink: {error.strerror}") from error


def _nonsense() -> LinkError:
    return LinkError(errno.EBADMSG, "rtnetlink: the kernel's answer is cut short or makes no sense")


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
