"""`slimcap read --to`: files of tables."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from slimcap import Batch, read
from slimcap.cli.main import main
from slimcap.sink.table_file import FORMATS, TableFile
from support.tables import RECORD_COLUMNS, assert_table, read_table

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    """The packets of mixed.pcap."""
    return read(data_path / "mixed.pcap")


@pytest.mark.parametrize("format", FORMATS)
def test_ctrl_c_keeps_an_older_table(
    format: str, tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"out.{format}"
    path.write_bytes(b"older")
    add = TableFile.add

    def interrupted(file: TableFile, batch: Batch) -> None:
        add(file, batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(TableFile, "add", interrupted)
    assert main(["read", str(data_path / "mixed.pcap"), "--to", str(path)]) == 130
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == [path.name]


def test_read_to_does_not_replace_what_it_reads(tmp_path: Path, data_path: Path, capsys: Any) -> None:
    path = tmp_path / "capture.csv"
    path.write_bytes((data_path / "mixed.pcap").read_bytes())
    assert main(["read", str(path), "--to", str(path)]) == 2
    assert "would replace a file that is read" in capsys.readouterr().err
    assert path.read_bytes() == (data_path / "mixed.pcap").read_bytes()


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
        (["--addresses", "text"], "--addresses requires --to"),
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


def test_read_to_tells_the_file_of_each_packet_of_several(tmp_path: Path, data_path: Path) -> None:
    path, files = tmp_path / "out.parquet", [str(data_path / "mixed.pcap"), str(data_path / "tunnels.pcap")]
    assert main(["read", "--to", str(path), *files]) == 0
    table = read_table(path)
    assert table.column_names == ["file_name", *RECORD_COLUMNS, "payload"]
    counts = [len(read(file)) for file in files]
    assert table["file_name"].to_pylist() == [files[0]] * counts[0] + [files[1]] * counts[1]


def test_read_to_shows_the_packets_inside_tunnels(tmp_path: Path, data_path: Path) -> None:
    path, file = tmp_path / "out.parquet", data_path / "tunnels.pcap"
    inner = read(file).headers(["tunnels"], inner=True)["tunnels"].tolist()
    other = read(file).headers(["tunnels"], inner=True, tunnel_ports={"vxlan": [9]})["tunnels"].tolist()
    assert other != inner
    for arguments, tunnels in (
        [[], [0] * len(inner)],
        [["--inner"], inner],
        [["--inner", "--tunnel-ports", "vxlan=9"], other],
    ):
        assert main(["read", str(file), "--to", str(path), "--columns", "src,tunnels", *arguments]) == 0
        assert read_table(path)["tunnels"].to_pylist() == tunnels
    assert main(["read", str(file), "--to", str(path), "--columns", "src", "--addresses", "binary"]) == 0
    assert read_table(path).schema.field("src").type == pa.binary(16)


def test_read_to_without_packets_writes_the_header(tmp_path: Path, data_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert main(["read", "-n", "0", str(data_path / "mixed.pcap"), "--to", str(path)]) == 0
    assert path.read_text().count("\n") == 1
    assert "timestamp" in path.read_text()


def test_read_selects_packets_by_time(
    tmp_path: Path, data_path: Path, mixed: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = mixed["timestamp"]
    after, before = sorted(times.tolist())[50], sorted(times.tolist())[90]
    path, file = tmp_path / "out.parquet", str(data_path / "mixed.pcap")
    limits = [
        "--after",
        f"{after // 10**9}.{after % 10**9:09}",
        "--before",
        f"{before // 10**9}.{before % 10**9:09}",
    ]
    assert main(["read", file, "--to", str(path), *limits]) == 0
    wanted = mixed[(times >= after) & (times < before)]
    assert_table(path, wanted, [*RECORD_COLUMNS, "payload"])
    assert main(["read", file, file, *limits, "-n", str(len(wanted) + 3)]) == 0
    assert capsys.readouterr().out.count("\n") == len(wanted) + 3
