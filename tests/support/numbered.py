"""Packets that can be told apart: IPv4 in Ethernet with a number as the last byte."""

from __future__ import annotations

from collections.abc import Iterable

import make_samples
from slimcap import IPLayer, Source, View

FRAME = make_samples.ethernet(make_samples.packet4())
NOT_IP = make_samples.ethernet(make_samples.arp_request(), make_samples.ARP)


def numbered(count: int, start: int = 0) -> bytes:
    """Return the pcap records of `count` packets, numbered from `start`."""
    return b"".join(make_samples.pcap_record(FRAME + bytes([i])) for i in range(start, start + count))


def number_of(data: bytes | View | IPLayer) -> int:
    """Return the number of a packet, from its payload or its IP layer."""
    return bytes(data)[-1]


def numbers_of(payloads: Iterable[bytes | View | IPLayer]) -> list[int]:
    """Return the numbers of packets."""
    return [number_of(data) for data in payloads]


def rest_of(source: Source) -> list[int]:
    """Read a source to its end; return the numbers of the packets."""
    return [number_of(packet.payload) for packet in source]
