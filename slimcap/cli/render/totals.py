"""Packet totals, as shown by several commands."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from slimcap.packet.batch import Batch
from slimcap.packet.enums import RecordFlag

SECOND: Final = 10**9
# Plain int: numpy treats an enum member as int64, and would widen the column.
_TRUNCATED: Final = int(RecordFlag.TRUNCATED)


class Totals:
    """Sums over packets, in constant memory.

    Attributes
    ----------
    packets, bytes, captured, truncated : int
        Number of packets, their bytes on the wire, their captured bytes, and the number of truncated ones.
    first, last : int or None
        Earliest and latest time, in nanoseconds since the Unix epoch; None without packets.
    in_order : bool
        True if no packet was earlier than the one before it.
    """

    def __init__(self) -> None:
        self.packets = self.bytes = self.captured = self.truncated = 0
        self.first: int | None = None
        self.last: int | None = None
        self.in_order = True
        self._latest = -(1 << 63)  # time of the previous packet

    def add(self, batch: Batch) -> None:
        """Add the packets of a batch, which must not be empty."""
        self.packets += len(batch)
        self.bytes += batch.total_bytes
        self.captured += int(batch["cap_len"].sum(dtype=np.int64))
        self.truncated += int(np.count_nonzero(batch["flags"] & _TRUNCATED))
        times = batch["timestamp"]
        first, last = int(times.min()), int(times.max())
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)
        if self.in_order:
            self.in_order = self._latest <= int(times[0]) and bool((times[1:] >= times[:-1]).all())
            self._latest = int(times[-1])

    def span(self) -> dict[str, Any]:
        """Return the earliest and latest time and the rates between them, as shown by `--json`."""
        duration = None if self.first is None or self.last is None else self.last - self.first
        return {
            "first": iso(self.first),
            "first_ns": self.first,
            "last": iso(self.last),
            "last_ns": self.last,
            "duration": None if duration is None else duration / SECOND,
            "packets_per_second": self.packets * SECOND / duration if duration else None,
            "bits_per_second": self.bytes * 8 * SECOND / duration if duration else None,
        }


def iso(ns: int | None) -> str | None:
    """Format a time in nanoseconds since the Unix epoch as ISO 8601, in UTC; None stays None."""
    return None if ns is None else f"{np.datetime64(ns, 'ns')}Z"
