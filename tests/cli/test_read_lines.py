"""`slimcap read`: a line for each packet, of one file or several, with a filter or without."""

from __future__ import annotations

import json
import struct
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType

import pytest

import slimcap
from slimcap.cli.main import main
from support.builders.layers import ip
from support.builders.pcap import pcap_header, pcap_record
from support.cli import JSON_KEYS, bad_path, ip_of, iso, sample_path
from support.samples import DATA

# ---- lines


def test_ip_of_counts_the_versions_in_the_sample(samples: ModuleType) -> None:
    kinds = Counter(version for version, _ in (ip_of(packet.data) for packet in samples.mixed()))
    assert kinds == {"4": 162, "6": 26, "none": 7}  # as tests/data/README.md has it


@pytest.mark.parametrize(("name", "digits"), [("mixed.pcap", 6), ("mixed_be.pcap", 6), ("mixed_ns.pcap", 9)])
def test_lines_show_time_sizes_ip_layer_and_vlan(
    name: str, digits: int, samples: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", sample_path(name)]) == 0
    lines = capsys.readouterr().out.splitlines()
    packets = samples.mixed()
    assert len(lines) == len(packets) == 195
    for line, packet in zip(lines, packets, strict=True):
        version, number = ip_of(packet.data)
        size = len(packet.data)
        head = f"{iso(packet.time, digits)}  -    {size:>5}/{size:<5}  "
        assert line.startswith(head)
        text, _, vlan = line.removeprefix(head).partition("  vlan ")
        assert text.endswith(f"(proto: {number})") if version != "none" else text == "no IP layer"
        tagged = packet.data[12:14] in (b"\x81\0", b"\x88\xa8")
        assert vlan == (str(struct.unpack_from(">H", packet.data, 14)[0] & 0xFFF) if tagged else "")


def test_lines_show_packet_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "-n", "5", sample_path("sll.pcap")]) == 0
    assert [line[26:33] for line in capsys.readouterr().out.splitlines()] == [
        f"  {mark:<3}  " for mark in ("In", "B", "M", "P", "Out")
    ]


def test_lines_show_captured_and_wire_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", sample_path("oversnap.pcap")]) == 0
    batch = slimcap.read(sample_path("oversnap.pcap"))
    lengths = [line[33:44] for line in capsys.readouterr().out.splitlines()]
    assert lengths == [f"{row['cap_len']:>5}/{row['total_len']:<5}" for row in batch.records]


