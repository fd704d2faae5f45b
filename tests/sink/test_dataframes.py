"""pyarrow, polars, pandas and DuckDB read the packets of a batch and of a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, Link, LinkType, open_file, write
from slimcap.sink.arrow import ArrowStream
from support.batches import payloads_of
from support.tables import (
    RECORD_COLUMNS,
    by_polars,
    by_pyarrow,
    expected_columns,
    exported_dtype,
    uneven_batch,
)

pa = pytest.importorskip("pyarrow")


def by_pandas(exported: Any) -> dict[str, list[Any]]:
    pandas = pytest.importorskip("pandas")
    if not hasattr(pandas.DataFrame, "from_arrow"):
        pytest.skip("pandas before 3 takes no Arrow streams")
    frame = pandas.DataFrame.from_arrow(exported)
    assert str(frame["timestamp"].dtype) == "datetime64[ns, UTC]"
    frame["timestamp"] = frame["timestamp"].astype("int64")
    columns: dict[str, list[Any]] = frame.to_dict("list")
    # pandas has NaN for null.
    return {name: [None if one != one else one for one in values] for name, values in columns.items()}


def by_duckdb(exported: Any) -> dict[str, list[Any]]:
    duckdb = pytest.importorskip("duckdb")
    if int(duckdb.__version__.split(".")[0]) < 2:
        pytest.skip("DuckDB before 2 has no nanoseconds where there is a time zone")
    with duckdb.connect() as connection:
        connection.register("packets", exported)
        found = connection.sql("select * replace (epoch_ns(timestamp) as timestamp) from packets")
        names, rows = found.columns, found.fetchall()
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


READERS = [by_pyarrow, by_polars, by_pandas, by_duckdb]


@pytest.mark.parametrize("by", READERS)
def test_a_batch_is_read_as_a_table(by: Callable[[Any], Any], mixed: Batch) -> None:
    assert len(mixed) > 100
    assert by(mixed) == expected_columns(mixed)
    assert by(uneven_batch()) == expected_columns(uneven_batch())


@pytest.mark.parametrize("by", READERS)
def test_a_source_is_read_as_a_stream(by: Callable[[Any], Any], data_path: Path, mixed: Batch) -> None:
    with open_file(data_path / "mixed.pcap", block_size=700) as source:
        assert by(source.batches()) == expected_columns(mixed)
    with open_file(data_path / "mixed.pcap") as source:
        assert by(ArrowStream(source.batches(max_packets=3))) == expected_columns(mixed)


@pytest.mark.parametrize("by", READERS)
def test_batches_and_streams_without_packets_are_read(by: Callable[[Any], Any], data_path: Path) -> None:
    nothing: dict[str, list[Any]] = {name: [] for name in (*RECORD_COLUMNS, "payload")}
    assert by(Batch([], b"")) == nothing
    assert by(ArrowStream([])) == nothing
    assert by(ArrowStream([Batch([], b""), Batch([], b"")])) == nothing


# ---- conversion methods


def test_to_arrow_gives_a_table_that_can_be_sorted_and_filtered(mixed: Batch) -> None:
    """pyarrow can do neither with a binary_view."""
    compute = pytest.importorskip("pyarrow.compute")
    table = mixed.to_arrow().sort_by([("total_len", "descending")])
    table = table.filter(compute.greater(table["cap_len"], 100)).take([0, 1])
    longest = sorted(mixed["total_len"].tolist())[:-3:-1]
    assert table["total_len"].to_pylist() == longest
    assert [len(payload) for payload in table["payload"].to_pylist()] == table["cap_len"].to_pylist()


def test_to_pandas_keeps_types_and_values(mixed: Batch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = mixed.to_pandas()
    assert list(frame.columns) == [*RECORD_COLUMNS, "payload"]
    assert (frame["timestamp"].to_numpy("M8[ns]") == mixed.timestamps).all()
    assert frame["payload"].tolist() == payloads_of(mixed)
    assert isinstance(frame["payload"].dtype, pandas.ArrowDtype)
    for name in set(RECORD_COLUMNS) - {"timestamp", "interface_name"}:
        assert frame[name].dtype == exported_dtype(mixed, name)
        assert (frame[name] == mixed[name]).all()
    assert list(mixed.to_pandas(["flags"]).columns) == ["flags"]


@pytest.mark.parametrize("name", ["total_len", "l7_len"])
def test_sums_of_lengths_are_right_beyond_32_bits(name: str, tmp_path: Path) -> None:
    """For example polars adds up numbers of 32 bits in 32 bits."""
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    records = np.zeros(3, RECORD_DTYPE)
    records["total_len"] = 0xFFFF_FFF0
    records["cap_len"] = 28
    frame = bytes.fromhex("4500001c000000004011000001020304050607080035003500080000")
    batch = Batch(records, frame, [Link("tun0", 0, LinkType.RAW)])
    values = batch["total_len"] if name == "total_len" else batch.headers([name])[name]
    wanted = sum(values.tolist())
    assert wanted > 1 << 32 or name == "l7_len"
    file = tmp_path / "out.parquet"
    write(batch, file, columns=[name])
    assert polars.DataFrame(ArrowStream([batch], [name]))[name].sum() == wanted
    assert batch.to_polars([name])[name].sum() == wanted
    assert batch.to_pandas([name])[name].sum() == wanted
    assert duckdb.sql(f"select sum({name}) from '{file}'").limit(1).fetchall() == [(wanted,)]
    for schema in (batch.to_arrow([name]).schema, batch.to_polars([name]).to_arrow().schema):
        assert schema.field(name).type == "int64"


def test_to_polars_keeps_values(mixed: Batch) -> None:
    polars = pytest.importorskip("polars")
    frame = mixed.to_polars()
    assert by_polars(frame) == expected_columns(mixed)
    assert frame.filter(polars.col("total_len") > 100).height == (mixed["total_len"] > 100).sum()
    assert mixed.to_polars(["flags"], payload=False).columns == ["flags"]
