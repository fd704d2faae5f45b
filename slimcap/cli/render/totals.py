"""What packets add up to, whatever is told of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from slimcap.packet.batch import Batch
from slimcap.packet.enums import RecordFlag

SECOND: Final = 10**9
# Plain int: numpy takes an enum's for int64, and widens the column.
_TRUNCATED: Final = int(RecordFlag.TRUNCATED)


class Totals:
    """Adds up packets, in memory that stays the same however many there are.

    Attributes
    ----------
    packets, bytes, captured, truncated : int
        How many; their bytes on the wire, and captured; how many of them were cut.
    first, last : int or None
        The earliest and the latest time, in nanoseconds.
    in_order : bool
        Whether none was earlier than the one before it.
    """

    def __init__(self) -> None:
        self.packets = self.bytes = self.captured = self.truncated = 0
        self.first: int | None = None
        self.last: int | None = None
        self.in_order = True
        self._latest = -(1 << 63)  # time of the packet before

    def add(self, batch: Batch) -> None:
        """Add a batch's packets."""
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
        """From the earliest packet to the latest, and the rates over that time, as `--json` shows them."""
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
    """A time in nanoseconds since 1970, as ISO 8601."""
    return None if ns is None else f"{np.datetime64(ns, 'ns')}Z"
