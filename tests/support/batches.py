"""Batches of a test's own making, and what a batch holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from slimcap import RECORD_DTYPE, Batch, Link, Packet, Source

START = 1_700_000_000_123_456_789  # timestamp of the first packet
STEP = 1_000_000  # nanoseconds between two packets


def batch_of(
    payloads: Sequence[bytes],
    *,
    links: Iterable[Link] = (),
    before: bytes = b"",
    after: bytes = b"",
    **columns: Any,
) -> Batch:
    """Make a batch of these payloads, one after the other.

    Parameters
    ----------
    payloads : sequence of bytes
        One for each packet.
    links : iterable of Link, default: none
    before, after : bytes, default: empty
        Bytes around each payload that belong to no packet.
    **columns
        Values of columns of `records`, one for all packets or one for each. Default: `cap_len` and
        `total_len` are the payload's length, timestamps are 1 ms apart, all else is 0.
    """
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    strides = lengths + len(before) + len(after)
    records = np.zeros(len(payloads), RECORD_DTYPE)
    records["cap_len"] = records["total_len"] = lengths
    records["offset"] = np.cumsum(strides) - strides + len(before)
    records["timestamp"] = START + np.arange(len(payloads)) * STEP
    for name, values in columns.items():
        records[name] = values
    return Batch(records, b"".join(before + payload + after for payload in payloads), tuple(links))


def payloads_of(batch: Batch) -> list[bytes]:
    """Return copies of all payloads."""
    return [bytes(batch.payload(index)) for index in range(len(batch))]


def facts_of(packets: Iterable[Packet]) -> list[tuple[int, int, bytes]]:
    """Return timestamp, length on the wire and payload of each packet; compare with `Sample.facts`."""
    return [(packet.timestamp, packet.total_len, bytes(packet.payload)) for packet in packets]


def rows_of(records: Batch | np.ndarray, *without: str) -> list[tuple[Any, ...]]:
    """Return the rows as tuples, without these columns and without `offset`, which counts from the buffer."""
    if isinstance(records, Batch):
        records = records.records
    columns = [name for name in RECORD_DTYPE.names or () if name not in ("offset", *without)]
    rows: list[tuple[Any, ...]] = records[columns].tolist()
    return rows


def is_locked(memory: bytearray) -> bool:
    """Return True if a buffer of this bytearray is exported."""
    try:
        memory.append(0)
    except BufferError:
        return True
    del memory[-1]
    return False


def numbered_comments(source: Source) -> dict[int, str]:
    """Read a source to its end; return the comments by packet number."""
    found: dict[int, str] = {}
    first = 0
    for batch in source.batches():
        found |= {first + row: text for row, text in batch.comments.items()}
        first += len(batch)
    return found
