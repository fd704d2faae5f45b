"""Frames to send, and reading the captured packets."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest

from slimcap import RingSource, SocketSource, Source

LEFT, RIGHT = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OTHER, ALL, GROUP = bytes.fromhex("020000000099"), b"\xff" * 6, bytes.fromhex("01005e000001")
PAGE = os.sysconf("SC_PAGESIZE")
SMALL: dict[str, Any] = {"block_size": PAGE, "num_blocks": 2, "block_timeout": 0.001}


LiveSource: TypeAlias = RingSource | SocketSource
OpenSource: TypeAlias = Callable[..., LiveSource]  # the fixture `opened`

# ---- frames


def ethernet(payload: bytes, kind: int = 0x0800, dst: bytes = RIGHT, src: bytes = LEFT) -> bytes:
    return dst + src + struct.pack("!H", kind) + payload


def udp(n: int = 0, size: int = 20, port: int = 5000) -> bytes:
    """Build an IPv4 packet with UDP and a number in it."""
    data = struct.pack("!I", n) + bytes((n + i) % 251 for i in range(size))
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28 + len(data), n & 0xFFFF, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2"
    )
    return head + struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data


def udp6(n: int = 0) -> bytes:
    data = struct.pack("!I", n)
    addresses = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002")
    return (
        struct.pack("!IHBB", 6 << 28, 8 + len(data), 17, 64)
        + addresses
        + struct.pack("!HHHH", 1, 2, 12, 0)
        + data
    )


def arp(n: int = 0) -> bytes:
    return ethernet(
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + LEFT + bytes(16) + struct.pack("!I", n), 0x0806, ALL
    )


def tagged(frame: bytes, tci: int, tpid: int = 0x8100) -> bytes:
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]


def frames_of(count: int, size: int = 20) -> list[bytes]:
    return [ethernet(udp(i, size + i % 7)) for i in range(count)]


# ---- reading


class Got(NamedTuple):
    data: bytes
    record: np.void

    def __getattr__(self, name: str) -> Any:
        return self.record[name].item()


def collect(source: Source, count: int, within: float = 10) -> list[Got]:
    """Return copies of the next `count` packets; their blocks are released."""
    end = time.monotonic() + within
    got: list[Got] = []
    while len(got) < count:
        batch = source.next_batch(timeout=max(0, end - time.monotonic()))
        rows = batch.records.copy()
        got += [Got(bytes(batch.payload(i)), rows[i]) for i in range(len(batch))]
        del batch
    return got


def payloads(got: Iterable[Got]) -> list[bytes]:
    return [one.data for one in got]


def assert_silent(source: LiveSource) -> None:
    """Fail if a source has a packet. This stops the capture, which also delivers an unfinished block."""
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.02)
    source.stop()
    assert [bytes(packet.payload) for packet in source] == []
