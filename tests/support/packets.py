"""Packets and views of a test's own making, and what they show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from slimcap import RECORD_DTYPE, Batch, IPLayer, Packet, View, read
from support.batches import batch_of
from support.builders import pcap

INLINE = 148  # bytes of payload that a Packet stores in itself
GAP = b"\xee" * 7  # bytes between packets that belong to none


def view_of(content: bytes) -> View:
    """Return a View of these bytes, in a batch with other bytes around them."""
    return batch_of([content], before=GAP, after=GAP).payload(0)


def ip_layer_of(content: bytes) -> IPLayer:
    """Return an IPLayer of these bytes, in a batch with other bytes around them."""
    return batch_of([content], before=GAP, after=GAP).ip_layer(0)


def properties_of(packet: Packet) -> tuple[Any, ...]:
    """Return all properties of a packet."""
    return (
        *(packet.timestamp, packet.total_len, packet.cap_len, len(packet), packet.type, packet.is_inbound),
        *(packet.ip_layer_offset, packet.interface, packet.vlan_tci, packet.vlan_tpid, packet.flags),
        *(bytes(packet.payload), bytes(packet.ip_layer)),
    )


def churn() -> list[Packet]:
    """Allocate memory of the sizes that packets have, and write to it."""
    return [Packet(b"\xaa" * n) for n in (60, INLINE, 300, 1000) for _ in range(100)]


def decoded_batch(
    payloads: Sequence[bytes],
    linktype: int = 1,
    *,
    before: bytes = b"",
    after: bytes = b"",
    **columns: Any,
) -> Batch:
    """Make a batch as a source does, with the columns that come from decoding, such as `ip_offset`.

    Parameters
    ----------
    payloads : sequence of bytes
        One for each packet.
    linktype : int, default: 1
        Ethernet.
    before, after : bytes, default: empty
        Bytes around each payload that belong to no packet.
    **columns
        Values of columns of `records`, as in `batch_of`. Default: those of the source.
    """
    source = read(io.BytesIO(pcap.pcap_file(map(pcap.Packet, payloads), linktype=linktype)))
    decoded = {name: source[name] for name in RECORD_DTYPE.names or () if name != "offset"}
    return batch_of(payloads, links=source.links, before=before, after=after, **{**decoded, **columns})
