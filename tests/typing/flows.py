"""The types of flows. Read by mypy, and run by tests/package/test_typing.py."""

import tempfile
from typing import Any, assert_type

import numpy as np
import pandas
import polars
import pyarrow
from numpy.typing import NDArray

import slimcap
from slimcap import FLOW_DTYPE, Batch, FlowBatch, FlowTable
from slimcap.flow import FlowEnd, FlowInitiator, FlowStats
from slimcap.sink.flow_stream import FlowStream


def check_table(batch: Batch) -> None:
    table = FlowTable(idle_timeout=1, active_timeout=2.5, window=60, max_flows=10, key=["vlan", "interface"])
    assert_type(table.update(batch), FlowBatch)
    assert_type(table.expire(), FlowBatch)
    assert_type(table.clock, int | None)
    assert_type(table.flush(), FlowBatch)
    assert_type(len(table), int)
    assert_type(table.stats, FlowStats)
    assert_type(table.stats.active, int)
    assert_type(table.stats.ended, dict[FlowEnd, int])
    assert_type(FlowEnd(1), FlowEnd)
    assert_type(FlowInitiator(1), FlowInitiator)


def check_flows(batch: Batch) -> None:
    table = FlowTable()
    flows = FlowBatch.concat([table.update(batch), table.flush()])
    assert_type(flows, FlowBatch)
    assert_type(FlowBatch(np.zeros(1, FLOW_DTYPE)), FlowBatch)
    assert_type(FLOW_DTYPE, np.dtype[np.void])
    assert_type(flows.records, NDArray[np.void])
    assert_type(flows["src_bytes"], NDArray[Any])
    assert_type(flows[0], np.void)
    assert_type(flows[:2], FlowBatch)
    assert_type(flows[[0, 1]], FlowBatch)
    mask: NDArray[np.bool_] = flows["protocol"] == 6  # numpy says Any
    assert_type(flows[mask], FlowBatch)
    for row in flows:
        assert_type(row, np.void)


def check_source(batch: Batch, path: str) -> None:
    with slimcap.flows([batch], window=300) as stream:
        assert_type(stream, FlowStream)
        assert_type(stream.table, FlowTable)
        for flows in stream:
            assert_type(flows, FlowBatch)
    with slimcap.open_file(path) as source:
        assert_type(FlowBatch.concat(slimcap.flows(source)), FlowBatch)


def check_files(batch: Batch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stream = slimcap.flows([batch], window=300)
        assert_type(stream.window, float | None)
        path = folder + "/{time}.parquet"
        assert_type(slimcap.write(stream, path, columns=["src"], addresses="binary"), int)
        flows = FlowBatch.concat(slimcap.flows(batch))
        assert_type(slimcap.write(flows, folder + "/flows.parquet", progress=print), int)
        assert_type(slimcap.write(iter([flows]), folder + "/flows.csv", max_files=None), int)


def check_export(batch: Batch) -> None:
    table = FlowTable()
    table.update(batch)
    flows = table.flush()
    assert_type(flows.to_arrow(["src"], addresses="binary"), pyarrow.Table)
    assert_type(flows.to_pandas(), pandas.DataFrame)
    assert_type(flows.to_polars(), polars.DataFrame)
