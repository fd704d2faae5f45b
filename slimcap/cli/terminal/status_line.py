"""A status line on the terminal for a running capture."""

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
"""Seconds between two refreshes."""

_ERASE: Final = "\r\x1b[K"  # ECMA-48: EL, erase to the end of the line


class StatusLine:
    """Status line with the packets so far, the rates since the last refresh, and the drops so far.

    Parameters
    ----------
    source : LiveSource
        The source being captured from.
    shown : bool
        If False, nothing is counted or written.

    Attributes
    ----------
    due : float
        When to call `refresh` next, in seconds on the clock of `time.monotonic`; infinity if never.
    """

    def __init__(self, source: LiveSource, *, shown: bool) -> None:
        self._source = source
        self._shown = shown
        self._packets = self._new_packets = self._new_bytes = 0
        self._since = time.monotonic()
        self.due = self._since + INTERVAL if shown else math.inf

    def add(self, batch: Batch) -> None:
        """Count the packets and bytes of a batch."""
        if self._shown:
            self._new_packets += len(batch)
            self._new_bytes += batch.total_bytes

    def refresh(self, now: float) -> None:
        """Rewrite the line if it is due; `now` is a time of `time.monotonic`, in seconds."""
        if now < self.due:
            return
        elapsed = now - self._since
        self._packets += self._new_packets
        text = (
            f"{self._packets:,} packets, {scaled(self._new_packets / elapsed, 'packets/s')}, "
            f"{scaled(self._new_bytes * 8 / elapsed, 'bit/s')}, "
            f"{self._source.total_stats.packets_dropped:,} dropped"
        )
        # A line as wide as the terminal would wrap, and _ERASE clears only one row.
        say(_ERASE + text[: _width() - 1])
        self._new_packets = self._new_bytes = 0
        self._since, self.due = now, now + INTERVAL

    def erase(self) -> None:
        """Erase the line from the terminal."""
        if self._shown:
            say(_ERASE)


def _width() -> int:
    """Return the width of the terminal in columns; 80 if it is unknown."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
