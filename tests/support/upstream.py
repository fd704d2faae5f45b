"""The packets of the tests of the Go library slimcap, whose behaviour `test_upstream_*.py` state."""

from __future__ import annotations

import functools
from typing import Any

from slimcap import Packet
from slimcap.mock import build_go_packet
from support.mocks import Mock

COUNT = 10_000
SHOWN = 56  # bytes of a packet that are captured: all but the last 2
IP_OFFSET = 14


def packet_number(n: int) -> Packet:
    """Build packet `n` of the 10,000: addresses, ports, type and length tell which.

    Upstream's mocks take BuildPacket's all-zero link-layer header for that of an IP packet. Ours look at the
    EtherType, as the kernel and the filter do, so it gets one. And upstream has lengths on the wire that are
    less than what was captured, or 16 bits of them; ours are never less, so that these are 100 more.
    """
    i, j = divmod(n, 100)
    built = build_go_packet(
        f"1.2.3.{i % 254 + 1}",
        f"4.5.6.{j % 254 + 1}",
        i,
        j,
        6,
        bytes([i, j]) * 10,
        pkt_type_of(n),
        total_len_of(n),
    )
    payload = bytearray(built.payload)
    payload[12:14] = b"\x08\x00"
    return Packet.from_payload(payload, built.type, built.total_len)


def total_len_of(n: int) -> int:
    """Return the length of packet `n` on the wire."""
    return 100 + n


def pkt_type_of(n: int) -> int:
    """Return the type of packet `n`."""
    return sum(divmod(n, 100)) % 5


def ip_layer_text(n: int) -> str | None:
    """Return IPLayer.String() of packet `n`.

    None if one of its ports is 0: upstream leaves ports out then, and reads what is in their place. That is
    not stated, and not checked.
    """
    i, j = divmod(n, 100)
    return f"1.2.3.{i % 254 + 1}:{i} => 4.5.6.{j % 254 + 1}:{j} (proto: 6)" if i and j else None


@functools.cache
def packets() -> list[Packet]:
    """Return the 10,000 packets."""
    return [packet_number(n) for n in range(COUNT)]


def shown(n: int) -> bytes:
    """Return the bytes of packet `n` that are captured."""
    return bytes(packets()[n].payload)[:SHOWN]


def open_mock(kind: type[Mock], **options: Any) -> Mock:
    """Open a mock as upstream's tests open theirs, where it matters."""
    mock: Mock = kind("mock", **{"snaplen": SHOWN, "timeout": 10} | options)
    return mock
