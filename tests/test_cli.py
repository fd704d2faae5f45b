"""The `slimcap` command, run as a program and called as a function.

What it should show is worked out here from the samples' own bytes, or from what `make_samples.py` put there.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import select
import signal
import struct
import subprocess
import sys
import sysconfig
import termios
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap.cli import capture, progress
from slimcap.cli import main as main_module
from slimcap.cli.lines import JSON_KEYS
from slimcap.cli.main import main

DATA = Path(__file__).parent / "data"
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
COMMAND = str(Path(sysconfig.get_path("scripts")) / "slimcap")
PATIENCE = 30
"""Seconds after which something that should have happened at once counts as never: machines may be busy."""

MIXED_SUMMARY = """\
packets         195
bytes           31,579
captured bytes  31,579
first packet    2024-03-01 12:00:00.000004000 UTC
last packet     2024-03-01 12:00:04.500447000 UTC
duration        4.500443000 s
average size    161.9 bytes
average rate    43.3 packets/s
                56.1 kbit/s
truncated       0
VLAN-tagged     26
link type       ETHERNET

size                     packets    share               bytes
0-63                          59    30.3%               3,358
64-127                       102    52.3%               8,377
128-255                       19     9.7%               3,085
256-511                        3     1.5%               1,062
512-1023                       2     1.0%               1,166
1024-1518                     10     5.1%              14,531
1519-                          0     0.0%                   0

IP version               packets    share               bytes
4                            162    83.1%              24,347
6                             26    13.3%               6,837
none                           7     3.6%                 395

protocol                 packets    share               bytes
TCP                          104    53.3%              19,145
UDP                           45    23.1%               7,207
ICMP                          25    12.8%               2,734
ICMPv6                        11     5.6%               1,842
IGMP                           1     0.5%                  46
IPv4-in-IP                     1     0.5%                  95
IPv6-in-IP                     1     0.5%                 115
"""


def path(name: str) -> str:
    return str(DATA / name)


def bad(name: str) -> str:
    return str(DATA / "bad" / name)


def environment(**changes: str) -> dict[str, str]:
    """Ours, but for how Python buffers its output: that makes a difference where output fails."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | changes


def run(*args: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"capture_output": True, "env": environment()} | options
    return subprocess.run([COMMAND, *args], timeout=PATIENCE, check=False, **options)


