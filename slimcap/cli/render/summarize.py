"""The summary of `slimcap read --summary`, computed in constant memory."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.render.summary_text import as_text
from slimcap.cli.render.totals import Totals
from slimcap.cli.terminal.streams import write
from slimcap.packet.batch import Batch
from slimcap.packet.enums import RecordFlag
from slimcap.source.file.pcap_source import PcapSource

SIZE_STARTS: Final = (0, 64, 128, 256, 512, 1024, 1519)
"""Start of each size range, in bytes; 1518 is the longest untagged Ethernet frame with its FCS."""

PROTOCOLS: Final = {
    0: "unknown",  # the packet is truncated before its protocol
    1: "ICMP",
    2: "IGMP",
    4: "IPv4-in-IP",
    6: "TCP",
    17: "UDP",
    33: "DCCP",
    41: "IPv6-in-IP",
    46: "RSVP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    88: "EIGRP",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    115: "L2TP",
    132: "SCTP",
    136: "UDP-Lite",
}
"""Names of the most common IANA protocol numbers; others are shown as numbers."""

# Plain int: numpy treats an enum member as int64, and would widen the column.
_VLAN: Final = int(RecordFlag.VLAN)


class Summary:
    """Sums over packets, written to standard output at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._totals = Totals()
        self._tagged = 0
        # Packets of each size in bytes; the last element counts all larger sizes, too.
        self._sizes = np.zeros(SIZE_STARTS[-1] + 1, np.int64)
        # Indexed by IP version and protocol: version << 8 | protocol.
        self._packets = np.zeros(16 << 8, np.int64)
        self._bytes = np.zeros(16 << 8, np.int64)
        self._link_types: dict[str, None] = {}

    def add(self, batch: Batch, source: PcapSource) -> None:
        """Add the packets of a batch."""
        self._totals.add(batch)
        self._tagged += int(np.count_nonzero(batch["flags"] & _VLAN))
        _add_to(self._sizes, np.bincount(np.minimum(batch["total_len"], SIZE_STARTS[-1])))
        self._add_protocols(batch)

    def _add_protocols(self, batch: Batch) -> None:
        headers = batch.headers(["ip_version", "protocol"])
        keys = headers["ip_version"].astype(np.uint16) << 8 | headers["protocol"]
        _add_to(self._packets, np.bincount(keys))
        # The weighted sums are floats, but exact: the bytes of a batch are far below 2^53.
        _add_to(self._bytes, np.bincount(keys, weights=batch["total_len"]).astype(np.int64))

    def end_file(self, source: PcapSource) -> None:
        """Note the link types of a file that was read."""
        self._link_types |= dict.fromkeys(link.type_name for link in source.links)

    def end(self) -> None:
        """Write the summary."""
        report = self.report()
        write(json.dumps(report) + "\n" if self._as_json else as_text(report))

    def report(self) -> dict[str, Any]:
        """Return the summary as shown by `--json`."""
        totals = self._totals
        return {
            "packets": totals.packets,
            "bytes": totals.bytes,
            "captured_bytes": totals.captured,
            **totals.span(),
            "truncated": totals.truncated,
            "vlan_tagged": self._tagged,
            "link_types": list(self._link_types),
            "sizes": self._by_size(),
            "ip_versions": self._by_version(),
            "protocols": self._by_protocol(),
        }

    def _by_size(self) -> dict[str, dict[str, int]]:
        names = [f"{start}-{stop - 1}" for start, stop in pairwise(SIZE_STARTS)]
        names.append(f"{SIZE_STARTS[-1]}-")
        packets = np.add.reduceat(self._sizes, SIZE_STARTS).tolist()
        sizes = np.add.reduceat(self._sizes * np.arange(len(self._sizes)), SIZE_STARTS).tolist()
        sizes[-1] = self._totals.bytes - sum(sizes[:-1])
        return {name: _count(*counts) for name, *counts in zip(names, packets, sizes, strict=True)}

    def _by_version(self) -> dict[str, dict[str, int]]:
        packets, sizes = (
            counts.reshape(16, 256).sum(axis=1).tolist() for counts in (self._packets, self._bytes)
        )
        counts = {str(version): _count(packets[version], sizes[version]) for version in (4, 6)}
        counts["none"] = _count(sum(packets) - packets[4] - packets[6], sum(sizes) - sizes[4] - sizes[6])
        return counts

    def _by_protocol(self) -> dict[str, dict[str, int]]:
        """Return the counts for each protocol over IPv4 and IPv6, the most frequent first."""
        packets, sizes = (
            counts.reshape(16, 256)[[4, 6]].sum(axis=0).tolist() for counts in (self._packets, self._bytes)
        )
        met = sorted(filter(packets.__getitem__, range(256)), key=packets.__getitem__, reverse=True)
        return {PROTOCOLS.get(number, str(number)): _count(packets[number], sizes[number]) for number in met}


def _add_to(totals: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Add counts of `np.bincount`, which may be shorter than the totals."""
    totals[: len(counts)] += counts


def _count(packets: int, size: int) -> dict[str, int]:
    return {"packets": packets, "bytes": size}
