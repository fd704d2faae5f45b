"""Flow records to write, and what files of them hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimcap import FLOW_DTYPE, Batch, FlowBatch
from support.flow_traffic import START, batch_at, udp_packet
from support.tables import read_table

WINDOW = 10  # seconds; START is a multiple of it


def flows_at(*seconds: float) -> FlowBatch:
    """Make flow records that end at these times, in seconds after START; `flow_id` numbers them."""
    records = np.zeros(len(seconds), FLOW_DTYPE)
    records["last"] = START + np.round(np.array(seconds) * 1e9).astype(np.int64)
    records["first"] = records["last"] - 1
    records["flow_id"] = np.arange(len(seconds))
    records["src_packets"] = 1
    return FlowBatch(records)


def packets_at(*seconds: float) -> Iterator[Batch]:
    """Yield a packet at each time, each of another flow."""
    for number, second in enumerate(seconds):
        yield batch_at(udp_packet(second, src=1024 + number))


def packets_in_files(files: Iterable[Path]) -> int:
    """Return the number of packets that the records in files have counted."""
    tables = [read_table(file) for file in files]
    return sum(sum(map(int, table[name].to_pylist())) for table in tables for name in COUNTERS)


COUNTERS = ("src_packets", "dst_packets")


def rows_of(flows: FlowBatch, **options: Any) -> list[dict[str, Any]]:
    """Return the records as `read_table` has them: a dictionary for each."""
    rows: list[dict[str, Any]] = flows.to_arrow(**options).to_pylist()
    return rows
