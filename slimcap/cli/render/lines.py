"""Packets as lines of text or JSON, formatted batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.packets.packet_sink import PacketSink
from slimcap.cli.render.report_text import json_objects
from slimcap.cli.terminal.streams import printable, write
from slimcap.io.text import valid_text
from slimcap.packet.address import ip_to_str
from slimcap.packet.batch import Batch
from slimcap.packet.enums import NO_IP, PACKET_TYPES, PacketType, RecordFlag
from slimcap.packet.interface import InterfaceInfo
from slimcap.source.base import Source

_VLAN_ID: Final = 0x0FFF  # the bits of a tag that hold the VLAN ID (IEEE 802.1Q clause 9.6)

_MARKS: Final = dict(zip(PacketType, ("In", "B", "M", "P", "Out", "-"), strict=True))
_WITH_PORTS: Final = (6, 17, 33, 132, 136)  # TCP, UDP, DCCP, SCTP, UDP-Lite
_NO_ADDRESS: Final = np.zeros((), "V16")
# One entry for each byte, as the pkt_type column may hold any.
_MARK: Final = [f"{_MARKS[kind]:<3}" for kind in PACKET_TYPES]
_TYPE: Final = [kind.name for kind in PACKET_TYPES]

_MICROSECONDS, _NANOSECONDS = 6, 9  # digits of a second


class Lines(PacketSink):
    """Writes a line for each packet to standard output; `format_batch` returns the lines of a batch."""

    def __init__(self, format_batch: Callable[[Batch, int], list[str]]) -> None:
        self._format_batch = format_batch
        self._interfaces: tuple[InterfaceInfo, ...] = ()
        self._digits = _MICROSECONDS

    def add(self, batch: Batch, source: Source) -> None:
        """Write the lines of a batch, with timestamps in the resolution of its interfaces."""
        if batch.interfaces is not self._interfaces:
            self._interfaces = batch.interfaces
            self._digits = digits_of(info.ticks_per_second for info in self._interfaces)
        write("\n".join([*self._format_batch(batch, self._digits), ""]))


def digits_of(resolutions: Iterable[int]) -> int:
    """Return the number of digits after the second, 6 to 9, that show times in these ticks per second."""
    digits = _MICROSECONDS
    for ticks in resolutions:
        power = len(str(ticks)) - 1
        digits = max(digits, power if ticks == 10**power else _NANOSECONDS)
    return min(digits, _NANOSECONDS)


def text_lines(batch: Batch, digits: int) -> list[str]:
    """Format packets as text lines: time, type, lengths, IP layer, VLAN, interface if there are several.

    `digits` is the number of digits after the second.
    """
    ip_layer = batch.ip_layer
    columns = zip(
        ["time out of range" if time is None else time.replace("T", " ") for time in _times(batch, digits)],
        batch["pkt_type"].tolist(),
        batch["cap_len"].tolist(),
        batch["total_len"].tolist(),
        batch["ip_offset"].tolist(),
        ["" if vlan is None else f"  vlan {vlan}" for vlan in _vlans(batch)],
        _ons(batch),
        strict=True,
    )
    return [
        f"{time}  {_MARK[kind]}  {cap_len:>5}/{total_len:<5}  "
        f"{ip_layer(index) if ip_offset != NO_IP else 'no IP layer'}{vlan}{interface}"
        for index, (time, kind, cap_len, total_len, ip_offset, vlan, interface) in enumerate(columns)
    ]


def json_lines(batch: Batch, digits: int) -> list[str]:
    """Format packets as JSON objects with the same keys; a missing value is null."""
    headers = batch.headers(["ip_version", "protocol", "src", "dst", "src_port", "dst_port", "l4_offset"])
    is_ip = headers["ip_version"] != 0
    addressed = is_ip & ((headers["src"] != _NO_ADDRESS) | (headers["dst"] != _NO_ADDRESS))
    # Bytes of the ports that were captured.
    ported = np.isin(headers["protocol"], _WITH_PORTS) & (headers["l4_offset"] != 0)
    ports = (batch["cap_len"].astype(np.int64) - headers["l4_offset"]) * ported
    columns: dict[str, list[Any]] = {
        "timestamp": [None if time is None else f"{time}Z" for time in _times(batch, digits)],
        "timestamp_ns": _or_none(batch["timestamp"], batch["flags"] & RecordFlag.TIME_CLAMPED == 0),
        "interface": _interfaces(batch),
        "type": [_TYPE[number] for number in batch["pkt_type"].tolist()],
        "cap_len": batch["cap_len"].tolist(),
        "total_len": batch["total_len"].tolist(),
        "vlan": _vlans(batch),
        "ip_offset": _or_none(batch["ip_offset"], batch["ip_offset"] != NO_IP),
        "ip_version": _or_none(headers["ip_version"], is_ip),
        "protocol": _or_none(headers["protocol"], is_ip & ((headers["protocol"] != 0) | addressed)),
        "src": _or_none(ip_to_str(headers["src"]), addressed),
        "dst": _or_none(ip_to_str(headers["dst"]), addressed),
        "src_port": _or_none(headers["src_port"], ports >= 2),
        "dst_port": _or_none(headers["dst_port"], ports >= 4),
    }
    return json_objects(columns)


def _times(batch: Batch, digits: int) -> list[str | None]:
    """Return the timestamps in ISO 8601, in UTC, without a zone; None if 64 bits do not hold one."""
    unit: Literal["us", "ns"] = "us" if digits == _MICROSECONDS else "ns"
    times: list[str | None] = np.datetime_as_string(batch.timestamps, unit=unit).tolist()
    if _MICROSECONDS < digits < _NANOSECONDS:
        times = [time and time[: digits - _NANOSECONDS] for time in times]
    for row in np.flatnonzero(batch["flags"] & RecordFlag.TIME_CLAMPED).tolist():
        times[row] = None
    return times


def _or_none(column: NDArray[Any], present: NDArray[np.bool_]) -> list[Any]:
    objects = column.astype(object)
    objects[~present] = None
    values: list[Any] = objects.tolist()
    return values


def _interfaces(batch: Batch) -> list[str]:
    """Return the name of the interface of each packet."""
    names = [valid_text(link.name) for link in batch.links]
    return [names[index] for index in batch["interface"].tolist()]


def _ons(batch: Batch) -> list[str]:
    """Return the interface part of each line: empty if the batch has only one interface."""
    if len(batch.links) <= 1:
        return [""] * len(batch)
    return [f"  on {printable(name)}" for name in _interfaces(batch)]


def _vlans(batch: Batch) -> list[int | None]:
    """Return the ID of the outermost VLAN of each packet; None if it is untagged."""
    return _or_none(batch["vlan_tci"] & _VLAN_ID, batch["flags"] & RecordFlag.VLAN != 0)
