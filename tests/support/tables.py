"""Tables of packets: what an export has to hold, and reading it back by its library."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch
from support.batches import payloads_of

# Columns of an export before the payload, in this order.
RECORD_COLUMNS = [name for name in RECORD_DTYPE.names or () if name != "offset"]
RECORD_COLUMNS.insert(RECORD_COLUMNS.index("interface") + 1, "interface_name")
CONTENT = random.Random(2).randbytes(4096)
LENGTHS = (0, 1, 4, 11, 12, 13, 16, 60, 255, 1514)  # 12 is the longest that a binary view stores inline

Columns = dict[str, list[Any]]  # values by name


def uneven_batch(lengths: Any = LENGTHS, data: Any = CONTENT, offsets: Any = None) -> Batch:
    """Make a batch in which all values differ, of packets of these lengths in `data`."""
    records = np.zeros(len(lengths), RECORD_DTYPE)
    for column, name in enumerate(RECORD_DTYPE.names or ()):
        records[name] = np.arange(len(lengths)) * 5 + column
    records["cap_len"] = lengths
    records["offset"] = np.cumsum([7, *lengths])[:-1] if offsets is None else offsets
    return Batch(records, data)


def expected_columns(batch: Batch) -> Columns:
    """Return the columns that an export has, as Python values; times in nanoseconds."""
    columns: Columns = {name: values_of(batch, name) for name in RECORD_COLUMNS}
    return columns | {"payload": payloads_of(batch)}


def values_of(batch: Batch, name: str) -> list[Any]:
    """Return the values of a column before the payload."""
    if name != "interface_name":
        values: list[Any] = batch[name].tolist()
        return values
    names = dict(enumerate(link.name for link in batch.links))
    return [names.get(number) for number in batch["interface"].tolist()]


def by_pyarrow(exported: Any) -> Columns:
    """Read an export with pyarrow, and validate it."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table(exported)
    table.validate(full=True)
    table = table.set_column(0, "timestamp", table["timestamp"].cast(pa.int64()))
    columns: Columns = table.to_pydict()
    return columns


def by_polars(exported: Any) -> Columns:
    """Read an export with polars."""
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(exported)
    assert frame.schema["timestamp"] == polars.Datetime("ns", "UTC")
    columns: Columns = frame.with_columns(polars.col("timestamp").to_physical()).to_dict(as_series=False)
    return columns


# ---- files


def read_table(path: Path) -> Any:
    """Return the pyarrow.Table of a file, read by a reader of its format."""
    pa = pytest.importorskip("pyarrow")
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path)
    if path.suffix == ".arrow":
        with pa.ipc.open_file(path) as file:
            return file.read_all()
    with path.open(newline="") as text:
        rows = list(csv.DictReader(text))
    return pa.Table.from_pylist(rows)


def exported_dtype(batch: Batch, name: str) -> np.dtype[Any]:
    """The type of a column as it is exported: lengths have 64 bits, so that their sums are right."""
    return np.dtype("i8") if name in ("total_len", "cap_len") else batch[name].dtype


def assert_table(path: Path, batch: Batch, columns: list[str]) -> None:
    """Assert that the file has exactly these columns, and the packets of the batch."""
    pa = pytest.importorskip("pyarrow")
    table = read_table(path)
    assert table.column_names == columns
    for name in columns:
        got = table[name].to_pylist()
        if name == "payload":
            want = payloads_of(batch)
            assert got == ([one.hex() for one in want] if path.suffix == ".csv" else want)
        elif name == "timestamp":
            times = [text.rstrip("Z") for text in got] if path.suffix == ".csv" else table[name].to_numpy()
            assert (np.array(times, "M8[ns]") == batch.timestamps).all()
        elif name == "interface_name":
            assert got == values_of(batch, name)
        else:
            assert [int(value) for value in got] == batch[name].tolist()
            assert path.suffix == ".csv" or table[name].type == pa.from_numpy_dtype(
                exported_dtype(batch, name)
            )
