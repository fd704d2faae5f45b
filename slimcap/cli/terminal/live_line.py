"""A line on the terminal that rich redraws in place: the progress of reading, or the status of a capture."""

from __future__ import annotations

import math
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from slimcap.cli.render.report_text import scaled
from slimcap.cli.terminal.streams import printable
from slimcap.packet.batch import Batch
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.pcap_source import PcapSource
from slimcap.source.live.open_live import LiveCapture

if TYPE_CHECKING:
    from rich.progress import Progress

INTERVAL: Final = 0.5  # seconds between two redraws, and before the first one


def wanted(*, lines: bool) -> bool:
    """Return True if a line on standard error would be visible and would not disturb other output.

    That requires standard error to be a terminal. If `lines` is True, standard output carries lines: on a
    terminal they would mix with ours, and a pipe may lead to a pager, whose screen it would garble.
    """
    if sys.stderr is None or sys.stdout is None or not sys.stderr.isatty():
        return False
    return not (lines and (sys.stdout.isatty() or stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)))


class LiveLine:
    """Line on standard error that is redrawn in place and erased at the end; it requires rich.

    It is not drawn if `shown` is False or rich is not installed. `due` is the time to call `draw` next, in
    seconds of `time.monotonic`; infinity if never. Write errors are ignored: the terminal may be gone.
    """

    def __init__(self, *, shown: bool, bar: bool = False) -> None:
        self._bar = bar
        self._progress: Progress | None = None
        self.due = time.monotonic() + INTERVAL if shown else math.inf

    def prepare(self) -> None:
        """Import rich, which takes a while."""
        try:
            self._progress = self._progress or _new_progress(bar=self._bar)
        except ImportError:
            self.due = math.inf

    def draw(self, text: str, **values: Any) -> None:
        """Draw the line; `values` are arguments of `rich.progress.Progress.update`."""
        self.due = time.monotonic() + INTERVAL
        self.prepare()
        if self._progress is None:
            return
        with suppress(OSError):
            self._progress.update(self._progress.task_ids[0], description=text, **values)
            self._progress.start()
            self._progress.console.show_cursor()  # hidden by rich; a second Ctrl-C kills the process
            self._progress.refresh()

    def erase(self) -> None:
        """Erase the line from the terminal."""
        if self._progress is not None:
            with suppress(OSError):
                self._progress.stop()


def _new_progress(*, bar: bool) -> Progress:
    """Return a display of a text, truncated to the width of the terminal, and a progress bar in bytes."""
    from rich import console, progress, table

    text = progress.TextColumn("{task.description}", markup=False, table_column=table.Column(no_wrap=True))
    columns: list[progress.ProgressColumn] = [text]
    if bar:
        columns += [progress.BarColumn(), progress.DownloadColumn(binary_units=True)]
        columns += [progress.TransferSpeedColumn(), progress.TimeRemainingColumn()]
    display = progress.Progress(
        *columns,
        console=console.Console(stderr=True),
        auto_refresh=False,  # no thread
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    display.add_task("")
    return display


class ProgressBar(LiveLine):
    """Progress bar of a source that is read."""

    def __init__(self, source: PcapSource | MergedSource, *, shown: bool) -> None:
        super().__init__(shown=shown, bar=True)
        self._source = source
        self._name = printable(source.name) if isinstance(source, PcapSource) else "merging"

    def refresh(self) -> None:
        """Redraw the bar if it is due."""
        if time.monotonic() >= self.due:
            read, size = self._source.progress
            self.draw(self._name, completed=read, total=size)


class StatusLine(LiveLine):
    """Line with the drops and packets of a capture so far, and the rates since the last refresh.

    `more` returns counts to show before the rates.
    """

    def __init__(self, *, shown: bool, more: Callable[[], str] = str) -> None:
        super().__init__(shown=shown)
        self._more = more
        if shown:
            self.prepare()  # during the capture, packets would be dropped meanwhile
        self._packets = self._new_packets = self._new_bytes = 0
        self._since = time.monotonic()

    def add(self, batch: Batch) -> None:
        """Count the packets and bytes of a batch."""
        if self.due < math.inf:
            self._new_packets += len(batch)
            self._new_bytes += batch.total_bytes

    def refresh(self, now: float, source: LiveCapture) -> None:
        """Redraw the line if it is due; `now` is a time of `time.monotonic`, in seconds."""
        if now < self.due:
            return
        elapsed = now - self._since
        self._packets += self._new_packets
        self.draw(  # a narrow terminal cuts off the end
            f"{source.total_stats.packets_dropped:,} dropped, {self._packets:,} packets, {self._more()}"
            f"{scaled(self._new_packets / elapsed, 'packets/s')}, "
            f"{scaled(self._new_bytes * 8 / elapsed, 'bit/s')}"
        )
        self._new_packets = self._new_bytes = 0
        self._since = now
