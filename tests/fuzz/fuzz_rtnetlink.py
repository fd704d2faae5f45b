"""Fuzz the answers of rtnetlink: whatever a message is, it is understood or a LinkError."""

from __future__ import annotations

from slimcap import LinkError
from slimcap.source import rtnetlink


def check(data: bytes) -> int:
    """Take a datagram apart; gives the number of its messages that made sense."""
    count = 0
    try:
        for _, _, message in rtnetlink._messages(data):
            count += sum(_understood(parse, message) for parse in PARSERS)
    except LinkError as error:
        assert error.errno
    return count


PARSERS = rtnetlink._parse_interface, rtnetlink._parse_address, rtnetlink._drops


def _understood(parse, message: bytes) -> bool:
    try:
        return parse(message) is not None
    except LinkError as error:
        assert error.strerror
        return False


def test_one_input(data: bytes) -> None:
    """What atheris calls."""
    check(data)