def start(*args: str, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": environment(),
    }
    return subprocess.Popen([COMMAND, *args], **(pipes | options))


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Far more packets than a pipe holds as lines."""
    mixed = (DATA / "mixed.pcap").read_bytes()
    file = tmp_path_factory.mktemp("cli") / "long.pcap"
    file.write_bytes(mixed[:24] + mixed[24:] * 100)
    return file


# ---- what this file knows of packets


def protocol(frame: bytes) -> tuple[str, int]:
    """IP version and upper-layer protocol of a frame, behind tags and IPv6 extension headers."""
    at = 12
    while frame[at : at + 2] in (b"\x81\0", b"\x88\xa8", b"\x91\0"):
        at += 4
    kind, ip = frame[at : at + 2], frame[at + 2 :]
    if kind == b"\x08\0":
        return "4", ip[9]
    if kind != b"\x86\xdd":
        return "none", -1
    number, at = ip[6], 40
    while number in (0, 44, 60):
        later_fragment = number == 44 and struct.unpack_from(">H", ip, at + 2)[0] >> 3
        number, at = ip[at], at + (8 if number == 44 else 8 + 8 * ip[at + 1])
        if later_fragment:
            break
    return "6", number


def iso(ns: int, digits: int) -> str:
    seconds, fraction = divmod(ns, 10**9)
    text = str(np.datetime64(seconds, "s")).replace("T", " ")
    return f"{text}.{fraction:09}"[: len(text) + 1 + digits]


def test_what_this_file_knows(samples: ModuleType) -> None:
    kinds = Counter(version for version, _ in (protocol(packet.data) for packet in samples.mixed()))
    assert kinds == {"4": 162, "6": 26, "none": 7}  # as README.md has it


# ---- the command


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (
        0,
        f"slimcap {slimcap.__version__}\n",
        b"",
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("read", JSON_KEYS),
        ("capture", ["IFACE", "--snaplen", "SIGTERM", "141"]),
        ("links", ["may_capture"]),
        ("bench", ["--seconds", "--plot"]),
        ("convert", ["IN OUT", "--split-seconds", "{index:05}", "Ctrl-C"]),
        ("merge", ["-w OUT", "--after TIME", "{index:05}"]),
    ],
)
def test_help(command: str, words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["write"],
        ["read"],
        ["read", "-n", "-1", "x"],
        ["read", "-n", "one", "x"],
        ["read", "--bar", "x"],
        ["capture"],
        ["capture", "lo", "lo"],
        ["capture", "lo", "-n", "-1"],
        ["capture", "lo", "-w"],
        ["capture", "lo", "-w", "x", "--json"],
        ["capture", "lo", "--direction", "up"],
        ["capture", "lo", "--duration", "0"],
        ["capture", "lo", "--duration", "nan"],
        ["capture", "lo", "--duration", "inf"],
        ["capture", "lo", "--duration", "soon"],
        ["capture", "lo", "--snaplen", "0"],
        ["capture", "lo", "--snaplen", "262145"],
        ["capture", "lo", "--snaplen", "all"],
        ["links", "lo"],
        ["convert", "x"],
        ["convert", "x", "y", "z"],
        ["merge", "x"],
        ["merge", "-w", "x"],
    ],
)
def test_wrong_arguments(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: slimcap")
    assert "error: " in err


def test_is_a_program() -> None:
    done = run("read", "-n", "2", path("mixed.pcap"))
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        "2024-03-01 12:00:00.000004  -       42/42     no IP layer",
        "2024-03-01 12:00:00.000006  -       71/71     192.0.2.53:7007 => 233.252.0.1:7007 (proto: 17)",
    ]


def test_links(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["links", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["index"], one["name"]) for one in shown] == [
        (link.index, link.name) for link in slimcap.links()
    ]
    assert shown


def test_nothing_to_capture_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "no/interface"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.startswith("slimcap: no interface 'no/interface' ")) == ("", True)


def test_totals_of_a_capture() -> None:
    source = SimpleNamespace(total_stats=slimcap.Stats(5, 1, 0), link_drops=slimcap.LinkDrops(9, 2, 1))
    assert capture._totals(source, 4) == (
        "4 packets captured\n5 packets received by filter\n"
        "1 packet dropped by kernel\n3 packets dropped by interface\n"
    )


# ---- lines


@pytest.mark.parametrize(("name", "digits"), [("mixed.pcap", 6), ("mixed_be.pcap", 6), ("mixed_ns.pcap", 9)])
def test_lines(name: str, digits: int, samples: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", path(name)]) == 0
    lines = capsys.readouterr().out.splitlines()
    packets = samples.mixed()
    assert len(lines) == len(packets) == 195
    for line, packet in zip(lines, packets, strict=True):
        version, number = protocol(packet.data)
        size = len(packet.data)
        head = f"{iso(packet.time, digits)}  -    {size:>5}/{size:<5}  "
        assert line.startswith(head)
        text, _, vlan = line.removeprefix(head).partition("  vlan ")
        assert text.endswith(f"(proto: {number})") if version != "none" else text == "no IP layer"
        tagged = packet.data[12:14] in (b"\x81\0", b"\x88\xa8")
        assert vlan == (str(struct.unpack_from(">H", packet.data, 14)[0] & 0xFFF) if tagged else "")


def test_packet_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "-n", "5", path("sll.pcap")]) == 0
    assert [line[26:33] for line in capsys.readouterr().out.splitlines()] == [
        f"  {mark:<3}  " for mark in ("In", "B", "M", "P", "Out")
    ]


def test_cut_packets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", path("oversnap.pcap")]) == 0
    batch = slimcap.read(path("oversnap.pcap"))
    lengths = [line[33:44] for line in capsys.readouterr().out.splitlines()]
    assert lengths == [f"{row['cap_len']:>5}/{row['total_len']:<5}" for row in batch.records]


def test_the_ip_layer_is_the_packets_own_text(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_several_files(capsys: pytest.CaptureFixture[str]) -> None:
    def lines(*args: str) -> list[str]:
        assert main(["read", *args]) == 0
        return capsys.readouterr().out.splitlines()

    first, second = lines(path("raw101.pcap")), lines(path("mixed_ns.pcap"))
    both = path("raw101.pcap"), path("mixed_ns.pcap")
    assert lines(*both) == first + second
    for count in (0, 1, len(first), len(first) + 1, len(first + second), 10**30):
        assert lines("-n", str(count), *both) == (first + second)[:count]


def test_no_more_is_read_than_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "-n", "3", bad("cut_data.pcap"), "no such file"]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (3, "")


# ---- filters


def test_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", path("mixed.pcap"), path("raw101.pcap")]) == 0
    wanted = [line for line in capsys.readouterr().out.splitlines() if "(proto: 17)" in line]
    assert main(["read", "--filter", "udp or (vlan and udp)", path("mixed.pcap"), path("raw101.pcap")]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"slimcap: {path('raw101.pcap')}: filter 'udp or (vlan and udp)': no VLAN support")
    assert 0 < len(out.splitlines()) < len(wanted)
    assert set(out.splitlines()) < set(wanted)
    assert main(["read", "--filter", "udp", "-n", "3", path("mixed.pcap")]) == 0
    assert capsys.readouterr().out.splitlines() == out.splitlines()[:3]


def test_filter_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    batch = slimcap.read(path("mixed.pcap"), filter="tcp")
    assert main(["read", "--summary", "--json", "--filter", "tcp", path("mixed.pcap")]) == 0
    assert json.loads(capsys.readouterr().out)["packets"] == len(batch) > 0


def test_filter_that_is_none() -> None:
    done = run("read", "--filter", "udp and", path("mixed.pcap"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"syntax error" in done.stderr


# ---- JSON


@pytest.mark.parametrize(
    "name", ["mixed.pcap", "mixed_ns.pcap", "sll.pcap", "odd_lengths.pcap", "ethernet_vlan.pcap"]
)
def test_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--json", path(name)]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    packets = list(slimcap.read(path(name)))
    assert len(objects) == len(packets) > 0
    for shown, packet in zip(objects, packets, strict=True):
        ip = packet.ip_layer
        assert tuple(shown) == JSON_KEYS
        assert shown == {
            "timestamp": iso(packet.timestamp, 9 if "_ns" in name else 6).replace(" ", "T") + "Z",
            "timestamp_ns": packet.timestamp,
            "interface": path(name),
            "type": packet.type.name,
            "cap_len": packet.cap_len,
            "total_len": packet.total_len,
            "vlan": packet.vlan_tci & 0xFFF if packet.flags & slimcap.RecordFlag.VLAN else None,
            "ip_offset": None if packet.ip_layer_offset == slimcap.NO_IP else packet.ip_layer_offset,
            "ip_version": ip.type or None,
            "protocol": ip.protocol or None,
            "src": ip.src or None,
            "dst": ip.dst or None,
            "sport": ip.sport or None,
            "dport": ip.dport or None,
        }


def test_json_from_the_bytes(samples: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--json", path("mixed.pcap")]) == 0
    plain = 0
    for line, packet in zip(capsys.readouterr().out.splitlines(), samples.mixed(), strict=True):
        shown = json.loads(line)
        version, number = protocol(packet.data)
        assert shown["timestamp_ns"] == packet.time // 1000 * 1000
        assert str(shown["ip_version"] or "none") == version
        assert shown["protocol"] == (None if number < 0 else number)
        if (
            packet.data[12:15] == b"\x08\0\x45" and number in (6, 17) and not packet.data[21]
        ):  # no options, no fragment
            plain += 1
            assert shown["src"] == str(ip_address(packet.data[26:30]))
            assert shown["dst"] == str(ip_address(packet.data[30:34]))
            assert (shown["sport"], shown["dport"]) == struct.unpack_from(">HH", packet.data, 34)
    assert plain > 50


# ---- summaries


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--summary", path("mixed.pcap")]) == 0
    assert capsys.readouterr() == (MIXED_SUMMARY, "")


def summary(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, object]:
    assert main(["read", "--summary", "--json", *args]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    report: dict[str, object] = json.loads(line)
    return report


def test_summary_from_the_bytes(samples: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    packets = samples.mixed()
    sizes = [len(packet.data) for packet in packets]
    first, last = (packets[at].time // 1000 * 1000 for at in (0, -1))
    report = summary(capsys, path("snap96.pcap"))
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
    kinds = [protocol(packet.data) for packet in packets]
    assert counts(report["ip_versions"]) == Counter(version for version, _ in kinds)
    names = {1: "ICMP", 2: "IGMP", 4: "IPv4-in-IP", 6: "TCP", 17: "UDP", 41: "IPv6-in-IP", 58: "ICMPv6"}
    assert counts(report["protocols"]) == Counter(names[number] for _, number in kinds if number >= 0)


def counts(table: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: count["packets"] for name, count in table.items()}


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
def test_summary_agrees_with_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    report, batch = summary(capsys, path(name)), slimcap.read(path(name))
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
        capsys, path("mixed.pcap"), path("raw101.pcap"), path("empty.pcap"), path("unknown.pcap")
    )
    assert report["packets"] == 195 + 7 + 4
    assert report["link_types"] == ["ETHERNET", "RAW", "147"]
    assert summary(capsys, "-n", "200", path("mixed.pcap"), path("raw101.pcap"))["packets"] == 200


def test_summary_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert summary(capsys, "-n", "0", path("mixed.pcap"))["packets"] == 0
    assert main(["read", "--summary", path("empty.pcap")]) == 0
    assert capsys.readouterr().out == (
        "packets         0\nbytes           0\ncaptured bytes  0\n"
        "truncated       0\nVLAN-tagged     0\nlink type       ETHERNET\n"
    )


# ---- files that are bad or not there


def test_all_bad_files_are_tried() -> None:
    assert {file.name for file in (DATA / "bad").iterdir()} == {*BAD, "garbage_behind.pcap.gz"}


@pytest.mark.parametrize(("name", "count"), BAD.items())
def test_bad_file(name: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", bad(name)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == count
    (line,) = err.splitlines()
    assert line.startswith(f"slimcap: {bad(name)}: ")
    assert line.endswith(f"after {count} packets)")


@pytest.mark.parametrize(("name", "count"), BAD.items())
def test_summary_of_bad_file(name: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--summary", bad(name)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"packets         {count}"
    assert err.startswith(f"slimcap: {bad(name)}: ")


def test_rubbish_behind_gzip_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", bad("garbage_behind.pcap.gz")]) == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (20, "")


def test_no_such_file(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pcap")
    done = run("read", missing, str(tmp_path), path("raw101.pcap"))
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 7  # of the file that is there
    assert done.stderr.decode().splitlines() == [
        f"slimcap: {missing}: No such file or directory",
        f"slimcap: {tmp_path}: read: Is a directory",
    ]


def test_name_that_is_no_text(tmp_path: Path) -> None:
    done = run("read", os.fsencode(tmp_path) + b"/\xff.pcap")
    assert done.returncode == 1
    assert done.stderr.endswith(b"\\udcff.pcap: No such file or directory\n")


# ---- standard input and output


def test_standard_input() -> None:
    done = run("read", "-", input=(DATA / "mixed.pcap.gz").read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 195


def test_bad_standard_input() -> None:
    done = run("read", "-", input=(DATA / "bad" / "cut_data.pcap").read_bytes())
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.startswith(b"slimcap: <stdin>: ")


def test_live_input_is_shown_at_once() -> None:
    mixed = (DATA / "mixed.pcap").read_bytes()
    process = start("read", "-")
    with process:
        process.stdin.write(mixed[: 24 + 16 + 42])
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"no IP layer\n")  # while the input stays open
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("redirection", "message"),
    [
        ("read - <&-", b"slimcap: <stdin>: Bad file descriptor\n"),
        ("read - >&-", b"slimcap: write error: Bad file descriptor\n"),
        ("read no.pcap 2>&-", b""),
        pytest.param(
            "read --summary - >/dev/full",
            b"slimcap: write error: No space left on device\n",
            marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full"),
        ),
    ],
)
def test_closed_or_full(redirection: str, message: bytes) -> None:
    mixed = (DATA / "mixed.pcap").read_bytes()
    shell = ["sh", "-c", f'exec "$0" {redirection}', COMMAND]
    done = subprocess.run(
        shell, input=mixed, capture_output=True, timeout=PATIENCE, check=False, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", message)


@pytest.mark.parametrize(("mode", "changes"), [([], {}), (["--json"], {}), ([], {"PYTHONUNBUFFERED": "1"})])
def test_pipe_that_closes_early(mode: list[str], changes: dict[str, str], long_file: Path) -> None:
    process = start("read", *mode, str(long_file), stdin=subprocess.DEVNULL, env=environment(**changes))
    with process:
        assert b"2024-03-01" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "args", [["--version"], ["read", "--summary", path("mixed.pcap")], ["convert", path("mixed.pcap"), "-"]]
)
def test_pipe_that_nobody_reads(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = start(*args, stdin=subprocess.DEVNULL, stdout=writer)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        os.close(writer)
    assert (process.returncode, err) == (128 + signal.SIGPIPE, b"")


# ---- Ctrl-C


def interrupt(process: subprocess.Popen[bytes]) -> bytes:
    """Press Ctrl-C; gives what standard error then holds."""
    process.send_signal(signal.SIGINT)
    # It takes some 0.1 s; more only on a machine that has no time for us.
    assert process.wait(5) == 128 + signal.SIGINT
    return process.stderr.read()


def test_interrupt_while_waiting() -> None:
    with start("read", "-") as process:
        process.stdin.write((DATA / "raw101.pcap").read_bytes())
        process.stdin.flush()
        assert len([process.stdout.readline() for _ in range(7)]) == 7
        assert interrupt(process) == b""
        assert process.stdout.read() == b""


def test_interrupt_while_nobody_reads(long_file: Path) -> None:
    with start("read", str(long_file)) as process:
        process.stdout.readline()
        select.select([], [], [], 0.1)  # now the pipe is full, most likely
        assert interrupt(process) == b""


def test_interrupt_ends_with_the_summary(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with start("read", "--summary", path("mixed.pcap"), str(fifo)) as process:
        with open(fifo, "wb") as writer:  # which waits until the other end is open: it reads by now
            writer.write((DATA / "raw101.pcap").read_bytes())
            writer.flush()
            wait_until_empty(writer.fileno())
            assert interrupt(process) == b""
        assert process.stdout.read().splitlines()[0] in (b"packets         202", b"packets         195")


def wait_until_empty(descriptor: int) -> None:
    """Wait until a pipe's other end has read all."""
    size = struct.Struct("i")
    for _ in range(PATIENCE * 100):
        (left,) = size.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, size.pack(0)))
        if left == 0:
            return
        select.select([], [], [], 0.01)
    pytest.fail("nobody reads")


