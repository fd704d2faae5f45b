"""Fuzz filter expressions: any text is a FilterError, or a program that our machine takes, and that ends."""

from __future__ import annotations

import re

from slimcap import FilterError
from slimcap.filter import Machine, compile_expression

# What libpcap would ask a name server for, and wait.
_NAME = re.compile(rb"[^\W\d][\w-]*(\.[\w-]+)+", re.A)


def check(text: str, linktype: int, data: bytes) -> bool:
    """Compile a text and run what came of it over a packet; whether it is an expression."""
    try:
        program = compile_expression(text, linktype)
    except FilterError as error:
        assert str(error)
        return False
    try:
        machine = Machine(program)
    except FilterError as error:
        # libpcap's `geneve` on 802.11 reads what it never stored: neither the kernel nor we run that.
        assert "scratch memory" in str(error)
        return False
    assert len(machine) == len(program) > 0
    assert 0 <= machine.run(data) <= 0xFFFF_FFFF
    return True


def test_one_input(data: bytes) -> None:
    """What atheris calls: two bytes are the link type; the text ends at a NUL, and the packet follows."""
    text, _, packet = data[2:].partition(b"\0")
    if not _NAME.search(text):
        check(text.decode(errors="replace"), int.from_bytes(data[:2], "little"), packet)
