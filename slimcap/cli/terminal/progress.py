"""A bar on the terminal for files that take long to read, if tqdm is installed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

DELAY = 0.5
"""Seconds of reading before a bar appears."""


def wanted(*, lines: bool) -> bool:
    """Whether a bar would be seen, and disturb nothing.

    Lines on the terminal would mix with it; lines in a pipe may be a pager's, whose screen it would spoil.
    """
    if sys.stderr is None or sys.stdout is None or not sys.stderr.isatty():
        return False
    return not lines or not (sys.stdout.isatty() or _is_pipe(sys.stdout.fileno()))


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


@contextmanager
def progress_bar(source: PcapSource | MergedSource, *, shown: bool) -> Iterator[Callable[[], object]]:
    """Show how far the source has come; gives the function that moves the bar."""
    if shown:
        try:
            from tqdm import tqdm
        except ImportError:
            shown = False
    if not shown:
        yield lambda: None
        return
    name = source.name if isinstance(source, PcapSource) else None
    size = source.progress[1]
    with tqdm(
        desc=name, total=size, unit="B", unit_scale=True, unit_divisor=1024, delay=DELAY, leave=False
    ) as bar:
        yield lambda: bar.update(source.progress[0] - bar.n)
