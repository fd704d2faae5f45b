"""Files of tables: Parquet, Arrow, CSV. What is written is what was read; a file is whole, or not there."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, TruncatedFileError, open_file, read
from slimcap.cli.main import main
from slimcap.sink import parquet, tables
from slimcap.sink.tables import FORMATS, TableFile

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
DEFAULT = [name for name in RECORD_DTYPE.names or () if name != "offset"]


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    return read(data_path / "mixed.pcap")


def read_back(path: Path) -> Any:
    """The table of a file, by a reader of its format."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".arrow":
        with pa.ipc.open_file(path) as file:
            return file.read_all()
    with path.open(newline="") as text:
        rows = list(csv.DictReader(text))
    return pa.Table.from_pylist(rows)


def assert_holds(path: Path, batch: Batch, columns: list[str]) -> None:
    """The file has the packets of the batch."""
    table = read_back(path)
    assert table.column_names == columns
    for name in columns:
        got = table[name].to_pylist()
        if name == "payload":
            want = [bytes(batch.payload(index)) for index in range(len(batch))]
            assert got == ([one.hex() for one in want] if path.suffix == ".csv" else want)
        elif name == "timestamp":
            times = [text.rstrip("Z") for text in got] if path.suffix == ".csv" else table[name].to_numpy()
            assert (np.array(times, "M8[ns]") == batch.timestamps).all()
        else:
            assert [int(value) for value in got] == batch[name].tolist()
            assert path.suffix == ".csv" or table[name].type == pa.from_numpy_dtype(batch[name].dtype)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("group", [0, 3000, 1 << 30])
def test_what_is_written_is_what_was_read(
    format: str, group: int, tmp_path: Path, data_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "GROUP_SIZE", group)
    path = tmp_path / f"out.{format}"
    columns = [*DEFAULT, "payload"]
    with TableFile(path) as file, open_file(data_path / "mixed.pcap", block_size=700) as source:
        for batch in source.batches():
            file.add(batch)
            assert not path.exists()
        assert file.packets_written == len(mixed)
    assert_holds(path, mixed, columns)
    assert os.listdir(tmp_path) == [path.name]
    if format == "parquet":
        groups = pq.ParquetFile(path).metadata.num_row_groups
        assert groups > 20 if group == 0 else groups > 3 if group == 3000 else groups == 1


@pytest.mark.parametrize("format", FORMATS)
def test_columns(format: str, tmp_path: Path, mixed: Batch) -> None:
    path = tmp_path / f"out.{format}"
    for columns in (["payload", "timestamp"], ["cap_len", "offset"], ["payload"], ["timestamp"]):
        with TableFile(path, columns) as file:
            file.add(mixed)
        assert_holds(path, mixed, columns)
    with TableFile(path, payload=False) as file:
        file.add(mixed)
    assert_holds(path, mixed, DEFAULT)


def test_rows_of_a_group(tmp_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "GROUP_ROWS", 2 * len(mixed))
    assert parquet.write([mixed] * 5, tmp_path / "out.parquet") == 5 * len(mixed)
    metadata = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [n * len(mixed) for n in (2, 2, 1)]


def test_a_batch_larger_than_a_group(tmp_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 7)
    monkeypatch.setattr(tables, "GROUP_ROWS", 14)
    assert parquet.write(mixed, tmp_path / "out.parquet") == len(mixed)
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_row_groups == -(-len(mixed) // 14)
    assert_holds(tmp_path / "out.parquet", mixed, [*DEFAULT, "payload"])


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "none"])
def test_parquet(compression: Any, tmp_path: Path, data_path: Path, mixed: Batch) -> None:
    path = tmp_path / "out.parquet"
    seen: list[int] = []
    with open_file(data_path / "mixed.pcap", block_size=700) as source:
        count = parquet.write(source, path, compression=compression, progress=seen.append)
        assert not source.closed
    assert count == len(mixed) == seen[-1]
    assert len(seen) > 20
    assert seen == sorted(set(seen))
    assert_holds(path, mixed, [*DEFAULT, "payload"])
    assert parquet.write(mixed, path, ["cap_len"], compression=compression) == len(mixed)
    assert_holds(path, mixed, ["cap_len"])
    assert parquet.write([], path, compression=compression) == 0
    assert read_back(path).num_rows == 0


