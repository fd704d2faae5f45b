"""`FlowBatch`: columns, rows, concatenation, pickling and tables of Arrow libraries."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import FLOW_DTYPE, FlowBatch, FlowTable
from slimcap.flow.flow_columns import TCP_FLAG_NAMES
from support.flow_traffic import START, batch_at, random_traffic, udp_packet

FEATURES = ("lengths", "iat", "flags", "payload", "community_id")


@pytest.fixture(scope="module")
def flows() -> FlowBatch:
    """Records of random traffic."""
    table = FlowTable(window=10)
    return FlowBatch.concat([table.update(random_traffic(1, 500)), table.flush()])


def test_documented_columns_are_those_of_the_dtype() -> None:
    doc = inspect.getdoc(FlowBatch) or ""
    of_records, of_features = doc.split("The features of a table add columns.")
    rows = re.findall(r"^(\w+) +(u[1248]|i8|V16) +\S", of_records, re.M)
    assert {name: np.dtype(kind) for name, kind in rows} == {
        name: FLOW_DTYPE[name] for name in FLOW_DTYPE.names or ()
    }
    assert f"FLOW_DTYPE, {FLOW_DTYPE.itemsize} bytes" in doc
    dtype = FlowTable(features=FEATURES, splt=7, first_bytes=9, inner=True, key=["tunnel"]).dtype
    pattern = r'^(\w+) +(u[1248]|i[48]|f8|S30|V16) (?:\((.)\) )? *(\w+)(?:=.| "tunnel")? '
    rows = re.findall(pattern, of_features, re.M)
    documented = {name for name, *_ in rows} | {f"src_{flag}_packets" for flag in TCP_FLAG_NAMES}
    for name, kind, length, option in rows:
        assert dtype[name].base == np.dtype(kind)
        assert dtype[name].shape == {"": (), "N": (7,), "B": (9,)}[length]
        options = {option: 1} if option in ("splt", "first_bytes") else {"features": [option]}
        if option == "key":
            options = {"key": ["tunnel"], "inner": True}
        assert name in (FlowTable(**options).dtype.names or ())
    added = set(dtype.names or ()) - set(FLOW_DTYPE.names or ())
    names = {re.sub("^dst_", "src_", name).replace("outer_dst", "outer_src") for name in added}
    without_direction = {name for name in names if name.startswith(("len_", "iat_"))}
    assert names - without_direction == documented
    assert {f"src_{name}" for name in without_direction} <= documented


def test_columns_are_those_of_the_records(flows: FlowBatch) -> None:
    for name in FLOW_DTYPE.names or ():
        assert np.array_equal(flows[name], np.asarray(flows.records)[name])
    with pytest.raises(ValueError, match=r"'src_byte', did you mean 'src_bytes'\?: a flow has"):
        flows["src_byte"]


def test_records_are_read_only(flows: FlowBatch) -> None:
    with pytest.raises(ValueError, match="read-only"):
        flows.records["protocol"] = 1
    with pytest.raises(ValueError, match="read-only"):
        flows["src_port"][0] = 1


def test_addresses_can_be_compared_with_text(flows: FlowBatch) -> None:
    mask = flows["src"] == "192.0.2.1"
    assert 0 < mask.sum() < len(flows)
    assert set(slimcap.ip_to_str(flows[mask]["src"]).tolist()) == {"192.0.2.1"}


def test_masks_slices_and_numbers_select_records(flows: FlowBatch) -> None:
    rows = np.asarray(flows.records)
    mask = flows["protocol"] == 6
    for key in (mask, slice(3, 9, 2), [5, 1, -1], np.array([], np.int64)):
        assert isinstance(flows[key], FlowBatch)
        assert flows[key].records.tolist() == rows[key].tolist()
    assert flows[-1] == rows[-1]
    assert [row["first"] for row in flows] == rows["first"].tolist()
    with pytest.raises(IndexError):
        flows[len(flows)]


def test_concat_keeps_the_order_and_needs_flow_batches(flows: FlowBatch) -> None:
    joined = FlowBatch.concat(iter([flows[:7], flows[7:]]))
    assert joined.records.tobytes() == flows.records.tobytes()
    assert len(FlowBatch.concat([])) == 0
    with pytest.raises(TypeError, match="each of batches must be a FlowBatch, not int"):
        FlowBatch.concat([flows, 1])  # type: ignore[list-item]


def test_records_of_two_dimensions_are_not_accepted() -> None:
    with pytest.raises(ValueError, match="one dimension, not 2"):
        FlowBatch(np.zeros((2, 2), FLOW_DTYPE))


def test_a_pickled_batch_is_equal(flows: FlowBatch) -> None:
    copy = pickle.loads(pickle.dumps(flows[flows["protocol"] == 17]))
    assert isinstance(copy, FlowBatch)
    assert copy.records.tolist() == flows[flows["protocol"] == 17].records.tolist()


def test_records_with_all_columns_can_be_saved(tmp_path: Path) -> None:
    options: dict[str, Any] = {"features": FEATURES, "splt": 3, "first_bytes": 5, "inner": True}
    flows = FlowBatch.concat(slimcap.flows(random_traffic(1, 200), **options, key=["tunnel"]))
    np.save(tmp_path / "flows.npy", flows.records)
    saved = FlowBatch(np.load(tmp_path / "flows.npy"))
    assert saved.records.dtype == flows.records.dtype
    for name in flows.records.dtype.names or ():
        assert np.array_equal(np.asarray(saved[name]), np.asarray(flows[name]))


def test_repr_sums_packets_and_bytes() -> None:
    table = FlowTable()
    table.update(batch_at(udp_packet(0), udp_packet(1)))
    assert repr(table.flush()) == (
        f"<FlowBatch: 1 records, 2 packets, 84 bytes, from {np.datetime64(START, 'ns')}>"
    )
    assert repr(table.flush()) == "<FlowBatch: 0 records>"


def test_each_byte_of_a_row_belongs_to_a_column() -> None:
    sizes = [FLOW_DTYPE[name].itemsize for name in FLOW_DTYPE.names or ()]
    assert sum(sizes) == FLOW_DTYPE.itemsize == 128


def test_arrow_tables_have_times_text_and_all_numbers(flows: FlowBatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    for table in (flows.to_arrow(), pyarrow.table(flows), pyarrow.table(pyarrow.record_batch(flows))):
        assert table.column_names == list(FLOW_DTYPE.names or ())
        assert table["first"].type == pyarrow.timestamp("ns", "UTC")
        assert table["first"].cast("int64").to_pylist() == flows["first"].tolist()
        assert table["src"].to_pylist() == slimcap.ip_to_str(flows["src"]).tolist()
        for name in ("flow_id", "dst_bytes", "src_tcp_flags", "end_reason"):
            assert table[name].to_pylist() == flows[name].tolist()
    binary = flows.to_arrow(["dst", "last"], addresses="binary")
    assert binary.column_names == ["dst", "last"]
    assert binary["dst"].to_pylist() == [bytes(one) for one in np.asarray(flows["dst"])]
    with pytest.raises(ValueError, match="addresses must be 'text' or 'binary', not 'hex'"):
        flows.to_arrow(addresses="hex")  # type: ignore[arg-type]


def test_data_frames_have_the_same_rows(flows: FlowBatch) -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    frame, other = flows.to_pandas(["first", "src", "src_bytes"]), flows.to_polars(["src", "src_bytes"])
    assert isinstance(frame, pandas.DataFrame)
    assert isinstance(other, polars.DataFrame)
    assert frame["src_bytes"].tolist() == other["src_bytes"].to_list() == flows["src_bytes"].tolist()
    assert frame["src"].tolist() == other["src"].to_list()
    assert str(frame["first"].dt.tz) == "UTC"


@pytest.mark.parametrize("names", [["src", "dst"], ("src", "dst")])
def test_several_columns_at_a_time_are_those_of_the_records(names: Any) -> None:
    flows = FlowBatch(np.zeros(3, FLOW_DTYPE))
    with pytest.raises(TypeError, match=r"one column at a time: `flows.records\[names\]` has several"):
        flows[names]
    assert flows.records[["src", "dst"]].shape == (3,)


def test_records_without_some_columns_are_refused() -> None:
    records = np.zeros(3, FLOW_DTYPE)
    with pytest.raises(ValueError, match=r"columns of FLOW_DTYPE: first, last, .* are missing"):
        FlowBatch(records[["src", "dst"]])
