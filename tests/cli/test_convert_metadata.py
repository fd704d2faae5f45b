"""`slimcap convert`: metadata of files, interfaces and packets is preserved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap.cli.main import main
from support.batches import numbered_comments
from support.builders.pcap import START
from support.builders.pcapng import Ng
from support.cli import NeedTool, RunConvert, facts_in
from support.peers import run_peer

SECOND = 10**9


TICKS = START // 1000  # microseconds: the default resolution of interfaces


TIMES = ((2, TICKS - 1), (3, TICKS + 4 * 10**6))  # isb_starttime, isb_endtime


def info_of(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `slimcap info` shows of a file."""
    assert main(["info", "--json", str(file)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def described() -> bytes:
    """Build a file with all metadata of an interface, one without metadata, and comments on packets."""
    ng = Ng()
    data = ng.section([(1, b"first"), (2, b"Pentium"), (3, b"Linux"), (4, b"dumpcap")])
    data += ng.interface(
        1,
        96,
        "eth0",
        options=[(1, b"uplink"), (3, b"the one"), (11, b"\0tcp port 80"), (12, b"Linux 6"), (15, b"i40e")],
    )
    data += ng.packet(b"\0" * 60, TICKS)
    data += ng.packet(b"\1" * 60, TICKS + 10**6, options=[(1, b"here"), ng.flags(2)])
    data += ng.interface(101, 0, "tun0")
    data += ng.packet(b"\2" * 60, TICKS + 2 * 10**6, options=[(1, b"and there")])
    data += ng.packet(b"\3" * 60, TICKS + 3 * 10**6)
    times = [(code, ng.number(ticks >> 32) + ng.number(ticks & 0xFFFFFFFF)) for code, ticks in TIMES]
    data += ng.statistics(0, [*times, ng.count(4, 7), ng.count(5, 2), ng.count(7, 3)])
    return data


@pytest.fixture
def described_file(tmp_path: Path) -> Path:
    file = tmp_path / "described.pcapng"
    file.write_bytes(described())
    return file


def test_metadata_is_preserved(
    described_file: Path, convert: RunConvert, capsys: pytest.CaptureFixture[str], need_tool: NeedTool
) -> None:
    before, out = info_of(described_file, capsys), convert(described_file, "out.pcapng")
    after = info_of(out, capsys)
    assert after["interfaces"] == before["interfaces"]
    assert [one["snaplen"] for one in after["interfaces"]] == [96, 0]
    assert after["interfaces"][0]["start_ns"] == START - 1000
    assert after["comments"] == before["comments"] == 2
    assert after["dropped"] == before["dropped"] == 5
    assert after["sections"] == before["sections"]
    fields = ["-T", "fields", "-e", "frame.comment", "-e", "frame.packet_flags_direction"]
    comments = run_peer(need_tool("tshark"), "-r", out, *fields, reads=[out]).stdout.decode()
    assert [line.split("\t") for line in comments.split("\n")[:4]] == [
        ["", ""],
        ["here", "0x00000002"],
        ["and there", ""],
        ["", ""],
    ]


def test_capinfos_shows_the_same_interfaces(
    described_file: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    files = [described_file, convert(described_file, "out.pcapng")]
    text = run_peer(need_tool("capinfos"), "-I", *files, reads=files).stdout.decode()
    _, *shown = text.split("File name: ")
    wanted, found = (part.partition("Interface #0")[2].rstrip() for part in shown)
    for line in ("Name = eth0", "Hardware = i40e", "Operating system = Linux 6", "Capture length = 96"):
        assert line in wanted
        assert line in found
    assert found == wanted


def test_drop_counts_of_packets_are_preserved(
    tmp_path: Path, convert: RunConvert, capsys: pytest.CaptureFixture[str]
) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    file.write_bytes(ng.section() + ng.interface(1) + ng.packet(b"0" * 60, options=[ng.count(4, 9)]))
    assert info_of(convert(file, "out.pcapng"), capsys)["dropped"] == 9


def test_converting_again_gives_the_same_bytes(described_file: Path, convert: RunConvert) -> None:
    once = convert(described_file, "once.pcapng")
    assert once.read_bytes() == convert(described_file, "twice.pcapng").read_bytes()
    assert once.read_bytes() == convert(once, "thrice.pcapng").read_bytes()


def test_longest_comments_and_largest_counters_are_preserved(
    tmp_path: Path, convert: RunConvert, capsys: pytest.CaptureFixture[str]
) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    largest = [ng.count(code, 2**64 - 1) for code in (4, 5, 7)]
    file.write_bytes(
        ng.section([(1, b"x" * 65535), (1, b"y" * 9)])
        + ng.interface(1, offset=-1, options=[(1, b"x" * 65535), (1, b"y" * 65535)])
        + ng.packet(b"0" * 60, options=[(1, b"x" * 65535), (1, b"y" * 65535)])
        + ng.statistics(0, [(2, bytes(8)), *largest])
    )
    before, after = info_of(file, capsys), info_of(convert(file, "out.pcapng"), capsys)
    for key in ("received", "interface_dropped", "os_dropped", "comment"):
        assert after["interfaces"][0][key] == before["interfaces"][0][key]
    assert before["interfaces"][0]["start_ns"] == after["interfaces"][0]["start_ns"] == -SECOND
    assert after["sections"][0]["comment"] == before["sections"][0]["comment"]


def test_comments_stay_with_their_packets(described_file: Path, convert: RunConvert) -> None:
    def comments(*args: object) -> dict[int, str]:
        with slimcap.open_file(convert(described_file, "out.pcapng", *args)) as source:
            return numbered_comments(source)

    assert comments() == {1: "here", 2: "and there"}
    assert comments("-n", 2) == {1: "here"}
    assert comments("--after", "2024-03-01 12:00:01") == {0: "here", 1: "and there"}
    assert comments("--after", "2024-03-01 12:00:01.5") == {0: "and there"}
    assert comments("--after", "2024-03-01 12:00:00", "--before", "2024-03-01 12:00:02") == {1: "here"}
    assert comments("--filter", "ether[0] >= 2") == {0: "and there"}


def test_split_files_keep_comments_and_metadata(
    described_file: Path, convert: RunConvert, tmp_path: Path
) -> None:
    convert(described_file, "part.pcapng", "--split-packets", 2)
    found = []
    for file in sorted(tmp_path.glob("part-*")):
        with slimcap.open_file(file) as source:
            (batch,) = source.batches()
            assert len(batch) == 2
            found.append(batch.comments)
            info = source.interfaces[0]
            assert (info.filter, info.hardware, info.link.name) == ("tcp port 80", "i40e", "eth0")
            assert source.sections[0].hardware == "Pentium"
    assert found == [{1: "here"}, {0: "and there"}]


def test_mixed_link_types_do_not_fit_into_pcap(data_path: Path, convert: RunConvert, tmp_path: Path) -> None:
    (tmp_path / "out.pcap").write_bytes(b"older")
    out = convert(data_path / "interfaces.pcapng", "out.pcap", code=1, error="use --format pcapng")
    assert out.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["out.pcap"]


def test_interface_without_packets_does_not_count_as_a_link_type(tmp_path: Path, convert: RunConvert) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    file.write_bytes(ng.section() + ng.interface(1) + ng.interface(113) + ng.packet(b"0" * 60))
    assert len(facts_in(convert(file, "out.pcap"))) == 1
