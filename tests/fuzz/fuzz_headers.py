"""Fuzz the header columns: offsets lie within the packet, and no column depends on bytes around it."""

from __future__ import annotations

import io
import struct

import numpy as np

import slimcap
from corpus import packets

KEYS = ["flow_hash", "flow_hash_symmetric", "community_id"]
AROUND = b"\0", b"\xff", b"\x45"
MOST_TUNNELS = 8


def check(payloads: list[bytes], linktype: int, more: int = 0) -> np.ndarray:
    """Return outer and inner columns of packets; `more` bytes of each were not captured."""
    whole = slimcap.read(io.BytesIO(_file(payloads, linktype, more)))
    columns = [*(slimcap.HEADER_DTYPE.names or ()), *KEYS]
    found = []
    for inner in (False, True):
        rows = [_moved(whole, payloads, fill).headers(columns, inner=inner) for fill in AROUND]
        assert rows[0].tobytes() == rows[1].tobytes() == rows[2].tobytes()
        _check_rows(rows[0], whole)
        found.append(rows[0])
    outer, inside = found
    assert not outer["tunnels"].any()
    same = inside["tunnels"] == 0
    assert all((outer[name] == inside[name])[same].all() for name in columns)
    return np.concatenate(found)


def _check_rows(rows: np.ndarray, whole: slimcap.Batch) -> None:
    captured, total = whole["cap_len"], whole["total_len"]
    assert np.isin(rows["status"], [int(status) for status in slimcap.HeaderStatus]).all()
    assert (rows["l4_offset"] <= captured).all()
    assert (rows["l7_offset"] <= captured).all()
    reaches = rows["l7_offset"].astype("u8") + rows["l7_len"]
    assert (reaches <= np.maximum(total, rows["l7_offset"])).all()
    assert (rows["tunnels"] <= MOST_TUNNELS).all()
    assert (rows["vlan_id"] < 4096).all()
    no_ip = whole["ip_offset"] == slimcap.NO_IP
    assert (rows["ip_version"][no_ip] == 0).all()


def _file(payloads: list[bytes], linktype: int, more: int) -> bytes:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)
    records = (struct.pack("<IIII", 1, 0, len(one), len(one) + more) + one for one in payloads)
    return header + b"".join(records)


def _moved(whole: slimcap.Batch, payloads: list[bytes], fill: bytes) -> slimcap.Batch:
    """Return the same packets with other bytes around them."""
    before, after = fill * 9, fill * 70
    records, at = whole.records.copy(), 0
    for row, payload in zip(records, payloads, strict=True):
        row["offset"] = at + len(before)
        at += len(before) + len(payload) + len(after)
    return slimcap.Batch(records, b"".join(before + one + after for one in payloads), whole.links)


def seeds() -> list[bytes]:
    """Return inputs to mutate: Ethernet frames of many protocols."""
    return [b"\1\0\0" + packet.data for packet in packets()]


def test_one_input(data: bytes) -> None:
    """Dissect a packet: two bytes are the link type, one the number of bytes that were not captured."""
    if len(data) > 2:
        check([data[3:]], int.from_bytes(data[:2], "little"), data[2])
