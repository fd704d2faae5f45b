"""Selection of the packets that a command writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.arguments import count, moment
from slimcap.packet.batch import Batch

EARLIEST: Final = -(1 << 63)
LATEST: Final = (1 << 63) - 1


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

    def take(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the selected packets of batches, until no more are wanted."""
        if self._left == 0:
            return
        for batch in batches:
            chosen = batch if self._all_times else batch[self._in_time(batch["timestamp"])]
            if len(chosen) > self._left:
                chosen = chosen[: self._left]
            self._left -= len(chosen)
            yield chosen
            if self._left == 0:
                return

    def _in_time(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = times >= self._after
        if self._before is not None:
            chosen &= times < self._before
        return chosen
