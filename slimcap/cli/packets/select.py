"""Selection of the packets that a command writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from slimcap.cli.arguments import add_count, time_ns
from slimcap.cli.packets.conditions import add_conditions
from slimcap.packet.batch import Batch

EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1


def add_choice(command: argparse.ArgumentParser, verb: str = "write") -> None:
    """Add the options that select packets; `verb` is what the command does with them, for the help text."""
    add_conditions(command)
    add_times(command)
    add_count(command, verb)


def add_times(command: argparse.ArgumentParser) -> None:
    """Add the options --after and --before."""
    command.add_argument("--after", type=time_ns, metavar="TIME", help="select packets at or after TIME")
    command.add_argument("--before", type=time_ns, metavar="TIME", help="select packets before TIME")


class Choice:
    """Selects packets at or after `after` and before `before`, up to `count`; None: no limit.

    Times are in nanoseconds since the Unix epoch. The count is that of all calls of `take`.
    """

    def __init__(self, after: int | None, before: int | None, count: int | None) -> None:
        self._after = EARLIEST if after is None else min(after, LATEST)
        self._before = None if before is None or before > LATEST else max(before, EARLIEST)
        self._all_times = after is None and self._before is None
        self._left = sys.maxsize if count is None else count

    @property
    def wants_all(self) -> bool:
        """True if no packet is left out before the count is reached."""
        return self._all_times

    @property
    def left(self) -> int:
        """Number of packets that are still wanted."""
        return self._left

    def take(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the selected packets of batches, until no more are wanted."""
        if self._left == 0:
            return
        for batch in batches:
            selected = batch if self._all_times else batch[self._in_time(batch["timestamp"])]
            if len(selected) > self._left:
                selected = selected[: self._left]
            self._left -= len(selected)
            yield selected
            if self._left == 0:
                return

    def _in_time(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        selected: NDArray[np.bool_] = times >= self._after
        if self._before is not None:
            selected &= times < self._before
        return selected
