"""`slimcap convert`: splitting into several files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slimcap.cli.main import main
from support.builders.pcap import START
from support.cli import MIXED, NeedTool, RunConvert, facts_in
from support.peers import run_peer

SECOND = 10**9


def parts_of(folder: Path, pattern: str) -> list[list[tuple[int, int, bytes]]]:
    return [facts_in(file) for file in sorted(folder.glob(pattern))]


def test_split_by_packets_as_editcap_does(
    data_path: Path, convert: RunConvert, need_tool: NeedTool, tmp_path: Path
) -> None:
    run_peer(need_tool("editcap"), "-c", "50", data_path / "mixed.pcap", tmp_path / "theirs.pcap")
    convert(data_path / "mixed.pcap", "ours.pcap.gz", "--split-packets", 50)
    assert (tmp_path / "ours-00003.pcap.gz").exists()
    assert parts_of(tmp_path, "ours-*") == parts_of(tmp_path, "theirs_*")


def test_split_by_bytes(data_path: Path, convert: RunConvert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "part.pcap", "--split-bytes", "4k")
    parts = parts_of(tmp_path, "part-*")
    assert [packet for part in parts for packet in part] == facts_in(data_path / "mixed.pcap")
    sizes = [file.stat().st_size for file in sorted(tmp_path.glob("part-*"))]
    assert max(sizes) <= 4000
    for used, following in zip(sizes, parts[1:], strict=False):
        assert used + 16 + len(following[0][2]) > 4000


def test_split_by_time(data_path: Path, convert: RunConvert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "{time:%H%M%S}.pcap", "--split-seconds", 2)
    assert sorted(os.listdir(tmp_path)) == ["120000.pcap", "120002.pcap", "120004.pcap"]
    parts = parts_of(tmp_path, "*.pcap")
    assert [packet for part in parts for packet in part] == facts_in(data_path / "mixed.pcap")
    assert [{time // SECOND // 2 for time, _, _ in part} for part in parts] == [
        {START // SECOND // 2 + n} for n in range(3)
    ]


@pytest.mark.parametrize("option", ["--split-packets", "--split-bytes", "--split-seconds"])
def test_split_with_a_large_limit_writes_one_file(
    option: str, data_path: Path, convert: RunConvert, tmp_path: Path
) -> None:
    convert(data_path / "mixed.pcap", "part.pcap", option, 10**17, "-n", 10**30, "--before", 10**17)
    assert [len(part) for part in parts_of(tmp_path, "part-*")] == [MIXED]


def test_split_without_packets_writes_no_file(data_path: Path, convert: RunConvert, tmp_path: Path) -> None:
    convert(data_path / "empty.pcap", "part.pcap", "--split-packets", 1, error="no packets")
    assert os.listdir(tmp_path) == []


def test_standard_output_cannot_be_split(data_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--split-packets", "1", str(data_path / "mixed.pcap"), "-"]) == 2
    assert "cannot be split" in capsys.readouterr().err


def test_unknown_field_in_a_template_fails(data_path: Path, convert: RunConvert) -> None:
    convert(
        data_path / "mixed.pcap",
        "{no}.pcap",
        "--split-packets",
        1,
        code=2,
        error="{no}.pcap' is not a valid template",
    )
