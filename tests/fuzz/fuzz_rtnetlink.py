"""Fuzz the parser of rtnetlink messages: any bytes are parsed, skipped, or raise LinkError."""

from __future__ import annotations

import struct
from collections.abc import Callable

from slimcap import LinkError
from slimcap.source.live import rtnetlink


def check(data: bytes) -> int:
    """Parse a datagram; return the number of messages that a parser understood."""
    count = 0
    try:
        for _, _, message in rtnetlink._messages(data):
            count += sum(_understood(parse, message) for parse in PARSERS)
    except LinkError as error:
        assert error.errno
    return count


PARSERS = rtnetlink._parse_interface, rtnetlink._parse_address, rtnetlink._counters, rtnetlink._parse_state


def _understood(parse: Callable[[bytes], object], message: bytes) -> bool:
    try:
        return parse(message) is not None
    except LinkError as error:
        assert error.strerror
        return False


INTERFACE = rtnetlink._IFINFOMSG.pack(0, 1, 7, 1, 0)
ADDRESS = rtnetlink._IFADDRMSG.pack(2, 24, 0, 0, 7)
ATTRIBUTES = [
    (3, b"eth0\0"),
    (18, struct.pack("=HH", 8, 1) + b"veth"),
    (23, bytes(200)),
    (52 | 1 << 15, struct.pack("=HH8s", 12, 53, b"uplink1\0") + struct.pack("=HH8s", 12, 53, b"uplink2\0")),
    (1, b"\1\2\3\4"),
    (2, bytes(16)),
]


def message(head: bytes, attributes: list[tuple[int, bytes]]) -> bytes:
    """Build a netlink message of a header and attributes."""
    body = head
    for kind, value in attributes:
        size = 4 + len(value)
        body += (struct.pack("=HH", size, kind) + value).ljust((size + 3) & ~3, b"\0")
    return rtnetlink._NLMSGHDR.pack(16 + len(body), 16, 0, 1, 0) + body


def seeds() -> list[bytes]:
    """Return inputs to mutate: messages on an interface and an address."""
    interface, address = message(INTERFACE, ATTRIBUTES), message(ADDRESS, [(1, b"\1\2\3\4")])
    return [interface, address, interface + address]


def test_one_input(data: bytes) -> None:
    """Parse a datagram."""
    check(data)
