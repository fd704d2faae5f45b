"""The feature columns of a record, computed from a list of its packets with `statistics`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ae")
SIDES = ("src", "dst")


class Seen(NamedTuple):
    """A packet of a record, as the features see it."""

    side: str
    timestamp: int
    length: int
    flags: int
    data: bytes  # as captured
    data_len: int
    is_retransmission: bool


def features_of(packets: list[Seen], splt: int, first_bytes: int) -> dict[str, Any]:
    """Return all feature columns except the Community ID."""
    columns: dict[str, Any] = {}
    for prefix, sides in (("src_", ("src",)), ("dst_", ("dst",)), ("", SIDES)):
        chosen = [packet for packet in packets if packet.side in sides]
        columns |= summary(f"{prefix}len", [packet.length for packet in chosen])
        columns |= summary(f"{prefix}iat", gaps([packet.timestamp for packet in chosen]))
    for side in SIDES:
        chosen = [packet for packet in packets if packet.side == side]
        times = [packet.timestamp for packet in chosen]
        columns[f"{side}_first"], columns[f"{side}_last"] = min(times, default=0), max(times, default=0)
        for bit, name in enumerate(FLAGS):
            columns[f"{side}_{name}_packets"] = sum(packet.flags >> bit & 1 for packet in chosen)
        columns[f"{side}_payload_packets"] = sum(packet.data_len > 0 for packet in chosen)
        columns[f"{side}_payload_bytes"] = sum(packet.data_len for packet in chosen)
        columns[f"{side}_retransmissions"] = sum(packet.is_retransmission for packet in chosen)
        data = b"".join(packet.data for packet in chosen)[:first_bytes]
        columns[f"{side}_first_len"] = len(data)
        columns[f"{side}_first_bytes"] = list(data.ljust(first_bytes, b"\0"))
    first = packets[:splt]
    signed = [packet.length if packet.side == "src" else -packet.length for packet in first]
    columns["splt_len"] = signed + [0] * (splt - len(first))
    columns["splt_iat"] = ([0, *gaps([packet.timestamp for packet in first])] + [0] * splt)[:splt]
    return columns


def gaps(times: Iterable[int]) -> list[int]:
    """Return the time from the latest packet so far to each packet after the first; 0 if it is earlier."""
    found, latest = [], None
    for time in times:
        if latest is not None:
            found.append(max(0, time - latest))
        latest = time if latest is None else max(latest, time)
    return found


def summary(name: str, values: list[int]) -> dict[str, float]:
    return {
        f"{name}_min": min(values, default=0),
        f"{name}_mean": statistics.fmean(values) if values else 0,
        f"{name}_max": max(values, default=0),
        f"{name}_std": statistics.stdev(values) if len(values) > 1 else 0,
    }


class Sequences:
    """The highest sequence number of each side of a flow, without a limit of 32 bits."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def add(self, side: str, header: dict[str, Any]) -> bool:
        """Return True if the packet has data that was sent before."""
        flags, length = int(header["tcp_flags"]), int(header["l7_len"])
        if header["protocol"] != 6 or not (length or flags & 3):
            return False
        end = header["tcp_seq"] + length + (flags & 1) + (flags >> 1 & 1)
        known = self._next.get(side)
        ahead = 1 if known is None else (end - known + (1 << 31)) % (1 << 32) - (1 << 31)
        if ahead > 0:
            self._next[side] = end
        return ahead <= 0 < length