# ---- the progress bar


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal's two ends: what a program writes to the second is read from the first."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def read_terminal(descriptor: int, seconds: float) -> bytes:
    """All that is there, or comes within some seconds."""
    text = b""
    while select.select([descriptor], [], [], 0 if text else seconds)[0]:
        text += os.read(descriptor, 1 << 16)
    return text


def test_bar_on_the_terminal(terminal: tuple[int, int]) -> None:
    pytest.importorskip("tqdm")
    ours, theirs = terminal
    mixed = (DATA / "mixed.pcap").read_bytes()
    header, packet = mixed[:24], mixed[24 : 24 + 16 + 42]
    shown, sent = b"", 0
    with start("read", "--summary", "-", stderr=theirs) as process:
        process.stdin.write(header)
        while b"<stdin>: " not in shown and sent < PATIENCE * 20:
            process.stdin.write(packet)
            process.stdin.flush()
            sent += 1
            shown += read_terminal(ours, 0.05)
        assert b"<stdin>: " in shown
        process.stdin.close()
        assert process.stdout.readline() == f"packets         {sent}\n".encode()
        assert process.wait(PATIENCE) == 0
    shown += read_terminal(ours, 0)
    *_, last, nothing = shown.split(b"\r")
    assert (last.strip(), nothing) == (b"", b"")  # wiped out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_of_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["read", "--summary", path("mixed.pcap")]) == 0
    assert capsys.readouterr().out == MIXED_SUMMARY
    size = (DATA / "mixed.pcap").stat().st_size
    assert "mixed.pcap:   0%" in terminal.getvalue()
    assert f"/{size / 1024:.1f}k [" in terminal.getvalue()


