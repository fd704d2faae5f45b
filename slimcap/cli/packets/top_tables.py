"""Totals by flow, host and port for `slimcap top`: numpy's grouping of flow records, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slimcap.flow.flow_batch import FlowBatch

FLOWS, HOSTS, PORTS = "flows", "hosts", "ports"
COUNTS: Final = ("now_packets", "now_bytes", "packets", "bytes")
"""Columns of all tables: the packets and bytes of the last interval, and those since the start."""

MAX_ENTRIES: Final = 100_000

_COMMON: Final = [*((name, "u8") for name in COUNTS), ("first", "i8"), ("last", "i8")]
_ENDPOINTS: Final = [
    ("src", "V16"),
    ("dst", "V16"),
    ("src_port", "u2"),
    ("dst_port", "u2"),
    ("protocol", "u1"),
]
DTYPES: Final = {
    FLOWS: np.dtype([("flow_id", "u8"), *_COMMON, *_ENDPOINTS], align=True),
    HOSTS: np.dtype([("address", "V16"), *_COMMON], align=True),
    PORTS: np.dtype([*_COMMON, ("dst_port", "u2"), ("protocol", "u1")], align=True),
}
"""The rows of a table, by kind. Those of a flow are from its initiator, `src`; `dst` has the service."""

_KEYS: Final = {FLOWS: ("flow_id",), HOSTS: ("address",), PORTS: ("protocol", "dst_port")}

_Rows: TypeAlias = NDArray[np.void]


class Other(NamedTuple):
    """Sums over the entries that left a table because it was full; an entry that left twice counts twice."""

    entries: int = 0
    now_packets: int = 0
    now_bytes: int = 0
    packets: int = 0
    bytes: int = 0


class TopTable(NamedTuple):
    """Entries of one kind in order of their keys, an array of DTYPES that does not change; and all others."""

    rows: _Rows
    other: Other

    def total(self, column: str) -> int:
        """Return the sum of one of COUNTS, which is that over all packets of flows."""
        return int(self.rows[column].sum()) + int(getattr(self.other, column))


class TopTables:
    """Tables of all kinds, by kind: `tables`, which `add` replaces.

    They have at most `max_entries` each: those with the most bytes.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self.tables: Mapping[str, TopTable] = {
            kind: TopTable(np.zeros(0, dtype), Other()) for kind, dtype in DTYPES.items()
        }

    def add(self, ended: FlowBatch, *, new_interval: bool) -> Mapping[str, TopTable]:
        """Add records, and return the tables; `new_interval` sets the counts of the interval to 0 before."""
        tables = {}
        for kind, table in self.tables.items():
            before, other = table.rows.copy(), table.other
            if new_interval:
                before["now_packets"] = before["now_bytes"] = 0
                other = other._replace(now_packets=0, now_bytes=0)
            new = grouped(kind, entries_of(kind, ended))
            tables[kind] = self._limited(grouped(kind, np.concatenate([before, new])), other)
        self.tables = tables
        return tables

    def _limited(self, rows: _Rows, other: Other) -> TopTable:
        """Return the table of these rows; the smallest leave it if there are too many."""
        excess = len(rows) - self._max_entries
        if excess <= 0:
            return TopTable(rows, other)
        leaves = np.zeros(len(rows), bool)
        leaves[np.argpartition(rows["bytes"], excess)[:excess]] = True
        sums = {name: getattr(other, name) + int(rows[name][leaves].sum()) for name in COUNTS}
        return TopTable(rows[~leaves], Other(other.entries + excess, **sums))


def entries_of(kind: str, flows: FlowBatch) -> _Rows:
    """Return an entry for each record, or for hosts one for each side of it."""
    records = np.asarray(flows.records)
    if kind == HOSTS:
        sides = [_filled(kind, records, address=records["src"])]
        others = records[records["src"] != records["dst"]]  # a host that speaks to itself counts once
        return np.concatenate([*sides, _filled(kind, others, address=others["dst"])])
    names = [name for name in DTYPES[kind].names or () if name not in COUNTS]
    return _filled(kind, records, **{name: records[name] for name in names})


def _filled(kind: str, records: _Rows, **columns: NDArray[Any]) -> _Rows:
    entries = np.zeros(len(records), DTYPES[kind])
    for name, column in columns.items():
        entries[name] = column
    for name in ("packets", "bytes"):
        entries[name] = entries[f"now_{name}"] = records[f"src_{name}"] + records[f"dst_{name}"]
    entries["first"], entries["last"] = records["first"], records["last"]
    return entries


def grouped(kind: str, entries: _Rows) -> _Rows:
    """Return one row for each key, in order of the keys, with the sums of the counts."""
    if not len(entries):
        return entries
    columns = [column for name in _KEYS[kind] for column in _integers(entries[name])]
    order = np.lexsort(columns)
    is_first = np.ones(len(order), bool)
    is_first[1:] = False
    for column in columns:
        in_order = column[order]
        is_first[1:] |= in_order[1:] != in_order[:-1]
    rows: _Rows = entries[order]  # whole rows at once: columns would be gathered from memory one by one
    if is_first.all():
        return rows
    starts = np.flatnonzero(is_first)
    groups: _Rows = rows[starts]
    for name in COUNTS:
        groups[name] = np.add.reduceat(rows[name], starts)
    groups["first"] = np.minimum.reduceat(rows["first"], starts)
    groups["last"] = np.maximum.reduceat(rows["last"], starts)
    return groups


def _integers(column: NDArray[Any]) -> list[NDArray[Any]]:
    """Return a column of a key as one of integers, or as two for addresses: bytes sort much more slowly."""
    if column.dtype.kind != "V":
        return [np.ascontiguousarray(column)]
    halves = np.ascontiguousarray(column).view(np.uint64).reshape(-1, 2)
    return [np.ascontiguousarray(halves[:, 1]), np.ascontiguousarray(halves[:, 0])]


def largest(rows: _Rows, column: str, count: int) -> _Rows:
    """Return the rows with the largest values in a column, the largest first; of equal ones by bytes."""
    values = rows[column]
    if count < len(rows):
        rows = rows[values >= np.partition(values, len(rows) - count)[len(rows) - count]]
    return rows[np.lexsort((rows["bytes"], rows[column]))[::-1][:count]]
