"""Packets for mock sources, and what is done to both kinds of mock alike."""

from __future__ import annotations

from typing import Any, TypeAlias

from slimcap import Packet
from slimcap.mock import MockRingSource, MockSocketSource
from support.batches import START, payloads_of
from support.traffic import PAGE, ethernet, udp

Mock: TypeAlias = MockRingSource | MockSocketSource

KINDS: dict[str, type[Mock]] = {"ring": MockRingSource, "socket": MockSocketSource}
TWO_PAGES = {"block_size": PAGE, "num_blocks": 2}
# Options of a mock that is soon full.
SMALL: dict[type[Mock], dict[str, Any]] = {
    MockRingSource: TWO_PAGES,
    MockSocketSource: {"buffer_size": 4096},
}


def packet(frame: bytes, pkt_type: int = 0, timestamp: int = START, total_len: int | None = None) -> Packet:
    """Make a packet with a timestamp."""
    return Packet.from_payload(frame, pkt_type, total_len, timestamp=timestamp)


def hand_over(mock: Mock) -> None:
    """Let the reader have what was added: finalize the open block of a ring."""
    if isinstance(mock, MockRingSource):
        mock.finalize_block()


def fill(mock: Mock) -> list[bytes]:
    """Add numbered packets until the mock is full; return their frames."""
    frames: list[bytes] = []
    while mock.can_add_packets:
        frames.append(ethernet(udp(len(frames))))
        mock.add_packet(packet(frames[-1]), timeout=0)
        assert len(frames) < 10_000
    assert len(frames) > 3
    return frames


def drained(mock: Mock) -> list[bytes]:
    """Read until the capture ends; return all payloads."""
    got: list[bytes] = []
    for batch in mock.batches(timeout=5):
        got += payloads_of(batch)
        del batch
    return got