def test_bar_of_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    pytest.importorskip("pyarrow")
    terminal = Terminal()
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["read", "--to", str(tmp_path / "out.parquet"), path("mixed.pcap")]) == 0
    assert "mixed.pcap:   0%" in terminal.getvalue()


def test_no_bar_for_short_files(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(progress, "DELAY", 1000)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["read", "--summary", path("mixed.pcap")]) == 0
    assert terminal.getvalue() == ""


def test_no_bar_without_tqdm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["read", "--summary", path("mixed.pcap")]) == 0
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == MIXED_SUMMARY


def test_where_a_bar_would_be_in_the_way(
    monkeypatch: pytest.MonkeyPatch, terminal: tuple[int, int], tmp_path: Path
) -> None:
    pipe = os.pipe()
    with (
        open(terminal[1], "w", closefd=False) as tty,
        open(pipe[0]) as _,
        open(pipe[1], "w") as piped,
        open(tmp_path / "out", "w") as file,
    ):
        wanted = {}
        for error, output in ((tty, tty), (tty, piped), (tty, file), (tty, None), (file, file), (None, file)):
            monkeypatch.setattr(sys, "stderr", error)
            monkeypatch.setattr(sys, "stdout", output)
            wanted[error, output] = progress.wanted(lines=True), progress.wanted(lines=False)
        monkeypatch.undo()
    assert wanted == {
        (tty, tty): (False, True),
        (tty, piped): (False, True),
        (tty, file): (True, True),
        (tty, None): (False, False),
        (file, file): (False, False),
        (None, file): (False, False),
    }