def test_lines_show_the_ip_layer_as_the_packet_does(capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(DATA.glob("*.pcap"))
    assert len(names) > 20
    for name in names:
        assert main(["read", str(name)]) == 0
        lines = capsys.readouterr().out.splitlines()
        packets = list(slimcap.read(name))
        assert len(lines) == len(packets)
        for line, packet in zip(lines, packets, strict=True):
            text = str(packet.ip_layer) if packet.ip_layer_offset != slimcap.NO_IP else "no IP layer"
            assert f"{packet.cap_len:>5}/{packet.total_len:<5}  {text}" in line


def test_lines_and_json_name_pcapng_interfaces(capsys: pytest.CaptureFixture[str], data_path: Path) -> None:
    path = str(data_path / "sections.pcapng")
    assert main(["read", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["eth0", "tun0", "eth1", "tun1", "eth3", "tun3"]
    assert [line.rpartition("  on ")[2] for line in lines] == names
    assert main(["read", "--json", path]) == 0
    assert [json.loads(line)["interface"] for line in capsys.readouterr().out.splitlines()] == names
    assert main(["read", str(data_path / "mixed.pcapng")]) == 0
    assert "  on " not in capsys.readouterr().out


# ---- which packets


def test_count_applies_to_all_files_together(capsys: pytest.CaptureFixture[str]) -> None:
    def lines(*args: str) -> list[str]:
        assert main(["read", *args]) == 0
        return capsys.readouterr().out.splitlines()

    first, second = lines(sample_path("raw101.pcap")), lines(sample_path("mixed_ns.pcap"))
    both = sample_path("raw101.pcap"), sample_path("mixed_ns.pcap")
    assert lines(*both) == first + second
    for count in (0, 1, len(first), len(first) + 1, len(first + second), 10**30):
        assert lines("-n", str(count), *both) == (first + second)[:count]


def test_read_stops_after_count_packets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "-n", "3", bad_path("cut_data.pcap"), "no such file"]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (3, "")


def test_filter_selects_lines_of_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", sample_path("mixed.pcap"), sample_path("raw101.pcap")]) == 0
    wanted = [line for line in capsys.readouterr().out.splitlines() if "(proto: 17)" in line]
    assert (
        main(
            [
                "read",
                "--filter",
                "udp or (vlan and udp)",
                sample_path("mixed.pcap"),
                sample_path("raw101.pcap"),
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert err == (
        f"slimcap: warning: {sample_path('raw101.pcap')}: the filter matches no packet of link type RAW: "
        "no VLAN support for Raw IP\n"
    )
    assert 0 < len(out.splitlines()) < len(wanted)
    assert set(out.splitlines()) < set(wanted)
    assert main(["read", "--filter", "udp", "-n", "3", sample_path("mixed.pcap")]) == 0
    assert capsys.readouterr().out.splitlines() == out.splitlines()[:3]


def test_filter_with_a_syntax_error_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--filter", "udp and", sample_path("mixed.pcap")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "syntax error" in err


# ---- JSON


@pytest.mark.parametrize(
    "name", ["mixed.pcap", "mixed_ns.pcap", "sll.pcap", "odd_lengths.pcap", "ethernet_vlan.pcap"]
)
def test_json_shows_the_attributes_of_packets(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--json", sample_path(name)]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    packets = list(slimcap.read(sample_path(name)))
    assert len(objects) == len(packets) > 0
    for shown, packet in zip(objects, packets, strict=True):
        ip = packet.ip_layer
        assert tuple(shown) == JSON_KEYS
        assert shown == {
            "timestamp": iso(packet.timestamp, 9 if "_ns" in name else 6).replace(" ", "T") + "Z",
            "timestamp_ns": packet.timestamp,
            "interface": sample_path(name),
            "type": packet.type.name,
            "cap_len": packet.cap_len,
            "total_len": packet.total_len,
            "vlan": packet.vlan_tci & 0xFFF if packet.flags & slimcap.RecordFlag.VLAN else None,
            "ip_offset": None if packet.ip_layer_offset == slimcap.NO_IP else packet.ip_layer_offset,
            "ip_version": ip.type or None,
            "protocol": ip.protocol or None,
            "src": ip.src or None,
            "dst": ip.dst or None,
            "src_port": ip.src_port or None,
            "dst_port": ip.dst_port or None,
        }


@pytest.mark.parametrize(
    ("protocol", "payload", "shown"),
    [
        (17, bytes(8), (17, 0, 0)),
        (6, struct.pack("!HH", 0, 80), (6, 0, 80)),
        (6, struct.pack("!H", 80), (6, 80, None)),
        (6, b"", (6, None, None)),
        (0, bytes(8), (0, None, None)),
        (1, bytes(8), (1, None, None)),
    ],
)
def test_json_shows_zero_as_a_number_and_what_is_missing_as_null(
    protocol: int,
    payload: bytes,
    shown: tuple[int | None, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "raw.pcap"
    file.write_bytes(pcap_header(linktype=101) + pcap_record(ip(payload, protocol, "192.0.2.1", "192.0.2.2")))
    assert main(["read", "--json", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["protocol"], found["src_port"], found["dst_port"]) == shown


def test_json_matches_the_packet_bytes(samples: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--json", sample_path("mixed.pcap")]) == 0
    plain = 0
    for line, packet in zip(capsys.readouterr().out.splitlines(), samples.mixed(), strict=True):
        shown = json.loads(line)
        version, number = ip_of(packet.data)
        assert shown["timestamp_ns"] == packet.time // 1000 * 1000
        assert str(shown["ip_version"] or "none") == version
        assert shown["protocol"] == (None if number < 0 else number)
        if (
            packet.data[12:15] == b"\x08\0\x45" and number in (6, 17) and not packet.data[21]
        ):  # no options, no fragment
            plain += 1
            assert shown["src"] == str(ip_address(packet.data[26:30]))
            assert shown["dst"] == str(ip_address(packet.data[30:34]))
            assert (shown["src_port"], shown["dst_port"]) == struct.unpack_from(">HH", packet.data, 34)
    assert plain > 50
