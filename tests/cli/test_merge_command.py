"""`slimcap merge`: the order that mergecap makes of the same files, and bad files.

Options that it shares with `slimcap convert` are tested there."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import slimcap
from slimcap.cli.main import main
from support.builders.pcap import START
from support.builders.pcapng import Ng
from support.cli import COMMAND, NeedTool, facts_in, run_slimcap
from support.peers import run_peer

RunMerge = Callable[..., Path]


@pytest.fixture
def merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RunMerge:
    """Run `slimcap merge -w OUT` with OUT in `tmp_path`; return its path."""

    def merged(out: str, *args: object, code: int = 0, error: str = "") -> Path:
        assert main(["merge", "-w", str(tmp_path / out), *map(str, args)]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert error in captured.err if error else captured.err == ""
        return tmp_path / out

    return merged


@pytest.mark.parametrize("out", ["out.pcap", "out.pcapng", "out.pcapng.zst"])
def test_packets_are_in_the_order_of_mergecap(
    out: str, data_path: Path, merge: RunMerge, need_tool: NeedTool, tmp_path: Path
) -> None:
    files = [
        data_path / name for name in ("mixed_ns.pcap", "ethernet_vlan.pcap", "mixed.pcapng", "mixed.pcap.gz")
    ]
    # Of packets with equal times it writes that of the last file first.
    theirs = run_peer(need_tool("mergecap"), "-w", "-", *reversed(files), reads=files).stdout
    lost = "pcap has no place for" if out == "out.pcap" else ""
    assert facts_in(merge(out, *files, error=lost)) == facts_in(io.BytesIO(theirs))


def test_tshark_reads_a_merge_of_several_link_types(
    data_path: Path, merge: RunMerge, need_tool: NeedTool
) -> None:
    out = merge("out.pcapng", data_path / "mixed.pcap", data_path / "sll.pcap", data_path / "raw101.pcap")
    fields = ["-T", "fields", "-e", "frame.encap_type", "-e", "frame.time_epoch"]
    listed = run_peer(need_tool("tshark"), "-r", out, *fields, reads=[out]).stdout.decode()
    rows = [line.split("\t") for line in listed.splitlines()]
    assert {kind for kind, _ in rows} == {"1", "25", "7"}
    assert len(rows) == sum(
        len(slimcap.read(data_path / name)) for name in ("mixed.pcap", "sll.pcap", "raw101.pcap")
    )
    assert [time for _, time in rows] == sorted(time for _, time in rows)


def test_mixed_link_types_do_not_fit_into_pcap(data_path: Path, merge: RunMerge, tmp_path: Path) -> None:
    merge("out.pcap", data_path / "mixed.pcap", data_path / "sll.pcap", code=1, error="--format pcapng")
    assert os.listdir(tmp_path) == []


def commented(link: str, at: list[int], dropped: int) -> bytes:
    """Build a file of one interface with a comment on each packet."""
    ng = Ng()
    packets = [ng.packet(b"0" * 60, START // 1000 + n, options=[(1, f"{link} {n}".encode())]) for n in at]
    return (
        ng.section()
        + ng.interface(1, 0, link, options=[(1, b"about " + link.encode())])
        + b"".join(packets)
        + ng.statistics(
            0, [(2, ng.number(0) + ng.number(at[0])), ng.count(7, dropped), ng.count(5, 2**64 - 1)]
        )
    )


def test_metadata_is_merged(merge: RunMerge, tmp_path: Path) -> None:
    for name, data in [
        ("a", commented("eth0", [1, 4, 5], 2)),
        ("b", commented("eth1", [2, 3, 6], 3)),
        ("c", commented("eth0", [7], 4)),
    ]:
        (tmp_path / name).write_bytes(data)
    out = merge("out.pcapng", *(tmp_path / name for name in "abc"))
    with slimcap.open_file(out) as source:
        batch = slimcap.concat(source.batches())
        rows, comments = batch["interface"].tolist(), list(batch.comments.values())
        described = [
            (info.link.name, info.comment, info.os_dropped, info.start) for info in source.interfaces
        ]
        lost = [info.interface_dropped for info in source.interfaces]
    assert comments == ["eth0 1", "eth1 2", "eth1 3", "eth0 4", "eth0 5", "eth1 6", "eth0 7"]
    assert rows == [0, 1, 1, 0, 0, 1, 0]
    assert described == [("eth0", "about eth0", 6, 1000), ("eth1", "about eth1", 3, 2000)]
    assert lost == [2**64 - 1] * 2  # saturated: the sum does not fit


def test_filter_time_and_count_apply_to_the_merged_packets(data_path: Path, merge: RunMerge) -> None:
    files = [data_path / "mixed.pcap", data_path / "mixed_ns.pcap"]
    everything = facts_in(merge("all.pcap", *files))
    taken = facts_in(merge("some.pcap", *files, "--filter", "tcp", "--after", "2024-03-01 12:00:01", "-n", 9))
    with slimcap.open_files(files, filter="tcp") as source:
        tcp = slimcap.concat(source.batches())
    late = [n for n, time in enumerate(tcp["timestamp"].tolist()) if time >= START + 10**9]
    assert [time for time, _, _ in taken] == tcp["timestamp"][late[:9]].tolist()
    assert set(taken) < set(everything)


def test_merge_into_split_files(data_path: Path, merge: RunMerge, tmp_path: Path) -> None:
    files = [data_path / "mixed.pcap", data_path / "mixed_ns.pcap"]
    whole = facts_in(merge("whole.pcap", *files))
    merge("part.pcap", *files, "--split-packets", 100)
    parts = [facts_in(file) for file in sorted(tmp_path.glob("part-*"))]
    assert list(map(len, parts)) == [100, 100, 100, 90]
    assert [packet for part in parts for packet in part] == whole


def test_damaged_files_do_not_stop_the_others(
    data_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [data_path / "bad" / "cut_data.pcap", data_path / "bad" / "huge_caplen.pcap"]
    out = tmp_path / "out.pcap"
    assert main(["merge", "-w", str(out), str(bad[0]), str(data_path / "mixed.pcap"), str(bad[1])]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(any(path.name in line for line in said) for path in bad)
    assert len(facts_in(out)) == 195 + 3 + 3


@pytest.mark.parametrize("name", ["nothing here", "bad/bad_magic.pcap"])
def test_missing_or_unreadable_file_leaves_no_output(
    name: str, data_path: Path, merge: RunMerge, tmp_path: Path
) -> None:
    merge("out.pcap", data_path / "mixed.pcap", data_path / name, code=1, error=name)
    assert os.listdir(tmp_path) == []


def test_output_may_be_one_of_the_inputs(data_path: Path, merge: RunMerge, tmp_path: Path) -> None:
    shutil.copy(data_path / "mixed.pcap", tmp_path / "same.pcap")
    out = merge("same.pcap", tmp_path / "same.pcap", data_path / "mixed_ns.pcap")
    assert len(facts_in(out)) == 390


def test_merge_from_standard_input_to_standard_output(data_path: Path, need_tool: NeedTool) -> None:
    done = run_slimcap(
        "merge",
        "-w",
        "-",
        str(data_path / "mixed_ns.pcap"),
        "-",
        input=(data_path / "mixed.pcap").read_bytes(),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    listed = run_peer(need_tool("tcpdump"), "-nn", "-r", "-", reads=[], stdin=done.stdout)
    assert len(listed.stdout.splitlines()) == 390


@pytest.mark.slow  # starts the command
def test_closed_standard_input_fails(data_path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        f"exec {COMMAND} merge -w {tmp_path}/out.pcap {data_path}/mixed.pcap - <&-",
        shell=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, b"slimcap: <stdin>: Bad file descriptor\n")
    assert os.listdir(tmp_path) == []
