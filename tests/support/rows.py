"""Records for tests of Batch: rows in which all values differ, over random bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from slimcap import NO_IP, RECORD_DTYPE, Link

SIZE = 4096
CONTENT = random.Random(1).randbytes(SIZE)
LENGTHS = (60, 0, 1, 300, 1514, 60)  # captured lengths of `rows()`
NAMES: tuple[str, ...] = RECORD_DTYPE.names or ()
MASK = np.array([True, False, False, True, True, False])  # selects rows of `rows()`
ETH0, ETH1, TUN0 = Link("eth0", 1, 1), Link("eth1", 2, 1), Link("tun0", 3, 101)


def rows(lengths: Sequence[int] = LENGTHS, gap: int = 11) -> np.ndarray:
    """Return records of consecutive packets with a gap before each; all values in them differ."""
    records = np.zeros(len(lengths), RECORD_DTYPE)
    for column, name in enumerate(NAMES):
        records[name] = np.arange(len(lengths)) * 3 + column
    records["cap_len"] = lengths
    records["offset"] = gap + np.cumsum([0, *lengths])[:-1] + np.arange(len(lengths)) * gap
    records["ip_offset"] = [NO_IP if number % 3 == 1 else 14 for number in range(len(lengths))]
    return records


def row(offset: int = 0, cap_len: int = 0, **values: int) -> np.ndarray:
    """Return an array of one record; values that are not given are 0."""
    record = np.zeros(1, RECORD_DTYPE)
    for name, value in {"offset": offset, "cap_len": cap_len, **values}.items():
        record[name] = value
    return record


def payload_of(record: np.void, data: bytes = CONTENT) -> bytes:
    """Return the captured bytes of a record."""
    return data[int(record["offset"]) :][: int(record["cap_len"])]


def payloads_in(records: np.ndarray, data: bytes = CONTENT) -> list[bytes]:
    """Return the captured bytes of each record."""
    return [payload_of(record, data) for record in records]
