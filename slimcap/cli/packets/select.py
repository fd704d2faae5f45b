"""Selection of the packets that a command writes."""

from __future__ import annotations

import argparse
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.arguments import count, moment
from slimcap.packet.batch import Batch

EARLIEST: Final = -(1 << 63)
LATEST: Final = (1 << 63) - 1

Comments = dict[int, str]
"""Comments on packets of a batch, by row."""


def add_choice(command: argparse.ArgumentParser) -> None:
    """Add the options that select packets."""
    choice = command.add_argument_group("packets")
    choice.add_argument("--filter", metavar="EXPRESSION", help="those that it takes, as for tcpdump")
    choice.add_argument("--after", type=moment, metavar="TIME", help="those of that time, and later")
    choice.add_argument("--before", type=moment, metavar="TIME", help="those that are earlier")
    choice.add_argument("-n", dest="count", type=count, metavar="COUNT", help="so many of all these")


class Choice:
    """Selects packets within a time span, up to a maximum number.

    Parameters
    ----------
    after, before : int or None
        Nanoseconds since the Unix epoch: packets at or after `after` and before `before` are selected. None
        is no limit.
    most : int or None
        Maximum number of packets in total. None is no limit.
    """

    def __init__(self, after: int | None, before: int | None, most: int | None) -> None:
        self._after = EARLIEST if after is None else min(after, LATEST)
        self._before = None if before is None or before > LATEST else max(before, EARLIEST)
        self._all_times = after is None and self._before is None
        self._left = sys.maxsize if most is None else most

    @property
    def done(self) -> bool:
        """True if the maximum number of packets is reached."""
        return self._left == 0

    def take(self, batch: Batch, comments: Comments) -> tuple[Batch, Comments]:
        """Return the selected packets of a batch, and the comments on them by their new row."""
        if not self._all_times:
            rows = np.flatnonzero(self._in_time(batch["timestamp"]))
            if len(rows) < len(batch):
                batch, comments = batch[rows], _moved(comments, rows)
        if len(batch) > self._left:
            batch = batch[: self._left]
            comments = {row: text for row, text in comments.items() if row < self._left}
        self._left -= len(batch)
        return batch, comments

    def _in_time(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = times >= self._after
        if self._before is not None:
            chosen &= times < self._before
        return chosen


def _moved(comments: Comments, rows: NDArray[np.intp]) -> Comments:
    """Return the comments on the packets of `rows` only, by their index in `rows`."""
    if not comments:
        return comments
    places = {row: place for place, row in enumerate(rows.tolist())}
    return {places[row]: text for row, text in comments.items() if row in places}
