"""The sample captures in tests/data as their builder described them; nothing here decodes a capture file."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import make_samples
import slimcap

DATA = Path(__file__).parents[1] / "data"
GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]


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
        """Where each record starts, and the last ends."""
        header = 24 if self.magic == make_samples.MODIFIED else 16
        return [row.offset - header for row in self.rows] + [
            self.rows[-1].offset + len(self.rows[-1].data) if self.rows else 24
        ]


@functools.cache
def _ip_offsets() -> dict[str, list[int]]:
    offsets: dict[str, list[int]] = json.loads((DATA / "ip_offsets.json").read_text())
    return offsets


@functools.cache
def sample_of(name: str) -> Sample:
    """Make a sample while listening to what its builder writes: one header, then records."""
    real_header, real_record = make_samples.pcap_header, make_samples.pcap_record
    now = make_samples.START // 10**9
    headers: list[dict[str, Any]] = []
    records: list[tuple[bytes, int, int, int | None]] = []

    def header(**kwargs: Any) -> bytes:
        headers.append(kwargs)
        return real_header(**kwargs)

    def record(data: bytes, seconds: int = now, fraction: int = 0, **kwargs: Any) -> bytes:
        records.append((data, seconds, fraction, kwargs.get("orig_len")))
        return real_record(data, seconds, fraction, **kwargs)

    try:
        make_samples.pcap_header, make_samples.pcap_record = header, record
        made = make_samples.SAMPLES[name]()
    finally:
        make_samples.pcap_header, make_samples.pcap_record = real_header, real_record
    options = {
        "magic": make_samples.MICRO,
        "big_endian": False,
        "linktype": 1,
        "snaplen": 262144,
        **headers[0],
    }
    tick = 1 if options["magic"] == make_samples.NANO else 1000
    at = 24
    rows = []
    for data, seconds, fraction, orig_len in records:
        at += 24 if options["magic"] == make_samples.MODIFIED else 16
        total = len(data) if orig_len is None else max(orig_len, len(data))
        rows.append(Row(seconds * 10**9 + fraction * tick, at, total, data))
        at += len(data)
    return Sample(
        name,
        DATA / name,
        make_samples.inflated(made) if name.endswith(".gz") else made,
        options["linktype"],
        options["magic"],
        options["big_endian"],
        options["snaplen"],
        rows,
        _ip_offsets_of(name),
    )


def _ip_offsets_of(name: str) -> list[int]:
    """Twins of mixed.pcap share its list."""
    offsets = _ip_offsets()
    if name not in offsets and name.startswith(("mixed", "snap96")):
        return offsets["mixed.pcap"]
    return offsets.get(name, [])


class Drained(NamedTuple):
    """What a source gave up to its end, or up to an error."""

    records: np.ndarray  # of all batches; each offset counts from its own batch's data
    payloads: list[bytes]
    error: Exception | None

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        """What a `Row` tells, but for the offset."""
        times, totals = self.records["timestamp"].tolist(), self.records["total_len"].tolist()
        return list(zip(times, totals, self.payloads, strict=True))


def drain(source: Any) -> Drained:
    records, payloads, error = [], [], None
    try:
        for batch in source.batches():
            records.append(batch.records)
            payloads += [bytes(batch.payload(i)) for i in range(len(batch))]
    except Exception as raised:
        error = raised.with_traceback(None)  # a traceback would keep this frame, and so the source, alive
    return Drained(np.concatenate([np.zeros(0, slimcap.RECORD_DTYPE), *records]), payloads, error)
