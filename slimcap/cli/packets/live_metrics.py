"""The metrics of a live capture, for Prometheus."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Final

from slimcap.cli.render.prometheus_text import CONTENT_TYPE, Metric, exposition
from slimcap.cli.terminal.metrics_export import serving, writing_regularly
from slimcap.cli.terminal.streams import complain
from slimcap.flow.flow_table import FlowStats
from slimcap.packet.batch import Batch
from slimcap.source.live.account import Account
from slimcap.source.live.group.interfaces_source import InterfacesSource
from slimcap.source.live.open_live import LiveCapture

METRICS_DETAILS: Final = """\
--metrics exports counters in the text format of Prometheus: over HTTP with a
PORT (on http://127.0.0.1:PORT/metrics; 0: any free port, which standard error
shows), or in a FILE that is replaced every 5 seconds and at the end, for the
textfile collector of node_exporter. A FILE whose name is a number is ./NUMBER.
Counters start at 0 with the command; those of the kernel have the label
"interface":
  slimcap_captured_packets_total      packets printed, written or counted
  slimcap_captured_bytes_total        their bytes on the wire
  slimcap_received_packets_total      packets that passed the filter, including
                                      those dropped
  slimcap_dropped_packets_total       packets dropped by the kernel
  slimcap_in_flight_packets           packets in the ring, not read yet
  slimcap_link_packets_total          packets counted by the interface
  slimcap_link_dropped_packets_total  packets lost by the interface
"""
FLOW_METRICS_DETAILS: Final = """\
  slimcap_active_flows                flows in the table
  slimcap_started_flows_total         flows that were ever in it
  slimcap_flow_records_total          records that ended, by reason
  slimcap_other_packets_total         packets that belong to no flow
"""

_REFRESH: Final = 0.5  # seconds between two looks at the counters of a flow table
_MAX_PORT: Final = 65535


def add_metrics(command: argparse._ActionsContainer) -> None:
    """Add the option --metrics."""
    help = "export counters for Prometheus: over HTTP on 127.0.0.1, or in a file"
    command.add_argument("--metrics", type=_target, metavar="PORT|FILE", help=help)


def _target(text: str) -> int | str:
    """Parse the value of --metrics: a port, or the name of a file."""
    if not (text.isascii() and text.isdecimal()):
        return text
    if len(text) > 9 or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"{text} is not a valid port: use one up to {_MAX_PORT}, or ./{text}"
        )
    return int(text)


class LiveMetrics:
    """Counters of a capture. The thread that captures sets them; another one formats them as text.

    Parameters
    ----------
    source : LiveCapture
        The source.
    is_exported : bool
        False if there is no --metrics.
    """

    def __init__(self, source: LiveCapture, *, is_exported: bool) -> None:
        self._source = source
        self._packets = self._bytes = 0
        self._flows: FlowStats | None = None
        self._due = -math.inf if is_exported else math.inf

    def add(self, batch: Batch) -> None:
        """Count the packets and bytes of a batch."""
        if self._due < math.inf:
            self._packets += len(batch)
            self._bytes += batch.total_bytes

    def refresh(self, now: float, flows: Callable[[], FlowStats]) -> None:
        """Get the counters of a flow table if that is due; `now` is from `time.monotonic`, or infinity."""
        if now >= self._due < math.inf:
            self._flows = flows()
            self._due = min(now, 1e18) + _REFRESH

    def text(self) -> str:
        """Return the metrics as text; may raise OSError."""
        return exposition([*self._of_source(), *([] if self._flows is None else _of_flows(self._flows))])

    def _of_source(self) -> Iterator[Metric]:
        accounts = _accounts(self._source)

        def each(name: str, description: str, value: Callable[[Account], int | None]) -> Metric:
            found = [({"interface": name}, value(account)) for name, account in accounts.items()]
            known = [(labels, count) for labels, count in found if count is not None]
            return Metric(f"slimcap_{name}", description, known)

        yield _one("captured_packets_total", "Packets printed, written or counted.", self._packets)
        yield _one("captured_bytes_total", "Their bytes on the wire.", self._bytes)
        yield each("received_packets_total", "Packets that passed the filter.", _received)
        yield each("dropped_packets_total", "Packets of these that the kernel dropped.", _dropped)
        yield each("in_flight_packets", "Packets of these that were not read yet.", _in_flight)
        yield each("link_packets_total", "Packets that the interface counted.", _link_packets)
        yield each("link_dropped_packets_total", "Packets that the interface lost.", _link_drops)


def _accounts(source: LiveCapture) -> dict[str, Account]:
    """Return the account of each interface by its name."""
    if isinstance(source, InterfacesSource):
        return source.account_by_interface
    return {source.link.name: source.account()}


def _received(account: Account) -> int:
    return account.dropped + account.delivered + account.in_flight


_dropped, _in_flight, _link_packets, _link_drops = map(
    attrgetter, ("dropped", "in_flight", "link_packets", "link_drops")
)


def _one(name: str, description: str, value: int) -> Metric:
    return Metric(f"slimcap_{name}", description, (({}, value),))


def _of_flows(stats: FlowStats) -> Iterator[Metric]:
    yield _one("active_flows", "Flows in the table.", stats.active)
    yield _one("started_flows_total", "Flows that were ever in the table.", stats.started)
    yield _one("other_packets_total", "Packets that belong to no flow.", stats.other_packets)
    ended = [({"reason": reason.name}, count) for reason, count in stats.ended.items()]
    yield Metric("slimcap_flow_records_total", "Records that ended.", ended)


@contextmanager
def exported(source: LiveCapture, target: int | str | None) -> Iterator[LiveMetrics]:
    """Export the metrics of a source, to the value of --metrics; None: do not."""
    metrics = LiveMetrics(source, is_exported=target is not None)
    if target is None:
        yield metrics
    elif isinstance(target, int):
        with serving(target, metrics.text, CONTENT_TYPE) as port:
            complain(f"metrics on http://127.0.0.1:{port}/metrics")
            yield metrics
    else:
        with writing_regularly(target, metrics.text):
            yield metrics
