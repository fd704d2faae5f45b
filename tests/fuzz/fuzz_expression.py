"""Fuzz filter expressions: any text raises FilterError, or becomes a program that the machine accepts."""

from __future__ import annotations

import re

from slimcap import FilterError
from slimcap.filter import Machine, compile_expression

# What libpcap would ask a name server for, and wait.
_NAME = re.compile(rb"[^\W\d][\w-]*(\.[\w-]+)+", re.A)

EXPRESSIONS = (
    "tcp port 80 and not ip6",
    "ip6 protochain 6",
    "vlan 3 and (host 192.0.2.1 or net 10.0.0.0/8)",
    "ether[12:2] = 0x800 and ip[0] & 0xf > 5",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "udp portrange 1-1023 or icmp6 or sctp",
    "ether host 02:00:00:00:00:01 and greater 64",
    "mpls 1001 and pppoes and geneve 7",
)


def check(text: str, linktype: int, data: bytes) -> bool:
    """Compile a text and run the program on a packet; return True if it is an expression."""
    try:
        program = compile_expression(text, linktype)
    except FilterError as error:
        assert str(error)
        return False
    try:
        machine = Machine(program)
    except FilterError as error:
        # An offset from 0xfffff000 on, such as ether[0xfffffffe], is an ancillary load to the kernel.
        assert "unknown ancillary load" in str(error)
        return False
    assert len(machine) == len(program) > 0
    assert 0 <= machine.run(data) <= 0xFFFF_FFFF
    return True


def seeds() -> list[bytes]:
    """Return inputs to mutate: expressions for a few link types, and a packet."""
    packet = bytes(12) + b"\x86\xdd\x60" + bytes(60)
    return [
        linktype.to_bytes(2, "little") + text.encode() + b"\0" + packet
        for linktype in (1, 101, 113, 276)
        for text in EXPRESSIONS
    ]


def test_one_input(data: bytes) -> None:
    """Compile a text: two bytes are the link type; the text ends at a NUL, and the packet follows."""
    text, _, packet = data[2:].partition(b"\0")
    if not _NAME.search(text):
        check(text.decode(errors="replace"), int.from_bytes(data[:2], "little"), packet)
