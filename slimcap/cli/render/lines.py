"""Packets as lines of text or JSON, formatted batch by batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.terminal.streams import printable, write
from slimcap.packet.address import ip_to_str
from slimcap.packet.batch import Batch
from slimcap.packet.enums import NO_IP, PacketType, RecordFlag
from slimcap.source.file.pcap_source import PcapSource

VLAN_ID: Final = 0x0FFF
"""The bits of a tag that hold the VLAN ID (IEEE 802.1Q clause 9.6)."""

JSON_KEYS: Final = (
    "timestamp",
    "timestamp_ns",
    "interface",
    "type",
    "cap_len",
    "total_len",
    "vlan",
    "ip_offset",
    "ip_version",
    "protocol",
    "src",
    "dst",
    "sport",
    "dport",
)

_MARKS: Final = {
    PacketType.THIS_HOST: "In",
    PacketType.BROADCAST: "B",
    PacketType.MULTICAST: "M",
    PacketType.OTHER_HOST: "P",
    PacketType.OUTGOING: "Out",
    PacketType.UNKNOWN: "-",
}
_NO_ADDRESS: Final = np.zeros((), "V16")
# One entry for each byte, as the pkt_type column may hold any.
_MARK: Final = [f"{_MARKS[PacketType(byte)]:<3}" for byte in range(256)]
_TYPE: Final = [PacketType(byte).name for byte in range(256)]

Unit = Literal["us", "ns"]
"""Resolution in which timestamps are shown: microseconds or nanoseconds."""


class Lines:
    """Writes a line for each packet to standard output; `make` formats the lines of a batch."""

    def __init__(self, make: Callable[[Batch, Unit], list[str]]) -> None:
        self._make = make

    def add(self, batch: Batch, source: PcapSource) -> None:
        """Write the lines of a batch, with timestamps in the resolution of the file."""
        self.write(batch, "ns" if source.resolution == 1 else "us")

    def write(self, batch: Batch, unit: Unit) -> None:
        """Write the lines of a batch."""
        lines = self._make(batch, unit)
        lines.append("")
        write("\n".join(lines))

    def end_file(self, source: PcapSource) -> None:
        """Do nothing: the lines of the file are already written."""

    def end(self) -> None:
        """Do nothing: all lines are already written."""


def text_lines(batch: Batch, unit: Unit) -> list[str]:
    """Format packets as text lines: time, type, lengths, IP layer, VLAN, interface if there are several."""
    ip_layer = batch.ip_layer
    columns = zip(
        _spaced(_times(batch, unit)),
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


def json_lines(batch: Batch, unit: Unit) -> list[str]:
    """Format packets as JSON objects, each with all of JSON_KEYS; a missing value is null."""
    headers = batch.headers(["ip_version", "protocol", "src", "dst", "src_port", "dst_port"])
    versions, protocols = headers["ip_version"], headers["protocol"]
    columns = zip(
        [f"{time}Z" for time in _times(batch, unit).tolist()],
        batch["timestamp"].tolist(),
        _interfaces(batch),
        [_TYPE[kind] for kind in batch["pkt_type"].tolist()],
        batch["cap_len"].tolist(),
        batch["total_len"].tolist(),
        _vlans(batch),
        _or_none(batch["ip_offset"], batch["ip_offset"] != NO_IP),
        _or_none(versions, versions != 0),
        _or_none(protocols, protocols != 0),
        *_endpoints(headers),
        strict=True,
    )
    encode = json.JSONEncoder(check_circular=False).encode
    return [encode(dict(zip(JSON_KEYS, row, strict=True))) for row in columns]


def _times(batch: Batch, unit: Unit) -> NDArray[np.str_]:
    """Return the timestamps in ISO 8601, in UTC, without a zone."""
    return np.datetime_as_string(batch.timestamps, unit=unit)


def _spaced(times: NDArray[np.str_]) -> list[str]:
    """Replace the T by a space; the times have equal widths, so its position is the same in all."""
    times.view("U1").reshape(len(times), -1)[:, len("2024-03-01")] = " "
    texts: list[str] = times.tolist()
    return texts


def _or_none(column: NDArray[Any], there: NDArray[np.bool_]) -> list[Any]:
    objects = column.astype(object)
    objects[~there] = None
    values: list[Any] = objects.tolist()
    return values


def _interfaces(batch: Batch) -> list[str]:
    """Return the name of the interface of each packet."""
    names = [link.name for link in batch.links]
    return [names[index] for index in batch["interface"].tolist()]


def _ons(batch: Batch) -> list[str]:
    """Return the interface part of each line: empty if the batch has only one interface."""
    if len(batch.links) <= 1:
        return [""] * len(batch)
    return [f"  on {printable(name)}" for name in _interfaces(batch)]


def _vlans(batch: Batch) -> list[int | None]:
    """Return the ID of the outermost VLAN of each packet; None if it is untagged."""
    return _or_none(batch["vlan_tci"] & VLAN_ID, batch["flags"] & RecordFlag.VLAN != 0)


def _endpoints(headers: NDArray[np.void]) -> Iterator[list[Any]]:
    """Yield four columns: source and destination addresses, then ports; None if a packet has none."""
    addressed = (headers["ip_version"] != 0) & (headers["dst"] != _NO_ADDRESS)
    for name in ("src", "dst"):
        yield _or_none(ip_to_str(headers[name]), addressed)
    for name in ("src_port", "dst_port"):
        yield _or_none(headers[name], headers[name] != 0)
