"""Flow records with the names and units of nfstream, a Python package, so that notebooks for it can be used.

nfstream (www.nfstream.org, attributes of NFlow) calls the direction from `src` to `dst` src2dst, the length
of a packet ps and an inter-arrival time piat. Its times are milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from slimcap.flow.flow_enums import FlowEnd

if TYPE_CHECKING:
    from numpy.typing import NDArray

NFSTREAM_ADDRESSES: Final = ("src_ip", "dst_ip")

_DIRECTIONS: Final = {"bidirectional": "", "src2dst": "src_", "dst2src": "dst_"}
_STATISTICS: Final = {"min": "min", "mean": "mean", "stddev": "std", "max": "max"}
_FLAGS: Final = ("syn", "cwr", "ece", "urg", "ack", "psh", "rst", "fin")
_RENAMED: Final = {
    "src_ip": "src",
    "src_port": "src_port",
    "dst_ip": "dst",
    "dst_port": "dst_port",
    "protocol": "protocol",
    "ip_version": "ip_version",
    "vlan_id": "vlan_id",
}
_MS: Final = 1_000_000

# nfstream: 0 idle, 1 active, -1 another reason. At the end of a file its flows are idle.
_EXPIRATIONS: Final = {FlowEnd.IDLE: 0, FlowEnd.FORCED: 0, FlowEnd.ACTIVE: 1}

_Columns = dict[str, "NDArray[Any]"]


def nfstream_columns(records: NDArray[np.void]) -> NDArray[np.void]:
    """Return the columns of nfstream that flow records have.

    Parameters
    ----------
    records : ndarray of FLOW_DTYPE and the columns of features, shape (N,)
        The records.

    Returns
    -------
    structured ndarray, shape (N,)
        Those of NFlow from `expiration_id` to `dst2src_bytes`, without MAC addresses; with the features
        "lengths", "iat" and "flags" its statistics, and with SPLT `splt_direction`, `splt_ps` and
        `splt_piat_ms`.
    """
    names = set(records.dtype.names or ())
    columns = _of_every_record(records)
    if "len_min" in names:
        columns |= _statistics(records, "len", "ps")
    if "iat_min" in names:
        times = _statistics(records, "iat", "piat_ms")
        columns |= {name: time / _MS for name, time in times.items()}
    if "src_syn_packets" in names:
        columns |= _flags(records)
    if "splt_len" in names:
        columns |= _splt(records)
    table = np.empty(len(records), [(name, one.dtype, one.shape[1:]) for name, one in columns.items()])
    for name, one in columns.items():
        table[name] = one
    return table


def _of_every_record(records: NDArray[np.void]) -> _Columns:
    columns: _Columns = {"expiration_id": np.full(len(records), -1, np.int8)}
    for reason, number in _EXPIRATIONS.items():
        columns["expiration_id"][records["end_reason"] == reason] = number
    columns |= {name: records[ours] for name, ours in _RENAMED.items()}
    for name, side in _DIRECTIONS.items():
        if f"{side}first" in (records.dtype.names or ()):
            first, last = records[f"{side}first"] // _MS, records[f"{side}last"] // _MS
            columns[f"{name}_first_seen_ms"], columns[f"{name}_last_seen_ms"] = first, last
            columns[f"{name}_duration_ms"] = last - first
        for what in ("packets", "bytes"):
            columns[f"{name}_{what}"] = _sum(records, side, what)
    return columns


def _sum(records: NDArray[np.void], side: str, what: str) -> NDArray[Any]:
    """Return a column of one direction, or the sum of both."""
    return records[f"{side}{what}"] if side else records[f"src_{what}"] + records[f"dst_{what}"]


def _statistics(records: NDArray[np.void], ours: str, unit: str) -> _Columns:
    """Return minimum, mean, standard deviation and maximum of each direction."""
    return {
        f"{name}_{statistic}_{unit}": records[f"{side}{ours}_{suffix}"]
        for name, side in _DIRECTIONS.items()
        for statistic, suffix in _STATISTICS.items()
    }


def _flags(records: NDArray[np.void]) -> _Columns:
    return {
        f"{name}_{flag}_packets": _sum(records, side, f"{flag}_packets")
        for name, side in _DIRECTIONS.items()
        for flag in _FLAGS
    }


def _splt(records: NDArray[np.void]) -> _Columns:
    """Return direction (0 from `src`, 1 from `dst`), length and time of the first packets; -1 after them."""
    lengths, times = records["splt_len"], records["splt_iat"]
    packets = _sum(records, "", "packets")[:, np.newaxis]
    is_missing = np.arange(lengths.shape[1]) >= packets
    return {
        "splt_direction": np.where(is_missing, -1, lengths < 0).astype(np.int8),
        "splt_ps": np.where(is_missing, -1, abs(lengths)),
        "splt_piat_ms": np.where(is_missing, -1, times / _MS),
    }