def test_other_readers(tmp_path: Path, mixed: Batch) -> None:
    path = tmp_path / "out.parquet"
    parquet.write(mixed, path)
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    assert polars.read_parquet(path).equals(mixed.to_polars())
    with duckdb.connect() as connection:
        found = connection.sql(f"select count(*), sum(octet_length(payload)) from '{path}'").fetchall()
    assert found == [(len(mixed), mixed["cap_len"].sum())]


def test_every_sample(good: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with open_file(good.path) as source:
        assert parquet.write(source, path) == len(good.rows)
    if good.rows:
        assert read_back(path)["payload"].to_pylist() == [row.data for row in good.rows]


# ---- whole, or not there


def test_a_damaged_capture_leaves_what_was_before(tmp_path: Path, data_path: Path) -> None:
    path = tmp_path / "out.parquet"
    with (
        pytest.raises(TruncatedFileError, match="byte 245"),
        open_file(data_path / "bad/cut_data.pcap") as source,
    ):
        parquet.write(source, path)
    assert read_back(path).num_rows == 3
    assert os.listdir(tmp_path) == [path.name]


def test_ctrl_c_leaves_what_was_before(tmp_path: Path, mixed: Batch) -> None:
    def interrupted() -> Iterator[Batch]:
        yield mixed
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parquet.write(interrupted(), tmp_path / "out.parquet")
    assert_holds(tmp_path / "out.parquet", mixed, [*DEFAULT, "payload"])


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_in_the_with_block_leaves_nothing(format: str, tmp_path: Path, mixed: Batch) -> None:
    path = tmp_path / f"out.{format}"
    path.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), TableFile(path) as file:  # noqa: PT012
        file.add(mixed)
        raise ZeroDivisionError
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(ValueError, match="is closed"):
        file.add(mixed)
    file.close()
    file.discard()


def test_a_progress_that_raises(tmp_path: Path, mixed: Batch) -> None:
    def stop(packets: int) -> None:
        raise ZeroDivisionError(packets)

    with pytest.raises(ZeroDivisionError):
        parquet.write(mixed, tmp_path / "out.parquet", progress=stop)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", FORMATS)
