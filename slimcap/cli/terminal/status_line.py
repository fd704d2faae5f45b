"""A line on the terminal that tells how a capture goes."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Final

from slimcap.cli.render.summary_text import scaled
from slimcap.cli.terminal.streams import say
from slimcap.packet.batch import Batch
from slimcap.source.live.live_source import LiveSource

INTERVAL: Final = 0.5
"""Seconds from one look of it to the next."""

_ERASE: Final = "\r\x1b[K"  # ECMA-48: EL, to the end of the line


class StatusLine:
    """Packets so far, rates since the last look, drops so far.

    Parameters
    ----------
    source : LiveSource
        What is captured from.
    shown : bool
        False: nothing is counted or written.

    Attributes
    ----------
    due : float
        When to call `refresh` next, on the clock of `time.monotonic`; infinity if never.
    """

    def __init__(self, source: LiveSource, *, shown: bool) -> None:
        self._source = source
        self._shown = shown
        self._packets = self._new_packets = self._new_bytes = 0
        self._since = time.monotonic()
        self.due = self._since + INTERVAL if shown else math.inf

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        if self._shown:
            self._new_packets += len(batch)
            self._new_bytes += batch.total_bytes

    def refresh(self, now: float) -> None:
        """Write the line anew, if it is time."""
        if now < self.due:
            return
        elapsed = now - self._since
        self._packets += self._new_packets
        text = (
            f"{self._packets:,} packets, {scaled(self._new_packets / elapsed, 'packets/s')}, "
            f"{scaled(self._new_bytes * 8 / elapsed, 'bit/s')}, "
            f"{self._source.total_stats.packets_dropped:,} dropped"
        )
        # A line that fills the terminal's would wrap, and what wrapped is not erased.
        say(_ERASE + text[: _width() - 1])
        self._new_packets = self._new_bytes = 0
        self._since, self.due = now, now + INTERVAL

    def erase(self) -> None:
        """Leave the terminal's line empty."""
        if self._shown:
            say(_ERASE)


def _width() -> int:
    """Columns of the terminal; many if it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
