"""Flow records as lines of text or JSON."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from slimcap.cli.render.report_text import json_objects
from slimcap.flow.flow_batch import OPTIONAL, TIMES, FlowBatch
from slimcap.flow.flow_enums import FlowEnd, FlowInitiator
from slimcap.packet.address import ip_to_str

_NAMES_OF: Final = {"end_reason": FlowEnd, "initiator": FlowInitiator}
_NANOSECONDS: Final = 10**9


def text_lines(flows: FlowBatch) -> list[str]:
    """Format records as text lines: start, duration, endpoints, packets and bytes of each side, end."""
    records = flows.records
    names = ("src_port", "dst_port", "protocol", "src_packets", "dst_packets", "src_bytes", "dst_bytes")
    columns = zip(
        _times(records["first"], " "),
        (records["last"] - records["first"]).tolist(),
        ip_to_str(records["src"]).tolist(),
        ip_to_str(records["dst"]).tolist(),
        *(records[name].tolist() for name in names),
        records["vlan_id"].tolist(),
        _members("end_reason", records),
        strict=True,
    )
    return [
        f"{first}  {duration // _NANOSECONDS:>5}.{duration % _NANOSECONDS // 1000:06} s"
        f"  {src}:{src_port} => {dst}:{dst_port} (proto: {protocol})"
        f"  {packets:,}+{dst_packets:,} packets  {size:,}+{dst_size:,} bytes"
        f"{f'  vlan {vlan}' if vlan else ''}  {end}"
        for (
            first, duration, src, dst, src_port, dst_port, protocol,
            packets, dst_packets, size, dst_size, vlan, end,
        ) in columns
    ]  # fmt: skip


def json_lines(flows: FlowBatch) -> list[str]:
    """Format records as JSON objects with the columns as keys, in order, and two of time in nanoseconds."""
    records = flows.records
    columns: dict[str, list[Any]] = {
        "first": [f"{time}Z" for time in _times(records["first"], "T")],
        "last": [f"{time}Z" for time in _times(records["last"], "T")],
        "first_ns": records["first"].tolist(),
        "last_ns": records["last"].tolist(),
        "flow_id": [f"{number:016x}" for number in records["flow_id"].tolist()],
        "src": ip_to_str(records["src"]).tolist(),
        "dst": ip_to_str(records["dst"]).tolist(),
    }
    for name in records.dtype.names or ():
        if name in _NAMES_OF:
            columns[name] = _members(name, records)
        elif name in TIMES:
            present = _present(name, records)
            columns[name] = _or_none(present, [f"{time}Z" for time in _times(records[name], "T")])
            columns[f"{name}_ns"] = _or_none(present, records[name].tolist())
        elif name in OPTIONAL:
            columns[name] = _or_none(_present(name, records), ip_to_str(records[name]).tolist())
        elif name not in columns:
            columns[name] = _values(records[name])
    return json_objects(columns)


def _present(name: str, records: np.ndarray[Any, Any]) -> list[bool]:
    """Return for each record whether it has an optional column."""
    witnesses = [np.asarray(records[witness]) for witness in OPTIONAL[name]]
    zeros = [np.zeros(1, witness.dtype)[0] for witness in witnesses]
    found = np.any([one != zero for one, zero in zip(witnesses, zeros, strict=True)], axis=0)
    present: list[bool] = found.tolist()
    return present


def _or_none(present: list[bool], values: list[Any]) -> list[Any]:
    return [value if one else None for one, value in zip(present, values, strict=True)]


def _values(column: np.ndarray[Any, Any]) -> list[Any]:
    """Return a column as JSON has it: bytes as hexadecimal text."""
    if column.dtype.kind == "S":
        return [text.decode("ascii", "replace") for text in column.tolist()]
    if column.dtype == np.uint8 and column.ndim == 2:
        return [row.tobytes().hex() for row in column]
    values: list[Any] = column.tolist()
    return values


def _times(column: np.ndarray[Any, Any], separator: str) -> list[str]:
    """Return times in ISO 8601, in UTC, without a zone, and this between date and time."""
    times: list[str] = np.datetime_as_string(column.view("M8[ns]"), unit="ns").tolist()
    return times if separator == "T" else [time.replace("T", separator) for time in times]


def _members(name: str, records: np.ndarray[Any, Any]) -> list[str]:
    """Return the names of the members of an enumeration in a column."""
    members = _NAMES_OF[name]
    return [members(number).name for number in records[name].tolist()]