# ---- every option is tried here


def test_every_option_is_tried_here() -> None:
    parser = main_module._parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    options = {
        option
        for command in commands.choices.values()
        for a in command._actions
        for option in a.option_strings
    }
    assert options == {
        "-h",
        "--help",
        "-n",
        "--summary",
        "--json",
        "--filter",
        "--to",  # in tests/test_tables.py, as is
        "--columns",
        "--hash",  # in tests/test_cli_info.py
        # in tests/test_cli_convert.py:
        "--after",
        "--before",
        "--format",
        "--compression",
        "--level",
        "--split-packets",
        "--split-bytes",
        "--split-seconds",
        # in tests/test_cli_bench.py:
        "--seconds",
        "--plot",
        # in tests/live/test_cli_capture.py:
        "-w",
        "--direction",
        "--duration",
        "--everything",
        "--promiscuous",
        "--snaplen",
    }


def test_interfaces_of_pcapng_are_named(capsys: pytest.CaptureFixture[str], data_path: Path) -> None:
    path = str(data_path / "sections.pcapng")
    assert main(["read", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["eth0", "tun0", "eth1", "tun1", "eth3", "tun3"]
    assert [line.rpartition("  on ")[2] for line in lines] == names
    assert main(["read", "--json", path]) == 0
    assert [json.loads(line)["interface"] for line in capsys.readouterr().out.splitlines()] == names
    assert main(["read", str(data_path / "mixed.pcapng")]) == 0
    assert "  on " not in capsys.readouterr().out


def test_a_package_that_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "capture.pcap.lz4"
    path.write_bytes(bytes.fromhex("04224d186040820000000000"))
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert main(["read", str(path)]) == 1
    assert "slimcap[lz4]" in capsys.readouterr().err
