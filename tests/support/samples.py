"""The sample captures in tests/data as their builders describe them; nothing here decodes a capture file."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import slimcap
from support.builders.captures import CAPTURES
from support.builders.compressed import inflated
from support.builders.pcap import FILE_HEADER, MODIFIED, NANO

DATA = Path(__file__).parents[1] / "data"
GOOD = [name for name in CAPTURES if not name.startswith("bad/")]


class Row(NamedTuple):
    """One packet, as it was built."""

    timestamp: int
    offset: int  # of the payload, in the uncompressed file
    total_len: int
    data: bytes


class Sample(NamedTuple):
    """One sample file, as it was built."""

    name: str
    path: Path
    data: bytes  # uncompressed
    linktype: int  # with the bits above it
    magic: int
    big_endian: bool
    snaplen: int
    rows: list[Row]
    ip_offsets: list[int]  # as tshark sees them

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        return [(row.timestamp, row.total_len, row.data) for row in self.rows]

    @property
    def starts(self) -> list[int]:
        """Offsets of each record, and of the end of the last."""
        header = 24 if self.magic == MODIFIED else 16
        return [row.offset - header for row in self.rows] + [
            self.rows[-1].offset + len(self.rows[-1].data) if self.rows else FILE_HEADER
        ]


@functools.cache
def _ip_offsets() -> dict[str, list[int]]:
    offsets: dict[str, list[int]] = json.loads((DATA / "ip_offsets.json").read_text())
    return offsets


@functools.cache
def sample_of(name: str) -> Sample:
    """Return a sample as its builder describes it."""
    capture = CAPTURES[name]()
    file = capture.file()
    tick = 1 if capture.magic == NANO else 1000
    offset = FILE_HEADER
    rows = []
    for data, seconds, fraction, orig_len in capture.records:
        offset += capture.record_header
        total_len = len(data) if orig_len is None else max(orig_len, len(data))
        rows.append(Row(seconds * 10**9 + fraction * tick, offset, total_len, data))
        offset += len(data)
    return Sample(
        name,
        DATA / name,
        inflated(file) if name.endswith(".gz") else file,
        capture.linktype,
        capture.magic,
        capture.big_endian,
        capture.snaplen,
        rows,
        _ip_offsets_of(name),
    )


def _ip_offsets_of(name: str) -> list[int]:
    """Return the list of a sample; the twins of mixed.pcap share one."""
    offsets = _ip_offsets()
    if name not in offsets and name.startswith(("mixed", "snap96")):
        return offsets["mixed.pcap"]
    return offsets.get(name, [])


class Drained(NamedTuple):
    """The packets that a source returned up to its end or up to an error."""

    records: np.ndarray  # of all batches; each offset counts from its own batch's data
    payloads: list[bytes]
    error: Exception | None

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        """Timestamp, length on the wire and payload of each packet."""
        times, totals = self.records["timestamp"].tolist(), self.records["total_len"].tolist()
        return list(zip(times, totals, self.payloads, strict=True))


def drain(source: Any) -> Drained:
    """Read a source to its end or to an error."""
    records, payloads, error = [], [], None
    try:
        for batch in source.batches():
            records.append(batch.records)
            payloads += [bytes(batch.payload(i)) for i in range(len(batch))]
    except Exception as raised:
        error = raised.with_traceback(None)  # a traceback would keep this frame, and so the source, alive
    return Drained(np.concatenate([np.zeros(0, slimcap.RECORD_DTYPE), *records]), payloads, error)
