"""Sums over packets, in constant memory: totals, and the summary of `slimcap read --summary`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.packets.packet_sink import PacketSink
from slimcap.cli.render.report_text import json_text, summary_text
from slimcap.cli.terminal.streams import write
from slimcap.packet.batch import Batch
from slimcap.packet.enums import PROTOCOL_NAMES, RecordFlag
from slimcap.source.base import Source
from slimcap.source.file.pcap_source import PcapSource

# Start of each size range, in bytes; 1518 is the longest untagged Ethernet frame with its FCS.
SIZE_STARTS: Final = (0, 64, 128, 256, 512, 1024, 1519)

# Plain ints: numpy treats an enum member as int64, and would widen the column.
_VLAN: Final = int(RecordFlag.VLAN)
_TRUNCATED: Final = int(RecordFlag.TRUNCATED)
_CLAMPED: Final = int(RecordFlag.TIME_CLAMPED)

Counts = dict[str, dict[str, int]]  # numbers of packets and bytes, by name


class Totals:
    """Numbers of packets, of bytes on the wire and captured, of truncated packets; times in nanoseconds.

    `first` and `last` are the earliest and the latest time, None without packets. `in_order` is True if no
    packet was earlier than the one before it. `out_of_range` counts the packets whose times were clamped;
    `first` and `last` are without them.
    """

    def __init__(self) -> None:
        self.packets = self.bytes = self.captured = self.truncated = self.out_of_range = 0
        self.first: int | None = None
        self.last: int | None = None
        self.in_order = True
        self._previous = -(1 << 63)

    def add(self, batch: Batch) -> None:
        """Add the packets of a batch, which must not be empty."""
        self.packets += len(batch)
        self.bytes += batch.total_bytes
        self.captured += int(batch["cap_len"].sum(dtype=np.int64))
        self.truncated += int(np.count_nonzero(batch["flags"] & _TRUNCATED))
        times = batch["timestamp"]
        clamped = batch["flags"] & _CLAMPED != 0
        if clamped.any():
            self.out_of_range += int(np.count_nonzero(clamped))
            self._limit(times[~clamped])
        else:
            self._limit(times)
        if self.in_order:
            self.in_order = self._previous <= int(times[0]) and bool((times[1:] >= times[:-1]).all())
            self._previous = int(times[-1])

    def _limit(self, times: NDArray[np.int64]) -> None:
        """Update the earliest and the latest time."""
        if times.size:
            first, last = int(times.min()), int(times.max())
            self.first = first if self.first is None else min(first, self.first)
            self.last = last if self.last is None else max(last, self.last)

    def span(self) -> dict[str, Any]:
        """Return the earliest and latest time and the rates between them, as shown by `--json`."""
        ns = None if self.first is None or self.last is None else self.last - self.first
        return {
            "first": iso(self.first),
            "first_ns": self.first,
            "last": iso(self.last),
            "last_ns": self.last,
            "duration": None if ns is None else ns / 10**9,
            "packets_per_second": self.packets * 10**9 / ns if ns else None,
            "bits_per_second": self.bytes * 8 * 10**9 / ns if ns else None,
            "times_out_of_range": self.out_of_range,
        }


class Summary(PacketSink):
    """Sums over packets, written to standard output at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._totals = Totals()
        self._tagged = 0
        # Rows: packets, bytes. Columns: size range; IP version and protocol (version << 8 | protocol).
        self._sizes = np.zeros((2, len(SIZE_STARTS)), np.int64)
        self._protocols = np.zeros((2, 16 << 8), np.int64)
        self._link_types: dict[str, None] = {}

    def add(self, batch: Batch, source: Source) -> None:
        """Add the packets of a batch."""
        lengths, headers = batch["total_len"], batch.headers(["ip_version", "protocol"])
        self._totals.add(batch)
        self._tagged += int(np.count_nonzero(batch["flags"] & _VLAN))
        _add(self._sizes, np.searchsorted(SIZE_STARTS, lengths, "right") - 1, lengths)
        _add(self._protocols, headers["ip_version"].astype(np.uint16) << 8 | headers["protocol"], lengths)

    def end_file(self, source: PcapSource) -> None:
        """Note the link types of a file that was read."""
        self._link_types |= dict.fromkeys(link.type_name for link in source.links)

    def close(self) -> None:
        """Write the summary."""
        report = self.report()
        write(json_text(report) if self._as_json else summary_text(report))

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

    def _by_size(self) -> Counts:
        names = [*(f"{start}-{stop - 1}" for start, stop in pairwise(SIZE_STARTS)), f"{SIZE_STARTS[-1]}-"]
        return _counts(names, self._sizes)

    def _by_version(self) -> Counts:
        sums = self._protocols.reshape(2, 16, 256).sum(2)
        others = np.delete(sums, [4, 6], 1).sum(1)
        return _counts(("4", "6", "none"), np.column_stack((sums[:, 4], sums[:, 6], others)))

    def _by_protocol(self) -> Counts:
        """Return the counts for each protocol over IPv4 and IPv6, the most frequent first."""
        sums = self._protocols.reshape(2, 16, 256)[:, [4, 6]].sum(1)
        order = np.argsort(-sums[0], kind="stable")[: np.count_nonzero(sums[0])]
        return _counts([PROTOCOL_NAMES.get(number, str(number)) for number in order.tolist()], sums[:, order])


def _add(sums: NDArray[np.int64], keys: NDArray[Any], lengths: NDArray[np.uint32]) -> None:
    """Add packets to their columns, by their keys."""
    columns = sums.shape[1]
    sums[0] += np.bincount(keys, minlength=columns)
    # The weighted sums are floats, but exact: the bytes of a batch are far below 2^53.
    sums[1] += np.bincount(keys, lengths, columns).astype(np.int64)


def _counts(names: Iterable[str], sums: NDArray[np.int64]) -> Counts:
    columns = zip(names, *sums.tolist(), strict=True)
    return {name: {"packets": packets, "bytes": size} for name, packets, size in columns}


def iso(ns: int | None) -> str | None:
    """Format a time in nanoseconds since the Unix epoch as ISO 8601, in UTC; None stays None."""
    return None if ns is None else f"{np.datetime64(ns, 'ns')}Z"
