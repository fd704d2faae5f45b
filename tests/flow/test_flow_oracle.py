"""`FlowTable` gives the records of a table of dictionaries, one by one."""

from __future__ import annotations

from typing import Any, Literal

import pytest

import slimcap
from slimcap import FlowBatch, FlowTable
from slimcap.flow import FlowEnd
from support.flow_oracle import FlowOracle, assert_equal
from support.flow_traffic import parts_of, random_traffic
from support.samples import DATA, GOOD

OPTIONS: list[dict[str, Any]] = [
    {},
    {"idle_timeout": 0.5, "active_timeout": 2},
    {"window": 1.5},
    {"window": 60, "idle_timeout": 1e9, "active_timeout": 1e9},
    {"window": 1e-6, "idle_timeout": 0.1},
    {"max_flows": 1},
    {"max_flows": 5, "key": ("vlan", "interface")},
    {"max_flows": 20, "key": (), "idle_timeout": 2.5, "window": 10},
    {"key": ("interface",), "active_timeout": 0.000001},
    {"inner": True, "idle_timeout": 3},
]
FEATURES: tuple[Literal["lengths", "iat", "flags", "payload"], ...] = ("lengths", "iat", "flags", "payload")


def assert_counted(flows: FlowBatch, table: FlowTable, batch_packets: int, batch_bytes: int) -> None:
    """Fail unless each packet is counted once."""
    stats = table.stats
    sums = {name: int((flows[f"src_{name}"] + flows[f"dst_{name}"]).sum()) for name in ("packets", "bytes")}
    assert sums == {"packets": stats.packets, "bytes": stats.bytes}
    assert (stats.packets + stats.other_packets, stats.bytes + stats.other_bytes) == (
        batch_packets,
        batch_bytes,
    )
    assert stats.ended == {reason: int((flows["end_reason"] == reason).sum()) for reason in FlowEnd}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_random_traffic_has_the_flows_of_the_oracle(options: dict[str, Any]) -> None:
    for seed in range(8):
        traffic = random_traffic(seed, 800)
        table, oracle = FlowTable(**options), FlowOracle(**options)
        ended = []
        for part in parts_of(traffic, seed):
            ended.append(table.update(part))
            oracle.update(part)
            assert len(table) == len(oracle.open) + len(oracle.closed)
        ended.append(table.flush())
        oracle.flush()
        flows = FlowBatch.concat(ended)
        assert_equal(flows, oracle.ended)
        assert_counted(flows, table, len(traffic), traffic.total_bytes)
        assert [table.stats.other_packets, table.stats.other_bytes] == oracle.others


def test_random_traffic_has_every_reason_and_every_initiator() -> None:
    found = FlowBatch.concat(
        FlowBatch.concat([table.update(random_traffic(0, 800)), table.flush()])
        for table in (FlowTable(**options) for options in OPTIONS)
    )
    assert set(found["end_reason"].tolist()) == set(FlowEnd)
    assert set(found["initiator"].tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_features_of_random_traffic_are_those_of_the_oracle(options: dict[str, Any]) -> None:
    for seed, sizes in enumerate(({"splt": 3, "first_bytes": 70}, {"splt": 40, "first_bytes": 7}, {})):
        traffic = random_traffic(seed, 500)
        table, oracle = FlowTable(**options, **sizes, features=FEATURES), FlowOracle(**options, **sizes)
        ended = []
        for part in parts_of(traffic, seed):
            ended.append(table.update(part))
            oracle.update(part)
        ended.append(table.flush())
        oracle.flush()
        assert_equal(FlowBatch.concat(ended), oracle.ended)


@pytest.mark.parametrize("name", GOOD)
def test_features_of_samples_are_those_of_the_oracle(name: str) -> None:
    batch = slimcap.read(DATA / name)
    table = FlowTable(features=FEATURES, splt=4, first_bytes=100, inner=True)
    oracle = FlowOracle(splt=4, first_bytes=100, inner=True)
    flows = FlowBatch.concat([table.update(batch), table.flush()])
    oracle.update(batch)
    oracle.flush()
    assert_equal(flows, oracle.ended)


@pytest.mark.parametrize("name", GOOD)
def test_samples_have_the_flows_of_the_oracle(name: str) -> None:
    batch = slimcap.read(DATA / name)
    table, oracle = FlowTable(idle_timeout=0.05, window=1), FlowOracle(idle_timeout=0.05, window=1)
    flows = FlowBatch.concat([table.update(batch), table.flush()])
    oracle.update(batch)
    oracle.flush()
    assert_equal(flows, oracle.ended)
    assert_counted(flows, table, len(batch), batch.total_bytes)


def test_expire_ends_what_the_oracle_ends() -> None:
    traffic = random_traffic(9, 400)
    table, oracle = FlowTable(window=5), FlowOracle(window=5)
    ended = []
    for part in parts_of(traffic, 9):
        ended.append(table.update(part))
        oracle.update(part)
        later = (table.clock or 0) + 1_700_000_000
        ended.append(table.expire(later))
        oracle.expire(later)
        assert table.clock == oracle.clock
    assert_equal(FlowBatch.concat(ended), oracle.ended)
