"""`slimcap convert`: damaged input, output that cannot be written, wrong options, standard streams."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from support.builders.pcapng import Ng
from support.cli import MIXED, PATIENCE, NeedTool, RunConvert, facts_in, run_slimcap, start_slimcap
from support.peers import run_peer


@pytest.mark.parametrize(
    ("name", "count"), [("cut_data.pcap", 3), ("huge_caplen.pcap", 3), ("bad_crc.pcap.gz", 20)]
)
def test_damaged_file_converts_up_to_the_damage(
    name: str, count: int, data_path: Path, convert: RunConvert
) -> None:
    out = convert(data_path / "bad" / name, "out.pcapng", code=1, error=name)
    assert len(facts_in(out)) == count


@pytest.mark.parametrize("name", ["bad/bad_magic.pcap", "nothing here"])
def test_unreadable_input_leaves_no_output(
    name: str, data_path: Path, convert: RunConvert, tmp_path: Path
) -> None:
    convert(data_path / name, "out.pcap", code=1, error=name)
    assert os.listdir(tmp_path) == []


def test_filter_with_a_syntax_error_leaves_no_output(
    data_path: Path, convert: RunConvert, tmp_path: Path
) -> None:
    convert(data_path / "mixed.pcap", "out.pcap", "--filter", "port", code=1, error="mixed.pcap")
    assert os.listdir(tmp_path) == []


def test_output_in_a_missing_folder_fails(data_path: Path, convert: RunConvert) -> None:
    convert(data_path / "mixed.pcap", "no/out.pcap", code=1, error="no/out.pcap: No such file")


def test_output_onto_a_folder_fails(data_path: Path, convert: RunConvert, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    convert(data_path / "mixed.pcap", "folder", code=1, error="folder: Is a directory")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.slow  # starts the command
def test_full_disk_fails(data_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = run_slimcap(
            "convert", str(data_path / "mixed.pcap"), "-", capture_output=False, stdout=full, stderr=-1
        )
    assert (done.returncode, done.stderr) == (1, b"slimcap: <stdout>: write: No space left on device\n")


def test_time_out_of_the_range_of_pcap_fails(tmp_path: Path, convert: RunConvert) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    file.write_bytes(ng.section() + ng.interface(1, offset=1 << 33) + ng.packet(b"0" * 60))
    out = convert(file, "out.pcap", code=1, error="out.pcap: packet 0 has a time that 64 bits")
    assert not out.exists()


def test_missing_package_is_named(
    data_path: Path, convert: RunConvert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert not convert(data_path / "mixed.pcap", "out.pcap.lz4", code=1, error="slimcap[lz4]").exists()


def test_input_may_be_the_output(data_path: Path, convert: RunConvert, tmp_path: Path) -> None:
    (tmp_path / "same.pcap").write_bytes((data_path / "mixed.pcap").read_bytes())
    out = convert(tmp_path / "same.pcap", "same.pcap", "-n", 100)
    assert facts_in(out) == facts_in(data_path / "mixed.pcap")[:100]


def test_convert_from_standard_input_to_standard_output(data_path: Path, need_tool: NeedTool) -> None:
    done = run_slimcap(
        "convert", "--format", "pcapng", "-", "-", input=(data_path / "mixed.pcap").read_bytes()
    )
    assert (done.returncode, done.stderr) == (0, b"")
    listed = run_peer(need_tool("tcpdump"), "-nn", "-r", "-", reads=[], stdin=done.stdout).stdout
    assert len(listed.splitlines()) == MIXED


@pytest.mark.slow  # starts the command
def test_interrupt_leaves_no_output(data_path: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with start_slimcap("convert", str(fifo), str(tmp_path / "out.pcap")) as process:
        with open(fifo, "wb") as writer:  # which waits until the other end is open
            writer.write((data_path / "mixed.pcap").read_bytes())
            writer.flush()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert os.listdir(tmp_path) == ["fifo"]


@pytest.mark.parametrize(
    "args",
    [
        ["--level", "3"],
        ["--compression", "gzip", "--level", "10"],
        ["--compression", "rar"],
        ["--format", "erf"],
        ["--snaplen", "0"],
        ["--after", "yesterday"],
        ["--split-packets", "0"],
        ["--split-bytes", "1.5M"],
        ["--split-seconds", "-1"],
        ["-n", "-1"],
    ],
)
def test_wrong_options_exit_with_usage(
    args: list[str], data_path: Path, convert: RunConvert, tmp_path: Path
) -> None:
    convert(data_path / "mixed.pcap", "out.pcap", *args, code=2, error="error: ")
    assert os.listdir(tmp_path) == []
