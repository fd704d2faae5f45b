"""Files for `open_files`, and the rule by which it merges them, written in Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import FileFormatError, Source, open_file

Fact: TypeAlias = tuple[int, int, bytes, int]
"""A packet: timestamp, length on the wire, payload, link type."""

_Row = TypeVar("_Row", bound=tuple[Any, ...])

FRAME = make_samples.ethernet(make_samples.packet4())
BLOCK_SIZES = [64, 100, 300, 1000, 1 << 16, 1 << 20]


def packets(times: Sequence[int], tag: int = 0, linktype: int = 1) -> list[Fact]:
    """Return packets at these nanoseconds; their last bytes are a tag and their number."""
    named = [FRAME + bytes([tag]) + number.to_bytes(4, "big") for number in range(len(times))]
    return [(time, len(data), data, linktype) for time, data in zip(times, named, strict=True)]


def file_of(packets: Iterable[Fact], linktype: int = 1) -> bytes:
    """Return a pcap file of nanoseconds with these packets."""
    records = [
        pcap_record(data, time // 10**9, time % 10**9, orig_len=total) for time, total, data, _ in packets
    ]
    return pcap_header(magic=make_samples.NANO, linktype=linktype) + b"".join(records)


def capture(times: Sequence[int], tag: int = 0, linktype: int = 1) -> bytes:
    """Return a file of `packets`."""
    return file_of(packets(times, tag, linktype), linktype)


def write(path: Path, times: Sequence[int], tag: int = 0, linktype: int = 1) -> Path:
    """Write a `capture` to this path."""
    path.write_bytes(capture(times, tag, linktype))
    return path


def facts(source: Source) -> list[Fact]:
    """Read a source to its end."""
    return [
        (
            int(row["timestamp"]),
            int(row["total_len"]),
            bytes(batch.payload(index)),
            batch.links[row["interface"]].type,
        )
        for batch in source.batches()
        for index, row in enumerate(batch.records)
    ]


def facts_of(path: Path, **options: Any) -> list[Fact]:
    """Read one file by itself."""
    with open_file(path, **options) as source:
        return facts(source)


def payloads(facts: Iterable[Fact]) -> list[bytes]:
    """Return the payloads of packets."""
    return [data for _, _, data, _ in facts]


def merged(files: Sequence[Sequence[_Row]]) -> list[_Row]:
    """Merge files by time, the first element of a packet; at the same time, the first file goes first."""
    places = [0] * len(files)
    out = []
    while heads := [(files[k][at][0], k) for k, at in enumerate(places) if at < len(files[k])]:
        _, k = min(heads)
        out.append(files[k][places[k]])
        places[k] += 1
    return out


def until_the_end(source: Source) -> tuple[list[int], list[tuple[int, Exception]]]:
    """Read on after errors; return the times of packets, and each error with the number of packets before."""
    times: list[int] = []
    errors: list[tuple[int, Exception]] = []
    while True:
        try:
            times.append(source.next_packet().timestamp)
        except EOFError:
            return times, errors
        except (OSError, FileFormatError) as error:
            errors.append((len(times), error.with_traceback(None)))
            assert len(errors) < 100


def descriptors() -> int:
    """Return the number of open file descriptors."""
    return len(os.listdir("/proc/self/fd"))
