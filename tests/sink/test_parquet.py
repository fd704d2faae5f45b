"""`write` to Parquet: contents, row groups, errors, memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimcap import Batch, TruncatedFileError, open_file, write
from slimcap.sink import table_file
from support.batches import batch_of
from support.tables import RECORD_COLUMNS, assert_table, read_table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


# ---- contents


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "none"])
def test_every_compression_can_be_read_back(
    compression: Any, tmp_path: Path, data_path: Path, mixed: Batch
) -> None:
    path = tmp_path / "out.parquet"
    seen: list[int] = []
    with open_file(data_path / "mixed.pcap", block_size=700) as source:
        count = write(source, path, compression=compression, progress=seen.append)
        assert not source.closed
    assert count == len(mixed) == seen[-1]
    assert len(seen) > 20
    assert seen == sorted(set(seen))
    assert_table(path, mixed, [*RECORD_COLUMNS, "payload"])
    assert write(mixed, path, columns=["cap_len"], compression=compression) == len(mixed)
    assert_table(path, mixed, ["cap_len"])
    assert write([], path, compression=compression) == 0
    assert read_table(path).num_rows == 0


def test_polars_and_duckdb_read_the_file(tmp_path: Path, mixed: Batch) -> None:
    path = tmp_path / "out.parquet"
    write(mixed, path)
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    assert polars.read_parquet(path).equals(mixed.to_polars())
    with duckdb.connect() as connection:
        found = connection.sql(f"select count(*), sum(octet_length(payload)) from '{path}'").fetchall()
    assert found == [(len(mixed), mixed["cap_len"].sum())]


def test_every_sample_is_written_unchanged(good: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with open_file(good.path) as source:
        assert write(source, path) == len(good.rows)
    if good.rows:
        assert read_table(path)["payload"].to_pylist() == [row.data for row in good.rows]


# ---- row groups


def test_row_groups_have_at_most_group_rows(
    tmp_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, "GROUP_ROWS", 2 * len(mixed))
    assert write([mixed] * 5, tmp_path / "out.parquet") == 5 * len(mixed)
    metadata = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [n * len(mixed) for n in (2, 2, 1)]


def test_row_groups_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of few rows may have large packets, and a batch may be larger than a group."""
    monkeypatch.setattr(table_file, "GROUP_SIZE", 1 << 20)
    monkeypatch.setattr(table_file, "PART_SIZE", 1 << 18)
    batch = batch_of([bytes(60_000)] * 100 + [bytes(500_000)] * 3 + [b""] * 9)
    assert write(batch, tmp_path / "out.parquet", compression=None) == len(batch)
    metadata = pq.ParquetFile(tmp_path / "out.parquet").metadata
    sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    assert len(sizes) >= 5
    assert max(sizes) < (1 << 20) + (1 << 19)
    assert read_table(tmp_path / "out.parquet")["cap_len"].to_pylist() == batch["cap_len"].tolist()


def test_a_batch_larger_than_a_group_is_split(
    tmp_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, "PART_ROWS", 7)
    monkeypatch.setattr(table_file, "GROUP_ROWS", 14)
    assert write(mixed, tmp_path / "out.parquet") == len(mixed)
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_row_groups == -(-len(mixed) // 14)
    assert_table(tmp_path / "out.parquet", mixed, [*RECORD_COLUMNS, "payload"])


@pytest.mark.slow
def test_a_gigabyte_of_packets_is_written_in_constant_memory(tmp_path: Path, data_path: Path) -> None:
    """The packets do not compress; a process of its own reports its peak."""
    code = f"""
import numpy as np
from slimcap import Batch, RECORD_DTYPE
from slimcap import write
records = np.zeros(1000, RECORD_DTYPE)
records["cap_len"], records["offset"] = 1000, np.arange(1000) * 1000
data = np.random.default_rng(1).bytes(1_000_000)
def batches(number): return (Batch(records, data) for _ in range(number))
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
write(batches(5), {str(tmp_path / "a.parquet")!r})
before = peak()
write(batches(1000), {str(tmp_path / "b.parquet")!r}, compression="snappy")
print(before, peak())
"""
    # Otherwise AddressSanitizer keeps 256 MB of freed memory.
    sanitizer = f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=8"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "ASAN_OPTIONS": sanitizer},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 300 << 10
    assert pq.ParquetFile(tmp_path / "b.parquet").metadata.num_rows == 1_000_000


# ---- errors


def test_packets_before_damage_are_written(tmp_path: Path, data_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with (
        pytest.raises(TruncatedFileError, match="byte 245"),
        open_file(data_path / "bad/cut_data.pcap") as source,
    ):
        write(source, path)
    assert read_table(path).num_rows == 3
    assert os.listdir(tmp_path) == [path.name]


def test_packets_before_keyboard_interrupt_are_written(tmp_path: Path, mixed: Batch) -> None:
    def interrupted() -> Iterator[Batch]:
        yield mixed
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(interrupted(), tmp_path / "out.parquet")
    assert_table(tmp_path / "out.parquet", mixed, [*RECORD_COLUMNS, "payload"])


def test_an_error_of_progress_leaves_no_file(tmp_path: Path, mixed: Batch) -> None:
    def stop(packets: int) -> None:
        raise ZeroDivisionError(packets)

    with pytest.raises(ZeroDivisionError):
        write(mixed, tmp_path / "out.parquet", progress=stop)
    assert os.listdir(tmp_path) == []


def test_paths_that_cannot_be_files_raise(tmp_path: Path, mixed: Batch) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/out\.parquet'$"):
        write(mixed, tmp_path / "nowhere" / "out.parquet")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(mixed, tmp_path / "folder.parquet")


def test_an_older_file_is_replaced_through_a_symbolic_link(tmp_path: Path, mixed: Batch) -> None:
    (tmp_path / "folder").mkdir()
    path, link = tmp_path / "folder" / "real.parquet", tmp_path / "link.parquet"
    path.write_bytes(b"older")
    path.chmod(0o604)
    link.symlink_to(path)
    write(mixed, link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o604
    assert_table(path, mixed, [*RECORD_COLUMNS, "payload"])
