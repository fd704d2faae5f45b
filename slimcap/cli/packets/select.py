"""Selection of the packets that a command writes."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from slimcap.cli.arguments import add_count, add_filter, time_ns
from slimcap.packet.batch import Batch

EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1

Comments = dict[int, str]  # on the packets of a batch, by row


def add_choice(command: argparse.ArgumentParser) -> None:
    """Add the options that select packets."""
    add_filter(command)
    command.add_argument("--after", type=time_ns, metavar="TIME", help="select packets at or after TIME")
    command.add_argument("--before", type=time_ns, metavar="TIME", help="select packets before TIME")
    add_count(command, "write")


class Choice:
    """Selects packets at or after `after` and before `before`, up to `count`; None is no limit.

    Times are in nanoseconds since the Unix epoch.
    """

    def __init__(self, after: int | None, before: int | None, count: int | None) -> None:
        self._after = EARLIEST if after is None else min(after, LATEST)
        self._before = None if before is None or before > LATEST else max(before, EARLIEST)
        self._all_times = after is None and self._before is None
        self._left = sys.maxsize if count is None else count

    @property
    def done(self) -> bool:
        """True if the maximum number of packets is reached."""
        return self._left == 0

    def take(self, batch: Batch, comments: Comments) -> tuple[Batch, Comments]:
        """Return the selected packets of a batch, and the comments on them by their new row."""
        if self._all_times and len(batch) <= self._left:
            self._left -= len(batch)
            return batch, comments
        times = batch["timestamp"]
        selected = times >= self._after
        if self._before is not None:
            selected &= times < self._before
        rows = np.flatnonzero(selected)[: self._left]
        self._left -= len(rows)
        indices = {row: index for index, row in enumerate(rows.tolist())} if comments else {}
        return batch[rows], {indices[row]: text for row, text in comments.items() if row in indices}
