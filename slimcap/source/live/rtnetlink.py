"""Query network interfaces with rtnetlink(7).

rtnetlink answers for the network namespace of the thread that opened the socket. It accepts an interface's
index, so that a renamed interface is still the same. (/sys shows the namespace that it was mounted in; ioctls
need the name.)

    nlmsghdr         ifinfomsg or ifaddrmsg   rtattr                         rtattr …
    16 bytes         16 or 8 bytes            size type value, 4-aligned
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, NamedTuple

from slimcap.errors import LinkError, LinkGone, LinkNotFound
from slimcap.io.owner import Owner

# Constants of linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, if.h.
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST: Final = 1
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_DUMP: Final = 0x300
_RTM_GETLINK: Final = 18
_RTMGRP_LINK: Final = 1
_RTM_GETADDR: Final = 22
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_LINKINFO: Final = 18
_IFLA_STATS64: Final = 23
_IFLA_NUM_RX_QUEUES: Final = 32
_IFLA_INFO_KIND: Final = 1
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
IFF_UP: Final = 1
_IFF_LOOPBACK: Final = 8
_IFF_LOWER_UP: Final = 0x10000
_IFNAMSIZ: Final = 16  # with the terminating NUL
_ALTIFNAMSIZ: Final = 128
_IFLA_PROP_LIST: Final = 52
_IFLA_ALT_IFNAME: Final = 53
_SO_NETNS_COOKIE: Final = 71  # asm-generic/socket.h, Linux 5.14

_NLMSGHDR: Final = struct.Struct("=IHHII")  # length with this header, type, flags, sequence number, port
_IFINFOMSG: Final = struct.Struct("=BxHiII")  # family, ARPHRD_, index, flags, mask
_IFADDRMSG: Final = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_RTATTR: Final = struct.Struct("=HH")  # length with this header, type
# rtnl_link_stats64: rx_packets, tx_packets, rx_dropped, tx_dropped, rx_fifo_errors, rx_missed_errors
_STATS: Final = struct.Struct("=QQ32xQQ48xQQ")
_NUMBER: Final = struct.Struct("=I")


class Interface(NamedTuple):
    """An interface as described by RTM_GETLINK."""

    ifindex: int
    name: str
    arphrd: int
    flags: int
    kind: str  # kind of a virtual interface: vlan, veth, …; "" for hardware
    namespace: int = 0  # its network namespace, a number that is not used again; 0: not known
    other_names: tuple[str, ...] = ()  # alternative names

    @property
    def is_up(self) -> bool:
        return bool(self.flags & IFF_UP)


class LinkDrops(NamedTuple):
    """Packets that an interface lost before any socket could receive them.

    The driver counts them. The names are those of /sys/class/net/*/statistics; rtnl_link_stats64 in
    linux/if_link.h explains them.

    Attributes
    ----------
    rx_dropped : int
        Packets received but not processed: no memory, or no user of such packets.
    rx_fifo_errors, rx_missed_errors : int
        Packets lost by the device because its buffers were full.

    Examples
    --------
    >>> LinkDrops(1, 0, 2).rx_missed_errors
    2
    """

    rx_dropped: int
    rx_fifo_errors: int
    rx_missed_errors: int


class LinkCounters(NamedTuple):
    """Counters of an interface (rtnl_link_stats64), in packets."""

    rx_packets: int
    tx_packets: int
    tx_dropped: int
    drops: LinkDrops


class LinkState(NamedTuple):
    """State of an interface, and its counters since it exists."""

    is_up: bool
    has_carrier: bool
    is_loopback: bool
    mtu: int  # 0: not known
    rx_queues: int  # receive queues; 0: not known
    counters: LinkCounters


class LinkCounter:
    """Counts the packets of an interface since the counter was made.

    It reads them in the network namespace of the thread that made it.

    Parameters
    ----------
    index : int
        Index of the interface.

    Raises
    ------
    LinkError
        The interface does not exist.
    """

    def __init__(self, index: int) -> None:
        self._owner = Owner()
        self._index = index
        self._socket = _open()
        self._lock = threading.RLock()  # a signal handler may read within `read`
        self._is_current = True  # the last request was answered
        self._is_closed = False
        try:
            self._first = self._last = _counters(self._request())
        except BaseException:
            self._socket.close()
            raise

    def _request(self) -> bytes:
        return _request(_RTM_GETLINK, struct.pack("=4xi8x", self._index), self._socket)[0]

    def _read(self) -> LinkCounters:
        """Return the packets so far.

        Those read last, if the interface is gone, the counter is closed, or another process made it.
        """
        if self._owner.is_here():
            with self._lock:
                if not self._is_closed:
                    self._is_current = False
                    with contextlib.suppress(OSError):
                        self._last = _counters(self._request())
                        self._is_current = True
        now, first = self._last, self._first
        drops = LinkDrops(*(later - then for later, then in zip(now.drops, first.drops, strict=True)))
        received, sent = now.rx_packets - first.rx_packets, now.tx_packets - first.tx_packets
        return LinkCounters(received, sent, now.tx_dropped - first.tx_dropped, drops)

    def read(self) -> LinkDrops:
        """Return the drops so far; those read last, if they cannot be read any more."""
        return self._read().drops

    def read_all(self) -> LinkCounters | None:
        """Return the packets so far, or until the counter was closed; None if they could not be read then."""
        found = self._read()
        return found if self._is_current and self._owner.is_here() else None

    def close(self) -> None:
        """Read the counters for the last time, and close the socket."""
        self._read()
        if self._owner.is_here():
            with self._lock:
                self._is_closed = True
                self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()


def find(name: str) -> Interface:
    """Return the interface with this name; raise LinkNotFound if there is none."""
    if not isinstance(name, str):
        raise TypeError(f"an interface name must be a str, not {type(name).__name__}")
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = b""
    # No other name is valid (dev_valid_name); the kernel reads up to a NUL and could find another interface.
    if not 0 < len(encoded) < _ALTIFNAMSIZ or b"\0" in encoded:
        raise _with_advice(LinkError(errno.ENODEV, ""), repr(name))
    size = _RTATTR.size + len(encoded) + 1
    kind = _IFLA_IFNAME if len(encoded) < _IFNAMSIZ else _IFLA_ALT_IFNAME  # only these may be longer
    attribute = _RTATTR.pack(size, kind) + encoded
    try:
        with _open() as netlink:
            body = bytes(16) + attribute.ljust(_aligned(size), b"\0")
            return _parse_interface(_request(_RTM_GETLINK, body, netlink)[0], _namespace_of(netlink))
    except LinkError as error:
        raise _with_advice(error, repr(name)) from None


def namespace() -> int:
    """Return a number for the network namespace of the calling thread; 0 if the kernel has none.

    Unlike the inode number of /proc/thread-self/ns/net, it is not used again until the host restarts.
    """
    with _open() as netlink:
        return _namespace_of(netlink)


def _namespace_of(netlink: socket.socket) -> int:
    try:
        return int.from_bytes(netlink.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
    except OSError:  # before Linux 5.14
        with contextlib.suppress(OSError):  # /proc may not be mounted
            return os.stat("/proc/thread-self/ns/net").st_ino
        return 0


def check_namespace(name: str, index: int, known: int) -> None:
    """Raise LinkNotFound if an interface was looked up in another network namespace; 0: it is not known."""
    if known and known != namespace():
        raise LinkNotFound(
            errno.ENODEV,
            f"interface {name!r} (index {index}) was looked up in another network namespace: use it there, "
            f"or look up Link({name!r}) in this one",
        )


def check(name: str, index: int, arphrd: int | None, known: int) -> None:
    """Raise an exception if these are not those of one interface of this network namespace.

    An interface keeps its index for life, but after it another one may have it, and names change hands.

    Parameters
    ----------
    name : str
        Name or alternative name.
    index : int
        Index.
    arphrd : int or None
        Link type; None: not known, because the interface was not looked up.
    known : int
        Network namespace of the lookup, see `namespace`; 0: not known.

    Raises
    ------
    LinkGone
        The interface has changed since it was looked up.
    LinkNotFound
        It is in another network namespace, or never was an interface of this host.
    """
    check_namespace(name, index, known)
    now = other = None
    with contextlib.suppress(LinkNotFound):
        now = find(name)
    if now is not None and now.ifindex == index and arphrd in (None, now.arphrd):
        return
    if index:
        with contextlib.suppress(LinkNotFound):
            other = by_index(index, name)
    if now is None:
        found = "does not exist in this network namespace"
    elif now.ifindex != index:
        found = f"has index {now.ifindex}"
    else:
        found = f"has ARPHRD_ number {now.arphrd}, not {arphrd}"
    if other is not None and other.ifindex != (now and now.ifindex):
        found += f", and index {index} is that of {other.name!r}"
    if arphrd is None:
        raise LinkNotFound(errno.ENODEV, f"interface {name!r} (index {index}) {found}: use Link(name)")
    raise LinkGone(
        errno.ENODEV,
        f"interface {name!r} (index {index}) was removed or renamed: it {found} now. Look up the interface "
        "to capture from with Link(name)",
    )


def by_index(index: int, name: str) -> Interface:
    """Return the interface with this index. `name` is only for error messages."""
    try:
        return _parse_interface(_request(_RTM_GETLINK, struct.pack("=4xi8x", index))[0])
    except LinkError as error:
        raise _with_advice(error, f"{name!r} (index {index})") from None


def state(index: int, name: str) -> LinkState:
    """Return the state of the interface with this index. `name` is only for error messages."""
    try:
        return _parse_state(_request(_RTM_GETLINK, struct.pack("=4xi8x", index))[0])
    except LinkError as error:
        raise _with_advice(error, f"{name!r} (index {index})") from None


def interfaces(netlink: socket.socket | None = None) -> list[Interface]:
    """Return all interfaces of a namespace, in the order of their indices.

    It is that of an open socket if one is given, else that of the calling thread.
    """
    with contextlib.nullcontext(netlink) if netlink is not None else _open() as opened:
        here = _namespace_of(opened)
        return sorted(_parse_interface(message, here) for message in _dump(_RTM_GETLINK, bytes(16), opened))


class LinkMonitor:
    """Tells when interfaces of a network namespace change, by rtnetlink(7).

    It is that of the thread that makes it, even if another one reads.

    Raises
    ------
    OSError
        The sockets cannot be opened.
    """

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self._changes = opened.enter_context(_open())
            self._requests = opened.enter_context(_open())
            self._changes.setblocking(False)
            self._changes.bind((0, _RTMGRP_LINK))
            self.namespace = _namespace_of(self._requests)
            self._opened = opened.pop_all()

    def fileno(self) -> int:
        """Return a descriptor that is readable after a change."""
        return self._changes.fileno()

    def interfaces(self) -> list[Interface]:
        """Return all interfaces, in the order of their indices; a change after this call is reported."""
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    self._changes.recv(1 << 16)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:  # some messages were lost: they are not needed
                        raise
        return interfaces(self._requests)

    def close(self) -> None:
        """Close the sockets."""
        self._opened.close()

    def __del__(self) -> None:
        if hasattr(self, "_opened"):
            self._opened.close()


def addresses(index: int) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Return the IP addresses of an interface."""
    return tuple(all_addresses().get(index, ()))


def all_addresses() -> dict[int, list[IPv4Interface | IPv6Interface]]:
    """Return the IP addresses of all interfaces of the namespace by index; those without any are left out."""
    found: dict[int, list[IPv4Interface | IPv6Interface]] = {}
    for message in _dump(_RTM_GETADDR, bytes(8)):
        address = _parse_address(message)
        if address is not None:
            found.setdefault(address[0], []).append(address[1])
    return found


def _with_advice(error: LinkError, name: str) -> LinkError:
    """Return the error with the interface's name and advice added."""
    if error.errno == errno.ENODEV:
        return LinkNotFound(
            errno.ENODEV,
            f"no interface {name} in this network namespace: `ip link` lists all interfaces",
        )
    return LinkError(error.errno, f"interface {name}: {error.strerror}")


def _parse_interface(message: bytes, namespace: int = 0) -> Interface:
    if len(message) < _IFINFOMSG.size:
        raise _malformed_reply()
    _, arphrd, index, flags, _ = _IFINFOMSG.unpack_from(message)
    attributes = _attributes(message[_IFINFOMSG.size :])
    info = _attributes(attributes.get(_IFLA_LINKINFO, b""))
    name, kind = _text(attributes.get(_IFLA_IFNAME, b"")), _text(info.get(_IFLA_INFO_KIND, b""))
    properties = _attribute_list(attributes.get(_IFLA_PROP_LIST, b""))
    others = tuple(_text(value) for number, value in properties if number == _IFLA_ALT_IFNAME)
    return Interface(index, name, arphrd, flags, kind, namespace, others)


def _parse_state(message: bytes) -> LinkState:
    if len(message) < _IFINFOMSG.size:
        raise _malformed_reply()
    flags = _IFINFOMSG.unpack_from(message)[3]
    attributes = _attributes(message[_IFINFOMSG.size :])
    mtu, queues = (
        _NUMBER.unpack_from(attributes.get(kind, b"").ljust(_NUMBER.size, b"\0"))[0]
        for kind in (_IFLA_MTU, _IFLA_NUM_RX_QUEUES)
    )
    is_up, has_carrier, is_loopback = (bool(flags & bit) for bit in (IFF_UP, _IFF_LOWER_UP, _IFF_LOOPBACK))
    return LinkState(is_up, has_carrier, is_loopback, mtu, queues, _counters(message))


def _counters(message: bytes) -> LinkCounters:
    """Return the counters in an answer to RTM_GETLINK; zeros if the kernel does not report them."""
    attributes = _attributes(message[_IFINFOMSG.size :])
    stats = attributes.get(_IFLA_STATS64, b"").ljust(_STATS.size, b"\0")
    received, sent, dropped, not_sent, fifo, missed = _STATS.unpack_from(stats)
    return LinkCounters(received, sent, not_sent, LinkDrops(dropped, fifo, missed))


def _parse_address(message: bytes) -> tuple[int, IPv4Interface | IPv6Interface] | None:
    """Return the index of the interface and one of its addresses; None if it is not an IP address."""
    if len(message) < _IFADDRMSG.size:
        raise _malformed_reply()
    family, prefix, _, _, index = _IFADDRMSG.unpack_from(message)
    attributes = _attributes(message[_IFADDRMSG.size :])
    # On a point-to-point link IFA_ADDRESS is the address of the other end.
    address = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
    if family == socket.AF_INET and len(address) == 4 and prefix <= 32:
        return index, IPv4Interface((address, prefix))
    if family == socket.AF_INET6 and len(address) == 16 and prefix <= 128:
        return index, IPv6Interface((address, prefix))
    return None


def _attributes(data: bytes) -> dict[int, bytes]:
    """Return the values of attributes by type; if a type occurs several times, the last one."""
    return dict(_attribute_list(data))


def _attribute_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute."""
    while len(data) >= _RTATTR.size:
        size, kind = _RTATTR.unpack_from(data)
        if not _RTATTR.size <= size <= len(data):
            raise _malformed_reply()
        yield kind & 0x3FFF, data[_RTATTR.size : size]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        data = data[_aligned(size) :]


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and body of each message of a datagram."""
    while data:
        if len(data) < _NLMSGHDR.size:
            raise _malformed_reply()
        size, kind, flags, _, _ = _NLMSGHDR.unpack_from(data)
        if not _NLMSGHDR.size <= size <= len(data):
            raise _malformed_reply()
        yield kind, flags, data[_NLMSGHDR.size : size]
        data = data[_aligned(size) :]


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def _request(request: int, body: bytes, netlink: socket.socket | None = None) -> list[bytes]:
    """Return the kernel's answer to a request for one object, on an open socket if one is given."""
    if netlink is not None:
        return _exchange(netlink, request, _NLM_F_REQUEST, body)[0]
    with _open() as netlink:
        return _exchange(netlink, request, _NLM_F_REQUEST, body)[0]


def _dump(request: int, body: bytes, netlink: socket.socket | None = None) -> list[bytes]:
    """Return the kernel's answer to a request for all objects, on an open socket if one is given."""
    with contextlib.nullcontext(netlink) if netlink is not None else _open() as opened:
        for _ in range(10):
            answers, consistent = _exchange(opened, request, _NLM_F_REQUEST | _NLM_F_DUMP, body)
            if consistent:
                break
    return answers


def _exchange(netlink: socket.socket, request: int, flags: int, body: bytes) -> tuple[list[bytes], bool]:
    """Return the kernel's answer, and False if objects changed meanwhile, so that some may be missing."""
    answers: list[bytes] = []
    consistent = True
    try:
        netlink.send(_NLMSGHDR.pack(_NLMSGHDR.size + len(body), request, flags, 1, 0) + body)
        while True:
            data, _, message_flags, _ = netlink.recvmsg(1 << 16)
            if not data or message_flags & socket.MSG_TRUNC:
                raise _malformed_reply()
            for kind, answer_flags, message in _messages(data):
                consistent = consistent and not answer_flags & _NLM_F_DUMP_INTR
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    code = -int.from_bytes(message[:4], sys.byteorder, signed=True)
                    if code > 0:
                        raise OSError(code, os.strerror(code))
                    if kind == _NLMSG_DONE:
                        return answers, consistent
                    raise _malformed_reply()  # an acknowledgement, which was not requested
                answers.append(message)
            if not flags & _NLM_F_DUMP:
                return answers, consistent
    except LinkError:
        raise
    except OSError as error:
        raise LinkError(error.errno, f"rtnetlink: {error.strerror}") from error
    except BaseException:  # as from Ctrl-C
        _discard_answers(netlink)
        raise


def _discard_answers(netlink: socket.socket) -> None:
    """Receive what the kernel has answered, so that the next request does not get it."""
    with contextlib.suppress(OSError):
        while netlink.recv(1 << 16, socket.MSG_DONTWAIT):
            pass


def _malformed_reply() -> LinkError:
    return LinkError(errno.EBADMSG, "rtnetlink: the kernel's reply is truncated or malformed")


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
