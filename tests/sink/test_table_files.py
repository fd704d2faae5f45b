"""Files of tables, in all formats: contents, row groups, and replacing files only as a whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from slimcap import Batch, open_file, write
from slimcap.sink import table_file
from slimcap.sink.table_file import FORMATS, TableFile
from support.tables import RECORD_COLUMNS, assert_table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


# ---- contents


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("group", [0, 3000, 1 << 30])
def test_every_packet_is_written_in_row_groups(
    format: str, group: int, tmp_path: Path, data_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, "GROUP_SIZE", group)
    path = tmp_path / f"out.{format}"
    columns = [*RECORD_COLUMNS, "payload"]
    with TableFile(path) as file, open_file(data_path / "mixed.pcap", block_size=700) as source:
        for batch in source.batches():
            file.add(batch)
            assert not path.exists()
        assert file.packets_written == len(mixed)
    assert_table(path, mixed, columns)
    assert os.listdir(tmp_path) == [path.name]
    if format == "parquet":
        groups = pq.ParquetFile(path).metadata.num_row_groups
        assert groups > 20 if group == 0 else groups > 3 if group == 3000 else groups == 1


@pytest.mark.parametrize("format", FORMATS)
def test_columns_can_be_chosen(format: str, tmp_path: Path, mixed: Batch) -> None:
    path = tmp_path / f"out.{format}"
    for columns in (["payload", "timestamp"], ["cap_len", "offset"], ["payload"], ["timestamp"]):
        with TableFile(path, columns) as file:
            file.add(mixed)
        assert_table(path, mixed, columns)
    with TableFile(path, payload=False) as file:
        file.add(mixed)
    assert_table(path, mixed, RECORD_COLUMNS)


# ---- errors


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_in_the_with_block_keeps_the_older_file(format: str, tmp_path: Path, mixed: Batch) -> None:
    path = tmp_path / f"out.{format}"
    path.write_bytes(b"older")
    file = TableFile(path)

    def fail_after_a_batch() -> None:
        with file:
            file.add(mixed)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_a_batch()
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(ValueError, match="is closed"):
        file.add(mixed)
    file.close()
    file.discard()


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_device_raises(
    format: str, tmp_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"out.{format}"
    path.symlink_to("/dev/full")
    monkeypatch.setattr(table_file, "GROUP_SIZE", 0)
    full = "No space left on device: '/dev/full'"

    def write_much() -> None:
        with TableFile(path) as file:
            for _ in range(1000):
                file.add(mixed)

    with pytest.raises(OSError, match=full):
        write_much()
    assert path.is_symlink()
    assert Path("/dev/full").is_char_device()


def test_names_without_a_known_suffix_are_refused(tmp_path: Path, mixed: Batch) -> None:
    for name in ("out", "out.txt", "parquet", ".csv"):
        with pytest.raises(ValueError, match=r"must end in one of \.parquet, \.arrow, \.csv"):
            TableFile(tmp_path / name)
    with pytest.raises(ValueError, match="column 'x'"):
        write(mixed, tmp_path / "out.parquet", columns=["x"])
    assert os.listdir(tmp_path) == []
    with TableFile(tmp_path / "OUT.CSV") as file:
        file.add(mixed)
    assert os.listdir(tmp_path) == ["OUT.CSV"]


@pytest.mark.parametrize(
    ("library", "extra", "call"),
    [
        ("pyarrow", "arrow", lambda batch, path: batch.to_arrow()),
        ("pandas", "pandas", lambda batch, path: batch.to_pandas()),
        ("pyarrow", "pandas", lambda batch, path: batch.to_pandas()),
        ("polars", "polars", lambda batch, path: batch.to_polars()),
        ("pyarrow", "parquet", lambda batch, path: write(batch, path / "out.parquet")),
        ("pyarrow", "arrow", lambda batch, path: TableFile(path / "out.csv")),
    ],
)
def test_missing_libraries_are_named_with_their_extra(
    library: str, extra: str, call: Any, mixed: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"'{library}' is not installed: pip install 'slimcap\[{extra}\]'"):
        call(mixed, tmp_path)
