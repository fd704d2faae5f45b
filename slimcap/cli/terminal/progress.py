"""A progress bar for files that take long to read, if tqdm is installed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource

DELAY = 0.5
"""Seconds of reading before the bar appears."""


def wanted(*, lines: bool) -> bool:
    """Return True if a progress bar would be visible and would not disturb other output.

    The bar requires standard error to be a terminal. If `lines` is True, standard output carries lines: on
    a terminal they would mix with the bar, and a pipe may lead to a pager, whose screen the bar would garble.
    """
    if sys.stderr is None or sys.stdout is None or not sys.stderr.isatty():
        return False
    return not lines or not (sys.stdout.isatty() or _is_pipe(sys.stdout.fileno()))


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


@contextmanager
def progress_bar(source: PcapSource | MergedSource, *, shown: bool) -> Iterator[Callable[[], object]]:
    """Show the progress of a source while the context is open, and yield the function that updates it.

    Without tqdm, or if `shown` is False, no bar appears and the function does nothing.
    """
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
