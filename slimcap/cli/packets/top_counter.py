"""`TopCounter`: packets in, tables of the busiest flows, hosts and ports out, once an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from slimcap.cli.packets.top_tables import MAX_ENTRIES, TopTable, TopTables
from slimcap.flow.flow_batch import FlowBatch
from slimcap.flow.flow_table import FlowTable
from slimcap.packet.batch import Batch
from slimcap.source.live.live_options import LATENCY

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

IDLE_TIMEOUT: Final = 60.0  # seconds; afterwards a packet starts another flow, whose totals start at 0

_NANOSECONDS: Final = 10**9
_SPARE: Final = _NANOSECONDS // 33  # how late packets may come, besides the latency of the source
_CHUNK: Final = 1 << 18  # records to group at a time
_MAX_PENDING: Final = 1 << 21  # records that wait for the thread, of 128 bytes or more each


class Snapshot(NamedTuple):
    """The tables at the end of an interval.

    `seconds` is the length of the interval. `other_packets` and `other_bytes` are those of packets without
    an IP header, since the start; they are in no table.
    """

    tables: Mapping[str, TopTable]
    seconds: float
    other_packets: int
    other_bytes: int


class TopCounter:
    """Counts packets in a flow table whose windows are the intervals, and groups the records in a thread.

    The intervals start at multiples of their length since 1970, as windows do. The first one starts when
    the counter is made, and is 0.5 to 1.5 times as long. If grouping takes longer than an interval, the
    next one is longer. Times are nanoseconds since 1970, of the clock that stamps packets.

    Parameters
    ----------
    seconds : float
        Length of an interval.
    now : int
        The time.
    max_entries : int, default MAX_ENTRIES
        Maximum number of entries in a table.
    latency : float, default 0.02
        Maximum delay of a packet in seconds: that of the source.
    """

    def __init__(
        self, seconds: float, now: int, max_entries: int = MAX_ENTRIES, latency: float = LATENCY
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor  # 3 ms, which all other commands would wait for

        # A clock that is set back by more than the active timeout ends all flows, and is followed.
        self._flows = FlowTable(window=seconds, active_timeout=seconds + 1, idle_timeout=IDLE_TIMEOUT)
        self._length = round(seconds * _NANOSECONDS)
        self._start = now
        self._delay = round(latency * _NANOSECONDS) + _SPARE
        self._pending: list[FlowBatch] = []
        self._pending_count = 0
        self._tables = TopTables(max_entries)
        self._new_interval = True
        self._thread = ThreadPoolExecutor(1)
        self._work: Future[Snapshot | None] | None = None
        self._ready: Snapshot | None = None

    def add(self, batch: Batch) -> None:
        """Count the packets of a batch."""
        self._keep(self._flows.update(batch))
        if self._pending_count >= _CHUNK:
            self._collect(wait=self._pending_count >= _MAX_PENDING)
            if self._work is None:
                self._submit(self._taken(), None)

    def advance(self, now: int) -> None:
        """End the interval if it is over. Grouping it may take a while: see `finished`."""
        now -= self._delay
        border = now - now % self._length
        if border < self._start - self._length:  # the clock was set back
            self._start = border - self._length
        self._collect()
        if border - self._start < self._length // 2 or self._work is not None:
            return
        self._keep(self._flows.expire(now))
        ended, later = _split(self._taken(), border, border + self._length)
        self._submit(ended, (border - self._start) / _NANOSECONDS)
        self._start = border
        for batch in later:
            self._keep(batch)

    def finished(self) -> Snapshot | None:
        """Return the tables of the last interval that ended, once."""
        self._collect()
        ready, self._ready = self._ready, None
        return ready

    def end(self, now: int) -> list[Snapshot]:
        """End all flows and the interval; return its tables, after those of the one before if new."""
        self._collect(wait=True)
        before = self.finished()
        self._keep(self._flows.flush())
        self._submit(self._taken(), max(now - self._start, 1) / _NANOSECONDS)
        self._collect(wait=True)
        return [snapshot for snapshot in (before, self.finished()) if snapshot is not None]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _collect(self, *, wait: bool = False) -> None:
        """Take the result of the thread, if it has finished or `wait` is True."""
        if self._work is not None and (wait or self._work.done()):
            work, self._work = self._work, None
            self._ready = work.result() or self._ready

    def _keep(self, ended: FlowBatch) -> None:
        if len(ended):
            self._pending.append(ended)
            self._pending_count += len(ended)

    def _taken(self) -> list[FlowBatch]:
        ended, self._pending, self._pending_count = self._pending, [], 0
        return ended

    def _submit(self, ended: list[FlowBatch], seconds: float | None) -> None:
        """Let the thread add records, and make a snapshot if the interval ends: `seconds` is its length."""
        stats = self._flows.stats
        self._work = self._thread.submit(
            self._group, ended, seconds, self._new_interval, stats.other_packets, stats.other_bytes
        )
        self._new_interval = seconds is not None

    def _group(
        self,
        ended: Sequence[FlowBatch],
        seconds: float | None,
        new_interval: bool,
        other_packets: int,
        other_bytes: int,
    ) -> Snapshot | None:
        tables = self._tables.add(FlowBatch.concat(ended), new_interval=new_interval)
        return None if seconds is None else Snapshot(tables, seconds, other_packets, other_bytes)


def _split(ended: list[FlowBatch], start: int, end: int) -> tuple[list[FlowBatch], list[FlowBatch]]:
    """Split records by whether their last packet is in the time from `start` to before `end`: no, yes."""
    inside, outside = [], []
    for batch in ended:
        last: NDArray[np.int64] = batch["last"]
        is_inside = (last >= start) & (last < end)
        if is_inside.any():
            inside.append(batch[is_inside])
            batch = batch[~is_inside]
        outside.append(batch)
    return outside, inside
