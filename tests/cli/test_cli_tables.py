"""`slimcap read --to`: files of tables."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from slimcap import Batch, read
from slimcap.cli.main import main
from slimcap.sink.table_file import FORMATS
from support.tables import RECORD_COLUMNS, assert_table, read_table

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    """The packets of mixed.pcap."""
    return read(data_path / "mixed.pcap")


@pytest.mark.parametrize("format", FORMATS)
def test_read_to_writes_a_table_in_each_format(
    format: str, tmp_path: Path, data_path: Path, mixed: Batch, capsys: Any
) -> None:
    path, file = tmp_path / f"out.{format}", str(data_path / "mixed.pcap")
    assert main(["read", file, "--to", str(path)]) == 0
    assert_table(path, mixed, RECORD_COLUMNS if format == "csv" else [*RECORD_COLUMNS, "payload"])
    assert main(["read", "--to", str(path), "--columns", "payload, cap_len", "--count", "7", file]) == 0
    assert_table(path, mixed[:7], ["payload", "cap_len"])
    assert main(["read", "--to", str(path), file, file]) == 0
    assert read_table(path).num_rows == 2 * len(mixed)
    assert tuple(capsys.readouterr()) == ("", "")


def test_read_to_writes_the_packets_of_sound_files(
    tmp_path: Path, data_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.parquet"
    files = [str(data_path / name) for name in ("bad/cut_data.pcap", "mixed.pcap", "nothing.pcap")]
    assert main(["read", "--to", str(path), *files]) == 1
    assert read_table(path).num_rows == 3 + 195
    assert capsys.readouterr().err.count("\n") == 2
    path.write_bytes(b"older")
    assert main(["read", "--to", str(path), files[2]]) == 1
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "x.txt"], "must end in one of"),
        (["--to", "x.csv", "--columns", "a,b"], "column 'a'"),
        (["--to", "x.csv", "--columns", "flags,flags"], "duplicate columns"),
        (["--to", "x.csv", "--columns", "src,flags,src"], "duplicate columns: src"),
        (["--columns", "flags"], "--columns requires --to"),
        (["--to", "x.csv", "--json"], "cannot be combined"),
        (["--to", "x.csv", "--summary"], "cannot be combined"),
    ],
)
def test_read_to_refuses_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", *arguments, "x.pcap"]) == 2
    assert message in capsys.readouterr().err


def test_read_to_reports_a_full_device_and_a_missing_folder(
    tmp_path: Path, data_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.csv"
    path.symlink_to("/dev/full")
    assert main(["read", "--to", str(path), str(data_path / "mixed.pcap")]) == 1
    assert capsys.readouterr().err == "slimcap: /dev/full: No space left on device\n"
    assert main(["read", "--to", str(tmp_path / "no" / "out.csv"), str(data_path / "mixed.pcap")]) == 1
    assert capsys.readouterr().err.endswith("no/out.csv: No such file or directory\n")


def test_read_to_names_the_extra_that_is_missing(
    tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["read", "--to", str(tmp_path / "out.csv"), str(data_path / "mixed.pcap")]) == 1
    assert "slimcap[arrow]" in capsys.readouterr().err
