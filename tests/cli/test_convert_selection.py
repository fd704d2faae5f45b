"""`slimcap convert`: which packets are written, and how much of them; editcap and tcpdump are the oracles."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import make_samples
import slimcap
from support.cli import MIXED, Facts, NeedTool, RunConvert, facts_in
from support.peers import run_peer

SECOND = 10**9


def run_editcap(need_tool: NeedTool, file: Path, *options: str) -> Facts:
    """Return the packets of the file that editcap makes of one."""
    done = run_peer(need_tool("editcap"), *options, file, "-", reads=[file])
    return facts_in(io.BytesIO(done.stdout))


# ---- filter and snaplen


@pytest.mark.parametrize("expression", ["tcp port 80", "ip6", "vlan and udp", "greater 1000"])
def test_filter_selects_as_tcpdump_does(
    expression: str, data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    file = data_path / "mixed.pcap"
    done = run_peer(need_tool("tcpdump"), "-r", file, "-w", "-", expression, reads=[file])
    got = convert(file, "out.pcap", "--filter", expression)
    assert facts_in(got) == facts_in(io.BytesIO(done.stdout)) != []


@pytest.mark.parametrize("snaplen", [1, 14, 60, 96, 1500])
def test_snaplen_truncates_as_editcap_does(
    snaplen: int, data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    want = run_editcap(need_tool, data_path / "mixed.pcap", "-s", str(snaplen))
    for out in ("out.pcapng", "out.pcap"):
        assert facts_in(convert(data_path / "mixed.pcap", out, "--snaplen", snaplen)) == want
        with slimcap.open_file(convert(data_path / "mixed.pcap", out, "--snaplen", snaplen)) as source:
            assert source.snaplen == snaplen


def test_filter_sees_the_packet_before_it_is_truncated(data_path: Path, convert: RunConvert) -> None:
    whole = convert(data_path / "mixed.pcap", "whole.pcap", "--filter", "tcp port 80")
    cut = convert(data_path / "mixed.pcap", "cut.pcap", "--filter", "tcp port 80", "--snaplen", 14)
    assert [row[:2] for row in facts_in(cut)] == [row[:2] for row in facts_in(whole)]
    assert {len(data) for _, _, data in facts_in(cut)} == {14}


def test_packets_longer_than_the_snaplen_of_the_file_stay_whole(data_path: Path, convert: RunConvert) -> None:
    for name in ("oversnap.pcap", "max_caplen.pcap.gz"):
        for out in ("out.pcap", "out.pcapng"):
            assert facts_in(convert(data_path / name, out)) == facts_in(data_path / name)


# ---- times and counts


@pytest.mark.parametrize(
    "args",
    [
        ["-A", "2024-03-01T12:00:01Z"],
        ["-B", "2024-03-01T12:00:01Z"],
        ["-A", "2024-03-01T12:00:01Z", "-B", "2024-03-01T12:00:03Z"],
        ["-A", "1709294402.000022"],
        ["-B", "1709294402.000022"],
        ["-A", "2030-01-01T00:00:00Z"],
    ],
)
def test_times_select_as_editcap_does(
    args: list[str], data_path: Path, convert: RunConvert, need_tool: NeedTool
) -> None:
    want = run_editcap(need_tool, data_path / "mixed.pcap", *args)
    ours = [{"-A": "--after", "-B": "--before"}.get(word, word) for word in args]
    assert facts_in(convert(data_path / "mixed.pcap", "out.pcap", *ours)) == want


def test_times_are_exact_to_the_nanosecond(data_path: Path, convert: RunConvert) -> None:
    packets = facts_in(data_path / "mixed_ns.pcap")
    at = packets[100][0]
    text = f"{at // SECOND}.{at % SECOND:09}"
    assert facts_in(convert(data_path / "mixed_ns.pcap", "a.pcap", "--after", text)) == packets[100:]
    assert facts_in(convert(data_path / "mixed_ns.pcap", "b.pcap", "--before", text)) == packets[:100]


@pytest.mark.parametrize("count", [0, 1, 100, MIXED, MIXED + 1])
def test_count_limits_the_packets(count: int, data_path: Path, convert: RunConvert) -> None:
    packets = facts_in(data_path / "mixed.pcap")
    assert facts_in(convert(data_path / "mixed.pcap", "out.pcap", "-n", count)) == packets[:count]


def test_count_of_0_does_not_wait_for_packets(tmp_path: Path, convert: RunConvert, fifo: Any) -> None:
    fifo.write(make_samples.pcap_header())
    assert facts_in(convert(fifo.path, "out.pcap", "-n", 0)) == []


def test_count_applies_after_the_other_conditions(data_path: Path, convert: RunConvert) -> None:
    args = ["--filter", "tcp", "--after", "2024-03-01T12:00:01"]
    wanted = facts_in(convert(data_path / "mixed.pcap", "all.pcap", *args))
    assert facts_in(convert(data_path / "mixed.pcap", "some.pcap", *args, "-n", 3)) == wanted[:3]
    assert len(wanted) > 3


def test_nothing_is_read_after_the_last_packet_that_counts(data_path: Path, convert: RunConvert) -> None:
    assert len(facts_in(convert(data_path / "bad" / "cut_data.pcap", "out.pcap", "-n", 3))) == 3
