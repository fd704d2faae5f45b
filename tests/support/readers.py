"""The one table of all ways to read a packet from a source, for tests that hold for each of them.

`READERS` has the methods that read one packet and accept a timeout, `ALL_READERS` iteration as well. A test
is parametrised with `every_reader` and calls `reader(source, timeout=…)`, which returns a `Reading`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from slimcap import IPLayer, Packet, PacketType, Source, View
from slimcap.source.base import ZeroCopySource

BUFFER_SIZE = 2000  # bytes of a buffer that a reader makes by itself


class Reading(NamedTuple):
    """One packet, as a reader gave it."""

    data: bytes | View | IPLayer  # the payload; from a reader with `ip_layer`, the IP layer
    pkt_type: PacketType
    total_len: int


@dataclass(frozen=True)
class Reader:
    """A way to read one packet: `reader(source, buffer, timeout=…)`.

    Attributes
    ----------
    name : str
    read : callable
        Called with the source, the buffer and the options of the method (`timeout`).
    ip_layer : bool, default: False
        Gives the IP layer, and skips packets without one.
    in_place : bool, default: False
        Writes to the buffer.
    packet_buffer : bool, default: False
        The buffer is a Packet, not a bytearray.
    """

    name: str
    read: Callable[..., Reading]
    ip_layer: bool = False
    in_place: bool = False
    packet_buffer: bool = False

    def __call__(self, source: Source, buffer: Any = None, **options: float | None) -> Reading:
        """Read one packet; without a buffer, into one of this call's own."""
        if buffer is None:
            buffer = self.new_buffer(source)
        return self.read(source, buffer, **options)

    def new_buffer(self, source: Source, size: int = BUFFER_SIZE) -> Packet | bytearray | None:
        """Return a buffer for this reader; None if it does not use one."""
        if not self.in_place:
            return None
        return source.new_packet() if self.packet_buffer else bytearray(size)


def _of_packet(packet: Packet) -> Reading:
    return Reading(packet.payload, packet.type, packet.total_len)


def _next_packet(source: Source, _: object, **options: Any) -> Reading:
    return _of_packet(source.next_packet(**options))


def _next_packet_in_place(source: Source, buffer: Packet, **options: Any) -> Reading:
    packet = source.next_packet(buffer, **options)
    assert packet is buffer
    return _of_packet(packet)


def _next_payload(source: Source, _: object, **options: Any) -> Reading:
    return Reading(*source.next_payload(**options))


def _next_payload_in_place(source: Source, buffer: bytearray, **options: Any) -> Reading:
    return Reading(*source.next_payload(buffer, **options))


def _next_ip_packet(source: Source, _: object, **options: Any) -> Reading:
    return Reading(*source.next_ip_packet(**options))


def _next_ip_packet_in_place(source: Source, buffer: bytearray, **options: Any) -> Reading:
    return Reading(*source.next_ip_packet(buffer, **options))


def _next_packet_fn(source: Source, _: object, **options: Any) -> Reading:
    return source.next_packet_fn(
        lambda payload, total_len, pkt_type, _ip_offset: Reading(bytes(payload), pkt_type, total_len),
        **options,
    )


def _next_payload_zero_copy(source: ZeroCopySource, _: object, **options: Any) -> Reading:
    return Reading(*source.next_payload_zero_copy(**options))


def _next_ip_packet_zero_copy(source: ZeroCopySource, _: object, **options: Any) -> Reading:
    return Reading(*source.next_ip_packet_zero_copy(**options))


def _next_batch(source: Source, _: object, **options: Any) -> Reading:
    batch = source.next_batch(1, **options)
    assert len(batch) == 1
    row = batch.records[0]
    return Reading(batch.payload(0), PacketType(int(row["pkt_type"])), int(row["total_len"]))


def _iteration(source: Source, _: object) -> Reading:
    return _of_packet(next(source))


def _table(*readers: Reader) -> dict[str, Reader]:
    return {reader.name: reader for reader in readers}


READERS = _table(
    Reader("next_packet", _next_packet),
    Reader("next_packet in place", _next_packet_in_place, in_place=True, packet_buffer=True),
    Reader("next_payload", _next_payload),
    Reader("next_payload in place", _next_payload_in_place, in_place=True),
    Reader("next_payload_zero_copy", _next_payload_zero_copy),
    Reader("next_ip_packet", _next_ip_packet, ip_layer=True),
    Reader("next_ip_packet in place", _next_ip_packet_in_place, ip_layer=True, in_place=True),
    Reader("next_ip_packet_zero_copy", _next_ip_packet_zero_copy, ip_layer=True),
    Reader("next_packet_fn", _next_packet_fn),
    Reader("next_batch of one", _next_batch),
)
ALL_READERS = READERS | _table(Reader("iteration", _iteration))  # which accepts no timeout

every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


# ---- loops over all packets to the end


def loop_over_packets(source: Source) -> list[bytes]:
    """Return all payloads, from iteration over packets."""
    return [bytes(packet.payload) for packet in source]


def loop_over_batches(source: Source) -> list[bytes]:
    """Return all payloads, from iteration over batches."""
    return [bytes(packet.payload) for batch in source.batches() for packet in batch]


every_loop = pytest.mark.parametrize(
    "loop", [loop_over_packets, loop_over_batches], ids=["packets", "batches"]
)
