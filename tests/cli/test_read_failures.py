"""`slimcap read` of files that are damaged, missing, or need a package that is not installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from slimcap.cli.main import main
from support.cli import bad_path, run_slimcap, sample_path
from support.samples import DATA

BAD = {
    "zero.pcap": 0,
    "cut_header.pcap": 0,
    "cut_record.pcap": 3,
    "cut_data.pcap": 3,
    "huge_caplen.pcap": 3,
    "caplen_262145.pcap.gz": 3,
    "bad_magic.pcap": 0,
    "version1.pcap": 0,
    "cut.pcap.gz": 20,
    "cut_between.pcap.gz": 20,
    "bad_crc.pcap.gz": 20,
}


def test_every_bad_sample_is_listed() -> None:
    assert {file.name for file in (DATA / "bad").iterdir()} == {*BAD, "garbage_behind.pcap.gz"}


@pytest.mark.parametrize(("name", "count"), BAD.items())
def test_bad_file_shows_the_packets_before_the_damage(
    name: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", bad_path(name)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == count
    (line,) = err.splitlines()
    assert line.startswith(f"slimcap: {bad_path(name)}: ")
    assert line.endswith(f"after {count} packets)")


@pytest.mark.parametrize(("name", "count"), BAD.items())
def test_summary_of_a_bad_file_counts_the_packets_before_the_damage(
    name: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", "--summary", bad_path(name)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"packets         {count}"
    assert err.startswith(f"slimcap: {bad_path(name)}: ")


def test_garbage_after_gzip_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", bad_path("garbage_behind.pcap.gz")]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (20, "")


def test_missing_files_do_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.pcap")
    assert main(["read", missing, str(tmp_path), sample_path("raw101.pcap")]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 7  # of the file that exists
    assert err.splitlines() == [
        f"slimcap: {missing}: No such file or directory",
        f"slimcap: {tmp_path}: read: Is a directory",
    ]


@pytest.mark.slow  # starts the command
def test_undecodable_file_name_is_escaped(tmp_path: Path) -> None:
    done = run_slimcap("read", os.fsencode(tmp_path) + b"/\xff.pcap")
    assert done.returncode == 1
    assert done.stderr.endswith(b"\\xff.pcap: No such file or directory\n")


def test_missing_package_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "capture.pcap.lz4"
    path.write_bytes(bytes.fromhex("04224d186040820000000000"))
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert main(["read", str(path)]) == 1
    assert "slimcap[lz4]" in capsys.readouterr().err