def test_no_room(format: str, tmp_path: Path, mixed: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"out.{format}"
    path.symlink_to("/dev/full")
    monkeypatch.setattr(tables, "GROUP_SIZE", 0)
    full = "No space left on device: '/dev/full'"
    with pytest.raises(OSError, match=full), TableFile(path) as file:  # noqa: PT012
        for _ in range(1000):
            file.add(mixed)
    assert path.is_symlink()
    assert Path("/dev/full").is_char_device()


def test_where_no_file_can_be(tmp_path: Path, mixed: Batch) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/out\.parquet'$"):
        parquet.write(mixed, tmp_path / "nowhere" / "out.parquet")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(OSError, match="directory"):
        parquet.write(mixed, tmp_path / "folder.parquet")


def test_an_older_file_is_replaced_through_its_link(tmp_path: Path, mixed: Batch) -> None:
    (tmp_path / "folder").mkdir()
    path, link = tmp_path / "folder" / "real.parquet", tmp_path / "link.parquet"
    path.write_bytes(b"older")
    link.symlink_to(path)
    before = os.umask(0o027)
    try:
        parquet.write(mixed, link)
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert_holds(path, mixed, [*DEFAULT, "payload"])


def test_names(tmp_path: Path, mixed: Batch) -> None:
    for name in ("out", "out.txt", "parquet", ".csv"):
        with pytest.raises(ValueError, match=r"ends in none of \.parquet, \.arrow, \.csv"):
            TableFile(tmp_path / name)
    with pytest.raises(ValueError, match=r"does not end in \.parquet"):
        parquet.write(mixed, tmp_path / "out.csv")
    with pytest.raises(ValueError, match="column 'x'"):
        parquet.write(mixed, tmp_path / "out.parquet", ["x"])
    assert os.listdir(tmp_path) == []
    with TableFile(tmp_path / "OUT.CSV") as file:
        file.add(mixed)
    assert os.listdir(tmp_path) == ["OUT.CSV"]


def test_memory_stays_the_same(tmp_path: Path, data_path: Path) -> None:
    """A gigabyte of packets, which do not compress, in a process that is asked for its peak."""
    code = f"""
import numpy as np
from slimcap import Batch, RECORD_DTYPE
from slimcap.sink import parquet
records = np.zeros(1000, RECORD_DTYPE)
records["cap_len"], records["offset"] = 1000, np.arange(1000) * 1000
data = np.random.default_rng(1).bytes(1_000_000)
def batches(number): return (Batch(records, data) for _ in range(number))
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
parquet.write(batches(5), {str(tmp_path / "a.parquet")!r})
before = peak()
parquet.write(batches(1000), {str(tmp_path / "b.parquet")!r}, compression="snappy")
print(before, peak())
"""
    # Else AddressSanitizer keeps 256 MB that were freed.
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


@pytest.mark.parametrize(
    ("library", "extra", "call"),
    [
        ("pyarrow", "arrow", lambda batch, path: batch.to_arrow()),
        ("pandas", "pandas", lambda batch, path: batch.to_pandas()),
        ("pyarrow", "pandas", lambda batch, path: batch.to_pandas()),
        ("polars", "polars", lambda batch, path: batch.to_polars()),
        ("pyarrow", "parquet", lambda batch, path: parquet.write(batch, path / "out.parquet")),
        ("pyarrow", "arrow", lambda batch, path: TableFile(path / "out.csv")),
    ],
)
def test_what_is_not_installed(
    library: str, extra: str, call: Any, mixed: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"this needs {library}: pip install 'slimcap\[{extra}\]'"):
        call(mixed, tmp_path)


# ---- the command


@pytest.mark.parametrize("format", FORMATS)
def test_command(format: str, tmp_path: Path, data_path: Path, mixed: Batch, capsys: Any) -> None:
    path, file = tmp_path / f"out.{format}", str(data_path / "mixed.pcap")
    assert main(["read", file, "--to", str(path)]) == 0
    assert_holds(path, mixed, DEFAULT if format == "csv" else [*DEFAULT, "payload"])
    assert main(["read", "--to", str(path), "--columns", "payload, cap_len", "-n", "7", file]) == 0
    assert_holds(path, mixed[:7], ["payload", "cap_len"])
    assert main(["read", "--to", str(path), file, file]) == 0
    assert read_back(path).num_rows == 2 * len(mixed)
    assert tuple(capsys.readouterr()) == ("", "")


def test_command_with_bad_files(tmp_path: Path, data_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.parquet"
    files = [str(data_path / name) for name in ("bad/cut_data.pcap", "mixed.pcap", "nothing.pcap")]
    assert main(["read", "--to", str(path), *files]) == 1
    assert read_back(path).num_rows == 3 + 195
    assert capsys.readouterr().err.count("\n") == 2
    path.write_bytes(b"older")
    assert main(["read", "--to", str(path), files[2]]) == 1
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "x.txt"], "ends in none of"),
        (["--to", "x.csv", "--columns", "a,b"], "column 'a'"),
        (["--to", "x.csv", "--columns", "flags,flags"], "given twice"),
        (["--to", "x.csv", "--columns", "src,flags,src"], "given twice: src"),
        (["--columns", "flags"], "use --to"),
        (["--to", "x.csv", "--json"], "no --summary or --json"),
        (["--to", "x.csv", "--summary"], "no --summary or --json"),
    ],
)
def test_command_with_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", *arguments, "x.pcap"]) == 2
    assert message in capsys.readouterr().err


def test_command_without_room(tmp_path: Path, data_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.csv"
    path.symlink_to("/dev/full")
    assert main(["read", "--to", str(path), str(data_path / "mixed.pcap")]) == 1
    assert capsys.readouterr().err == "slimcap: /dev/full: No space left on device\n"
    assert main(["read", "--to", str(tmp_path / "no" / "out.csv"), str(data_path / "mixed.pcap")]) == 1
    assert capsys.readouterr().err.endswith("no/out.csv: No such file or directory\n")


def test_command_without_pyarrow(
    tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["read", "--to", str(tmp_path / "out.csv"), str(data_path / "mixed.pcap")]) == 1
    assert "slimcap[arrow]" in capsys.readouterr().err
