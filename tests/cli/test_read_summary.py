"""`slimcap read --summary`, compared with the samples' own bytes and with `slimcap.read`."""

from __future__ import annotations

import json
from collections import Counter
from types import ModuleType

import numpy as np
import pytest

import slimcap
from slimcap.cli.main import main
from support.cli import SUMMARY_OF_MIXED, ip_of, iso, sample_path


def summary(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, object]:
    assert main(["read", "--summary", "--json", *args]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    report: dict[str, object] = json.loads(line)
    return report


def counts(table: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: count["packets"] for name, count in table.items()}


def test_summary_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--summary", sample_path("mixed.pcap")]) == 0
    assert capsys.readouterr() == (SUMMARY_OF_MIXED, "")


def test_summary_matches_the_packet_bytes(samples: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    packets = samples.mixed()
    sizes = [len(packet.data) for packet in packets]
    first, last = (packets[at].time // 1000 * 1000 for at in (0, -1))
    report = summary(capsys, sample_path("snap96.pcap"))
    assert (report["packets"], report["bytes"]) == (195, sum(sizes))
    assert report["captured_bytes"] == sum(min(size, 96) for size in sizes)
    assert report["truncated"] == sum(size > 96 for size in sizes)
    assert (report["first_ns"], report["last_ns"]) == (first, last)
    assert report["first"] == iso(first, 9).replace(" ", "T") + "Z"
    assert report["duration"] == pytest.approx((last - first) / 1e9)
    assert report["packets_per_second"] == pytest.approx(195 / report["duration"])
    assert report["bits_per_second"] == pytest.approx(8 * sum(sizes) / report["duration"])
    assert report["vlan_tagged"] == sum(p.data[12:14] in (b"\x81\0", b"\x88\xa8") for p in packets)
    assert report["link_types"] == ["ETHERNET"]
    kinds = [ip_of(packet.data) for packet in packets]
    assert counts(report["ip_versions"]) == Counter(version for version, _ in kinds)
    names = {1: "ICMP", 2: "IGMP", 4: "IPv4-in-IP", 6: "TCP", 17: "UDP", 41: "IPv6-in-IP", 58: "ICMPv6"}
    assert counts(report["protocols"]) == Counter(names[number] for _, number in kinds if number >= 0)


@pytest.mark.parametrize(
    "name",
    [
        "mixed.pcap.gz",
        "odd_lengths.pcap",
        "odd_times.pcap",
        "max_caplen.pcap.gz",
        "unknown.pcap",
        "empty.pcap",
        "sll2.pcap",
    ],
)
def test_summary_matches_the_batch(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    report, batch = summary(capsys, sample_path(name)), slimcap.read(sample_path(name))
    sizes, flags = batch["total_len"].astype(np.int64), batch["flags"]
    assert (report["packets"], report["bytes"]) == (len(batch), sizes.sum())
    assert report["captured_bytes"] == batch["cap_len"].sum(dtype=np.int64)
    assert report["truncated"] == np.count_nonzero(flags & int(slimcap.RecordFlag.TRUNCATED))
    assert report["vlan_tagged"] == np.count_nonzero(flags & int(slimcap.RecordFlag.VLAN))
    if len(batch):
        assert (report["first_ns"], report["last_ns"]) == (batch["timestamp"].min(), batch["timestamp"].max())
    else:
        assert report["first"] is report["last"] is report["duration"] is report["packets_per_second"] is None
    for table in ("sizes", "ip_versions"):
        assert sum(count["packets"] for count in report[table].values()) == len(batch)
        assert sum(count["bytes"] for count in report[table].values()) == sizes.sum()
    for name, count in report["sizes"].items():
        low, _, high = name.partition("-")
        inside = sizes[(sizes >= int(low)) & (sizes <= int(high or sizes.max(initial=0)))]
        assert count == {"packets": len(inside), "bytes": inside.sum()}


def test_summary_of_several_files(capsys: pytest.CaptureFixture[str]) -> None:
    report = summary(
        capsys,
        sample_path("mixed.pcap"),
        sample_path("raw101.pcap"),
        sample_path("empty.pcap"),
        sample_path("unknown.pcap"),
    )
    assert report["packets"] == 195 + 7 + 4
    assert report["link_types"] == ["ETHERNET", "RAW", "USER0"]
    assert (
        summary(capsys, "-n", "200", sample_path("mixed.pcap"), sample_path("raw101.pcap"))["packets"] == 200
    )


def test_summary_of_no_packets(capsys: pytest.CaptureFixture[str]) -> None:
    assert summary(capsys, "-n", "0", sample_path("mixed.pcap"))["packets"] == 0
    assert main(["read", "--summary", sample_path("empty.pcap")]) == 0
    assert capsys.readouterr().out == (
        "packets         0\nbytes           0\ncaptured bytes  0\n"
        "truncated       0\nVLAN-tagged     0\nlink type       ETHERNET\n"
    )


def test_summary_counts_the_packets_that_match_a_filter(capsys: pytest.CaptureFixture[str]) -> None:
    batch = slimcap.read(sample_path("mixed.pcap"), filter="tcp")
    assert main(["read", "--summary", "--json", "--filter", "tcp", sample_path("mixed.pcap")]) == 0
    assert json.loads(capsys.readouterr().out)["packets"] == len(batch) > 0
