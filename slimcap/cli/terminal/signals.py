"""Ctrl-C and `kill`, which end a capture as `-n` does."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from slimcap.source.live.live_source import LiveSource

ONE_PRESS: Final = 0.25
"""Seconds within which signals count as one: timeout(1) sends them to the process, and again to its group."""


@contextmanager
def ended_by_signals(source: LiveSource) -> Iterator[None]:
    """Stop the source at the first signal; the second one kills, whatever we are at."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # it is, under nohup(1)
        numbers.append(signal.SIGHUP)
    first = math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if now - first > ONE_PRESS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        first = min(first, now)
        source.stop()

    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            # All is said and done, and the same press may send another while the interpreter ends.
            signal.signal(number, handler if first == math.inf else signal.SIG_IGN)
