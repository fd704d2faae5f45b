"""The flow records of a network interface, until the capture is stopped."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Final

from slimcap.cli.packets.conditions import selection
from slimcap.cli.packets.flow_output import emit, stream_of
from slimcap.cli.packets.live_input import (
    EXPOSED,
    OPTIONS,
    described,
    live_batches,
    live_options,
    live_totals,
    open_interfaces,
)
from slimcap.cli.packets.live_metrics import LiveMetrics, exported
from slimcap.cli.packets.select import Choice
from slimcap.cli.terminal.live_line import StatusLine, wanted
from slimcap.cli.terminal.signals import Request, asked_by_signal, ended_by_signals
from slimcap.cli.terminal.streams import complain, reason, say
from slimcap.errors import SlimcapError
from slimcap.flow.flow_table import FlowStats
from slimcap.packet.batch import Batch
from slimcap.sink.waiting import PAUSE
from slimcap.source.live.open_live import LiveCapture

_OF_FILES: Final = {"after": None, "before": None, "on_error": "raise", "concatenated": False}
"""Options of commands that are for capture files only, and their defaults."""


def check_live_options(args: argparse.Namespace) -> None:
    """End the command if an option is given that is not for live capture, or for nothing else."""
    exposed = {name: OPTIONS[name].default for name in EXPOSED}
    of_live = {"duration": None, "exclude": [], "metrics": None, **exposed}
    for name, default in (_OF_FILES if args.live else of_live).items():
        if getattr(args, name) != default:
            option = f"--{name.replace('_', '-')}"
            args.error(f"{option} is for capture files" if args.live else f"{option} requires --live")


def capture_flows(args: argparse.Namespace) -> int:
    """Write the records of an interface until the end, then the totals; return 1 if capturing failed."""
    try:
        with (
            open_interfaces(args.files, args.exclude, **live_options(args)) as source,
            ended_by_signals(source),
            asked_by_signal(source) as request,
            exported(source, args.metrics) as metrics,
        ):
            _LiveFlows(source, args, request, metrics).run()
    except (SlimcapError, OSError) as error:
        complain(reason(error))
        return 1
    return 0


class _LiveFlows:
    """The capture: packets to a table of flows, records to the output."""

    def __init__(
        self, source: LiveCapture, args: argparse.Namespace, request: Request, metrics: LiveMetrics
    ) -> None:
        self._source = source
        self._metrics = metrics
        self._args = args
        self._request = request
        self._captured = 0
        self._stream = stream_of(self._batches(), args)
        self._status = StatusLine(
            shown=wanted(lines=not args.to and args.top is None),
            more=lambda: f"{self._stats.active:,} flows, {_records(self._stats):,} records, ",
        )

    @property
    def _stats(self) -> FlowStats:
        return self._stream.table.stats

    def run(self) -> None:
        complain(f"listening on {described(self._source)}, snaplen {self._args.snaplen}")
        try:
            emit(self._stream, self._args)
        finally:
            self._metrics.refresh(math.inf, lambda: self._stats)
            self._status.erase()
            say(self._totals())

    def _batches(self) -> Iterator[Batch | None]:
        """Yield the selected packets, and None while there are none."""
        where = selection(self._args, inner_columns=True)["where"]
        choice = Choice(None, None, self._args.count)
        if not choice.left:
            return
        for batch in live_batches(self._source, self._meanwhile, duration=self._args.duration):
            if batch is None:
                yield None
                continue
            for selected in choice.take((batch if where is None else batch.filter(where=where),)):
                self._status.add(selected)
                self._metrics.add(selected)
                self._captured += len(selected)
                yield selected
                del selected
            del batch  # it would keep its block from the kernel during the next read
            if not choice.left:
                return

    def _meanwhile(self, now: float) -> float:
        """Do what is due between two reads, and return the time at which to do that again."""
        self._status.refresh(now, self._source)
        self._metrics.refresh(now, lambda: self._stats)
        if self._request.pending:
            self._request.pending = False
            self._status.erase()
            say(self._totals())
        return min(self._status.due, now + PAUSE)

    def _totals(self) -> str:
        records = _records(self._stats)
        return f"{live_totals(self._source, self._captured)}{records} flow record{'s' * (records != 1)}\n"


def _records(stats: FlowStats) -> int:
    """Return the number of records that ended."""
    return sum(stats.ended.values())
