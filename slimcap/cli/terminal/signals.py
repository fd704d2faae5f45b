"""Signal handlers that let Ctrl-C and `kill` end a capture in the same way as `-n`."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from slimcap.source.live.open_live import LiveCapture

# Seconds within which several signals count as one: timeout(1) signals the process and its group.
ONE_PRESS: Final = 0.25


class Request:
    """A request by a signal, such as SIGUSR1 to print the counts as in tcpdump; `pending` until answered."""

    def __init__(self) -> None:
        self.pending = False


@contextmanager
def asked_by_signal(source: LiveCapture, asked: int = signal.SIGUSR1) -> Iterator[Request]:
    """Note a signal in the Request, and unblock the read of the source so that it can be answered at once.

    A SIGHUP that is ignored, as by nohup(1), stays ignored.
    """
    request = Request()
    if asked == signal.SIGHUP and signal.getsignal(asked) == signal.SIG_IGN:
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        request.pending = True
        source.unblock()

    previous = signal.signal(asked, note)
    try:
        yield request
    finally:
        # A late one must not kill the process while it completes its output.
        signal.signal(asked, signal.SIG_IGN if previous == signal.SIG_DFL else previous)


def _do_nothing() -> None:
    """Default of `before_kill`."""


@contextmanager
def ended_by_signals(
    source: LiveCapture, before_kill: Callable[[], None] = _do_nothing, *, hangup: bool = True
) -> Iterator[None]:
    """Stop the source at the first SIGINT, SIGTERM or SIGHUP; a second one kills the process at once.

    `before_kill` is called before that. Without `hangup`, SIGHUP is left alone.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hangup and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup(1) ignores it
        numbers.append(signal.SIGHUP)
    first = math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if now - first > ONE_PRESS:
            before_kill()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        first = min(first, now)
        source.stop()

    previous = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            # After a signal, ignore the next: the capture is over, and the same key press may send another
            # one while the interpreter shuts down.
            signal.signal(number, handler if first == math.inf else signal.SIG_IGN)
