"""`slimcap merge`: the order that mergecap makes of the same files, and files that are bad.

Options that it shares with `slimcap convert` are tried in test_cli_convert.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from support.peers import peer_environment
from make_samples import START, Ng

import slimcap
from slimcap.cli.main import main

Need = Callable[[str], str]
Merge = Callable[..., Path]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "slimcap")


@pytest.fixture
def merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Merge:
    """Run `slimcap merge -w OUT`; gives OUT's path."""

    def merged(out: str, *args: object, code: int = 0, says: str = "") -> Path:
        assert main(["merge", "-w", str(tmp_path / out), *map(str, args)]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert says in said.err if says else said.err == ""
        return tmp_path / out

    return merged


def packets_of(file: Path) -> list[tuple[int, int, bytes]]:
    batch = slimcap.read(file)
    columns = (batch["timestamp"].tolist(), batch["total_len"].tolist())
    return [(*row, bytes(batch.payload(n))) for n, row in enumerate(zip(*columns, strict=True))]


@pytest.mark.parametrize("out", ["out.pcap", "out.pcapng", "out.pcapng.zst"])
def test_the_order_of_mergecap(
    out: str, data_path: Path, merge: Merge, need_tool: Need, tmp_path: Path
) -> None:
    files = [
        data_path / name for name in ("mixed_ns.pcap", "ethernet_vlan.pcap", "mixed.pcapng", "mixed.pcap.gz")
    ]
    theirs = tmp_path / "theirs.pcapng"
    subprocess.run(
        [need_tool("mergecap"), "-w", theirs, *reversed(files)],  # at the same time it takes the last file's
        check=True,
        capture_output=True,
        timeout=60,
        env=peer_environment(),
    )
    assert packets_of(merge(out, *files)) == packets_of(theirs)


def test_tshark_reads_several_link_types(data_path: Path, merge: Merge, need_tool: Need) -> None:
    out = merge("out.pcapng", data_path / "mixed.pcap", data_path / "sll.pcap", data_path / "raw101.pcap")
    listed = subprocess.run(
        [need_tool("tshark"), "-r", out, "-T", "fields", "-e", "frame.encap_type", "-e", "frame.time_epoch"],
        check=True,
        capture_output=True,
        timeout=60,
        env=peer_environment(),
    )
    rows = [line.split("\t") for line in listed.stdout.decode().splitlines()]
    assert {kind for kind, _ in rows} == {"1", "25", "7"}
    assert len(rows) == sum(
        len(slimcap.read(data_path / name)) for name in ("mixed.pcap", "sll.pcap", "raw101.pcap")
    )
    assert [time for _, time in rows] == sorted(time for _, time in rows)


def test_link_types_that_pcap_cannot_mix(data_path: Path, merge: Merge, tmp_path: Path) -> None:
    merge("out.pcap", data_path / "mixed.pcap", data_path / "sll.pcap", code=1, says="--format pcapng")
    assert os.listdir(tmp_path) == []


def noted(link: str, at: list[int], dropped: int) -> bytes:
    """A file of an interface, each of whose packets says when it came."""
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


def test_what_files_say_besides_packets(merge: Merge, tmp_path: Path) -> None:
    for name, data in [
        ("a", noted("eth0", [1, 4, 5], 2)),
        ("b", noted("eth1", [2, 3, 6], 3)),
        ("c", noted("eth0", [7], 4)),
    ]:
        (tmp_path / name).write_bytes(data)
    out = merge("out.pcapng", *(tmp_path / name for name in "abc"))
    with slimcap.open_file(out) as source:
        rows = [row for batch in source.batches() for row in batch["interface"].tolist()]
        comments = list(source.comments.values())
        told = [(info.link.name, info.comment, info.os_dropped, info.start) for info in source.interfaces]
        lost = [info.interface_dropped for info in source.interfaces]
    assert comments == ["eth0 1", "eth1 2", "eth1 3", "eth0 4", "eth0 5", "eth1 6", "eth0 7"]
    assert rows == [0, 1, 1, 0, 0, 1, 0]
    assert told == [("eth0", "about eth0", 6, 1000), ("eth1", "about eth1", 3, 2000)]
    assert lost == [2**64 - 1] * 2  # there is no larger number


def test_some_of_them(data_path: Path, merge: Merge) -> None:
    files = [data_path / "mixed.pcap", data_path / "mixed_ns.pcap"]
    everything = packets_of(merge("all.pcap", *files))
    taken = packets_of(
        merge("some.pcap", *files, "--filter", "tcp", "--after", "2024-03-01 12:00:01", "-n", 9)
    )
    with slimcap.open_files(files, filter="tcp") as source:
        tcp = slimcap.concat(source.batches())
    late = [n for n, time in enumerate(tcp["timestamp"].tolist()) if time >= START + 10**9]
    assert [time for time, _, _ in taken] == tcp["timestamp"][late[:9]].tolist()
    assert set(taken) < set(everything)


def test_split(data_path: Path, merge: Merge, tmp_path: Path) -> None:
    files = [data_path / "mixed.pcap", data_path / "mixed_ns.pcap"]
    whole = packets_of(merge("whole.pcap", *files))
    merge("part.pcap", *files, "--split-packets", 100)
    parts = [packets_of(file) for file in sorted(tmp_path.glob("part-*"))]
    assert list(map(len, parts)) == [100, 100, 100, 90]
    assert [packet for part in parts for packet in part] == whole


def test_damaged_files_do_not_keep_us_from_the_others(
    data_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [data_path / "bad" / "cut_data.pcap", data_path / "bad" / "huge_caplen.pcap"]
    out = tmp_path / "out.pcap"
    assert main(["merge", "-w", str(out), str(bad[0]), str(data_path / "mixed.pcap"), str(bad[1])]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(any(path.name in line for line in said) for path in bad)
    assert len(packets_of(out)) == 195 + 3 + 3


@pytest.mark.parametrize("name", ["nothing here", "bad/bad_magic.pcap"])
def test_a_file_that_cannot_be_opened(name: str, data_path: Path, merge: Merge, tmp_path: Path) -> None:
    merge("out.pcap", data_path / "mixed.pcap", data_path / name, code=1, says=name)
    assert os.listdir(tmp_path) == []


def test_onto_one_of_them(data_path: Path, merge: Merge, tmp_path: Path) -> None:
    shutil.copy(data_path / "mixed.pcap", tmp_path / "same.pcap")
    out = merge("same.pcap", tmp_path / "same.pcap", data_path / "mixed_ns.pcap")
    assert len(packets_of(out)) == 390


def test_standard_input_and_output(data_path: Path, need_tool: Need) -> None:
    done = subprocess.run(
        [COMMAND, "merge", "-w", "-", str(data_path / "mixed_ns.pcap"), "-"],
        input=(data_path / "mixed.pcap").read_bytes(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    listed = subprocess.run(
        [need_tool("tcpdump"), "-nn", "-r", "-"],
        input=done.stdout,
        capture_output=True,
        timeout=60,
        check=True,
        env=peer_environment(),
    )
    assert len(listed.stdout.splitlines()) == 390


def test_standard_input_that_is_closed(data_path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        f"exec {COMMAND} merge -w {tmp_path}/out.pcap {data_path}/mixed.pcap - <&-",
        shell=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, b"slimcap: <stdin>: Bad file descriptor\n")
    assert os.listdir(tmp_path) == []
