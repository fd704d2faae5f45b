"""`slimcap convert`: what editcap, tcpdump and tshark make of the same files, and what else stays."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_samples
import numpy as np
import pytest
from support.peers import peer_environment
from make_samples import START, Ng

import slimcap
from slimcap.cli.arguments import moment, size
from slimcap.cli.main import main

Need = Callable[[str], str]
Convert = Callable[..., Path]

GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "slimcap")
SECOND = 10**9
TICKS = START // 1000  # microseconds, as interfaces have them that do not say
TIMES = ((2, TICKS - 1), (3, TICKS + 4 * 10**6))  # isb_starttime, isb_endtime
MIXED = 195  # packets
# Files that tcpdump 4.99 takes for others than they are: it does not know one number of raw IP, cuts at the
# snaplen that the file states, shows a fraction of more than a second as it is, and refuses packets with more
# bytes than they had.
TCPDUMP_READS_OTHERWISE = {"raw14.pcap", "oversnap.pcap", "odd_times.pcap", "odd_lengths.pcap"}


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Convert:
    """Run `slimcap convert FILE OUT`; gives OUT's path."""

    def converted(file: Path, out: str, *args: object, code: int = 0, says: str = "") -> Path:
        assert main(["convert", *map(str, args), str(file), str(tmp_path / out)]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert says in said.err if says else said.err == ""
        return tmp_path / out

    return converted


def run(*command: object, **options: Any) -> bytes:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        timeout=60,
        check=True,
        env=peer_environment(),
        **options,
    )
    return done.stdout


def packets_of(file: Path) -> list[tuple[int, int, bytes]]:
    batch = slimcap.read(file)
    columns = (batch["timestamp"].tolist(), batch["total_len"].tolist())
    return [(*row, bytes(batch.payload(n))) for n, row in enumerate(zip(*columns, strict=True))]


def told(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `slimcap info` tells of a file."""
    assert main(["info", "--json", str(file)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


# ---- formats


@pytest.mark.parametrize("name", GOOD)
def test_every_sample_as_pcapng(name: str, data_path: Path, convert: Convert) -> None:
    file = data_path / name
    out = convert(file, "out.pcapng")
    before, after = slimcap.read(file), slimcap.read(out)
    assert packets_of(out) == packets_of(file)
    for column in ("interface", "pkt_type", "flags", "ip_offset"):
        assert np.array_equal(after[column], before[column]), column
    assert [link.type for link in after.links] == [link.type for link in before.links]


@pytest.mark.parametrize("name", [name for name in GOOD if name.endswith((".pcap", ".gz"))])
def test_every_sample_as_pcap(name: str, data_path: Path, convert: Convert, need_tool: Need) -> None:
    out = convert(data_path / name, "out.pcap")
    assert packets_of(out) == packets_of(data_path / name)
    if name in TCPDUMP_READS_OTHERWISE or name.endswith(".gz"):
        return
    tcpdump = [need_tool("tcpdump"), "-nn", "-tt", "-xx", "--time-stamp-precision=nano", "-r"]
    assert run(*tcpdump, out) == run(*tcpdump, data_path / name)


@pytest.mark.parametrize("name", ["interfaces.pcapng", "sections.pcapng", "mixed_ns.pcapng", "simple.pcapng"])
def test_tshark_reads_pcapng_alike(name: str, data_path: Path, convert: Convert, need_tool: Need) -> None:
    fields = "frame.encap_type frame.time_epoch frame.len frame.cap_len frame.protocols"
    if name != "sections.pcapng":  # where 4.0 gives interfaces of later sections the names of the first's
        fields += " frame.interface_name"
    tshark = [need_tool("tshark"), "-n", "-T", "fields"]
    for field in fields.split():
        tshark += ["-e", field]
    want = run(*tshark, "-r", data_path / name).decode().splitlines()
    got = run(*tshark, "-r", convert(data_path / name, "out.pcapng")).decode().splitlines()
    # Without a link type is what is no packet, but a custom block. Simple packets have no time.
    assert got == [line.replace("\t\t", "\t0.000000000\t", 1) for line in want if line[0] != "\t"]
    assert len(got) > 3


def test_the_ending_says_the_format(data_path: Path, convert: Convert, need_tool: Need) -> None:
    for out, args, kind in [
        ("a.pcap", [], b"pcap"),
        ("a.pcapng", [], b"pcapng"),
        ("a", [], b"pcap"),
        ("b.pcap", ["--format", "pcapng"], b"pcapng"),
        ("b.pcapng.gz", ["--format", "pcap"], b"pcap"),
    ]:
        file = convert(data_path / "mixed.pcap", out, *args)
        table = run(need_tool("capinfos"), "-t", "-T", "-r", file)
        assert kind in table.replace(b"nsecpcap", b"pcap").replace(b"/", b" ").split(), out


@pytest.mark.parametrize(
    ("kind", "ending", "program"),
    [
        ("gzip", "gz", "gzip"),
        ("zstd", "zst", "zstd"),
        ("xz", "xz", "xz"),
        ("lz4", "lz4", "lz4"),
        ("bzip2", "bz2", "bzip2"),
    ],
)
def test_compression(
    kind: str, ending: str, program: str, data_path: Path, convert: Convert, need_tool: Need
) -> None:
    plain = convert(data_path / "mixed.pcap", "plain.pcap").read_bytes()
    by_name = convert(data_path / "mixed.pcap", f"a.pcap.{ending}")
    asked_for = convert(data_path / "mixed.pcap", "a.pcap", "--compression", kind, "--level", 1)
    for file in (by_name, asked_for):
        assert file.stat().st_size < len(plain)
        assert run(need_tool(program), "-dc", input=file.read_bytes()) == plain
    left = convert(data_path / "mixed.pcap", f"b.pcap.{ending}", "--compression", "none")
    assert left.read_bytes() == plain


# ---- what a file says besides its packets


def described() -> bytes:
    """Two interfaces that say all they can, one without packets, and comments on packets."""
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


def test_what_is_said_stays(
    described_file: Path, convert: Convert, capsys: pytest.CaptureFixture[str], need_tool: Need
) -> None:
    before, out = told(described_file, capsys), convert(described_file, "out.pcapng")
    after = told(out, capsys)
    assert after["interfaces"] == [one | {"ticks_per_second": SECOND} for one in before["interfaces"]]
    assert [one["snaplen"] for one in after["interfaces"]] == [96, 0]
    assert after["interfaces"][0]["start_ns"] == START - 1000
    assert after["comments"] == before["comments"] == 2
    assert after["dropped"] == before["dropped"] == 5
    (section,) = after["sections"]
    assert section.pop("application").startswith("slimcap")
    assert section.items() < before["sections"][0].items()
    comments = run(
        need_tool("tshark"),
        "-r",
        out,
        "-T",
        "fields",
        "-e",
        "frame.comment",
        "-e",
        "frame.packet_flags_direction",
    )
    assert [line.split("\t") for line in comments.decode().split("\n")[:4]] == [
        ["", ""],
        ["here", "0x00000002"],
        ["and there", ""],
        ["", ""],
    ]


def test_capinfos_sees_the_interfaces(described_file: Path, convert: Convert, need_tool: Need) -> None:
    capinfos = [need_tool("capinfos"), "-I"]
    want = run(*capinfos, described_file).decode().partition("Interface #0")[2]
    got = run(*capinfos, convert(described_file, "out.pcapng")).decode().partition("Interface #0")[2]
    for line in ("Name = eth0", "Hardware = i40e", "Operating system = Linux 6", "Capture length = 96"):
        assert line in want
        assert line in got
    # That of time is nanoseconds now, whatever it was.
    assert [line for line in got.splitlines() if "Time " not in line] == [
        line for line in want.splitlines() if "Time " not in line
    ]


def test_lost_packets_that_packets_tell_of(
    tmp_path: Path, convert: Convert, capsys: pytest.CaptureFixture[str]
) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    file.write_bytes(ng.section() + ng.interface(1) + ng.packet(b"0" * 60, options=[ng.count(4, 9)]))
    assert told(convert(file, "out.pcapng"), capsys)["dropped"] == 9


def test_the_same_again(described_file: Path, convert: Convert) -> None:
    once = convert(described_file, "once.pcapng")
    assert once.read_bytes() == convert(described_file, "twice.pcapng").read_bytes()
    assert once.read_bytes() == convert(once, "thrice.pcapng").read_bytes()


def test_numbers_that_do_not_fit(
    tmp_path: Path, convert: Convert, capsys: pytest.CaptureFixture[str]
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
    before, after = told(file, capsys), told(convert(file, "out.pcapng"), capsys)
    for key in ("received", "interface_dropped", "os_dropped", "comment"):
        assert after["interfaces"][0][key] == before["interfaces"][0][key]
    assert (before["interfaces"][0]["start_ns"], after["interfaces"][0]["start_ns"]) == (-SECOND, 0)
    assert after["sections"][0]["comment"] == before["sections"][0]["comment"]


def test_comments_stay_with_their_packets(described_file: Path, convert: Convert) -> None:
    def comments(*args: object) -> dict[int, str]:
        with slimcap.open_file(convert(described_file, "out.pcapng", *args)) as source:
            for _ in source.batches():
                pass
            return source.comments

    assert comments() == {1: "here", 2: "and there"}
    assert comments("-n", 2) == {1: "here"}
    assert comments("--after", "2024-03-01 12:00:01") == {0: "here", 1: "and there"}
    assert comments("--after", "2024-03-01 12:00:01.5") == {0: "and there"}
    assert comments("--after", "2024-03-01 12:00:00", "--before", "2024-03-01 12:00:02") == {1: "here"}
    assert comments("--filter", "ether[0] >= 2") == {0: "and there"}


def test_comments_in_a_split(described_file: Path, convert: Convert, tmp_path: Path) -> None:
    convert(described_file, "part.pcapng", "--split-packets", 2)
    found = []
    for file in sorted(tmp_path.glob("part-*")):
        with slimcap.open_file(file) as source:
            assert [len(batch) for batch in source.batches()] == [2]
            found.append(source.comments)
            info = source.interfaces[0]
            assert (info.filter, info.hardware, info.link.name) == ("tcp port 80", "i40e", "eth0")
            assert source.sections[0].hardware == "Pentium"
    assert found == [{1: "here"}, {0: "and there"}]


def test_link_types_that_pcap_cannot_mix(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    (tmp_path / "out.pcap").write_bytes(b"older")
    out = convert(data_path / "interfaces.pcapng", "out.pcap", code=1, says="use --format pcapng")
    assert out.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["out.pcap"]


def test_an_interface_without_packets_is_no_hindrance(tmp_path: Path, convert: Convert) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    file.write_bytes(ng.section() + ng.interface(1) + ng.interface(113) + ng.packet(b"0" * 60))
    assert len(packets_of(convert(file, "out.pcap"))) == 1


# ---- which packets


@pytest.mark.parametrize("expression", ["tcp port 80", "ip6", "vlan and udp", "greater 1000"])
def test_filter_as_tcpdump_has_it(
    expression: str, data_path: Path, convert: Convert, need_tool: Need, tmp_path: Path
) -> None:
    want = tmp_path / "tcpdump.pcap"
    run(need_tool("tcpdump"), "-r", data_path / "mixed.pcap", "-w", want, expression)
    got = convert(data_path / "mixed.pcap", "out.pcap", "--filter", expression)
    assert packets_of(got) == packets_of(want) != []


@pytest.mark.parametrize("snaplen", [1, 14, 60, 96, 1500])
def test_snaplen_as_editcap_has_it(
    snaplen: int, data_path: Path, convert: Convert, need_tool: Need, tmp_path: Path
) -> None:
    want = tmp_path / "editcap.pcapng"
    run(need_tool("editcap"), "-s", snaplen, data_path / "mixed.pcap", want)
    for out in ("out.pcapng", "out.pcap"):
        assert packets_of(convert(data_path / "mixed.pcap", out, "--snaplen", snaplen)) == packets_of(want)
        with slimcap.open_file(convert(data_path / "mixed.pcap", out, "--snaplen", snaplen)) as source:
            assert source.snaplen == snaplen


def test_a_filter_sees_more_than_is_written(data_path: Path, convert: Convert) -> None:
    whole = convert(data_path / "mixed.pcap", "whole.pcap", "--filter", "tcp port 80")
    cut = convert(data_path / "mixed.pcap", "cut.pcap", "--filter", "tcp port 80", "--snaplen", 14)
    assert [row[:2] for row in packets_of(cut)] == [row[:2] for row in packets_of(whole)]
    assert {len(data) for _, _, data in packets_of(cut)} == {14}


def test_nothing_is_cut_unasked(data_path: Path, convert: Convert) -> None:
    for name in ("oversnap.pcap", "max_caplen.pcap.gz"):
        for out in ("out.pcap", "out.pcapng"):
            assert packets_of(convert(data_path / name, out)) == packets_of(data_path / name)


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
def test_times_as_editcap_has_them(
    args: list[str], data_path: Path, convert: Convert, need_tool: Need, tmp_path: Path
) -> None:
    want = tmp_path / "editcap.pcapng"
    run(need_tool("editcap"), *args, data_path / "mixed.pcap", want)
    ours = [{"-A": "--after", "-B": "--before"}.get(word, word) for word in args]
    assert packets_of(convert(data_path / "mixed.pcap", "out.pcap", *ours)) == packets_of(want)


def test_times_count_to_the_nanosecond(data_path: Path, convert: Convert) -> None:
    packets = packets_of(data_path / "mixed_ns.pcap")
    at = packets[100][0]
    text = f"{at // SECOND}.{at % SECOND:09}"
    assert packets_of(convert(data_path / "mixed_ns.pcap", "a.pcap", "--after", text)) == packets[100:]
    assert packets_of(convert(data_path / "mixed_ns.pcap", "b.pcap", "--before", text)) == packets[:100]


@pytest.mark.parametrize("count", [0, 1, 100, MIXED, MIXED + 1])
def test_count(count: int, data_path: Path, convert: Convert) -> None:
    packets = packets_of(data_path / "mixed.pcap")
    assert packets_of(convert(data_path / "mixed.pcap", "out.pcap", "-n", count)) == packets[:count]


def test_none_are_not_waited_for(tmp_path: Path, convert: Convert, fifo: Any) -> None:
    fifo.write(make_samples.pcap_header())
    assert packets_of(convert(fifo.path, "out.pcap", "-n", 0)) == []


def test_count_is_of_what_the_others_leave(data_path: Path, convert: Convert) -> None:
    args = ["--filter", "tcp", "--after", "2024-03-01T12:00:01"]
    wanted = packets_of(convert(data_path / "mixed.pcap", "all.pcap", *args))
    assert packets_of(convert(data_path / "mixed.pcap", "some.pcap", *args, "-n", 3)) == wanted[:3]
    assert len(wanted) > 3


def test_no_more_is_read_than_counts(data_path: Path, convert: Convert) -> None:
    assert len(packets_of(convert(data_path / "bad" / "cut_data.pcap", "out.pcap", "-n", 3))) == 3


# ---- several files


def parts_of(folder: Path, pattern: str) -> list[list[tuple[int, int, bytes]]]:
    return [packets_of(file) for file in sorted(folder.glob(pattern))]


def test_split_by_packets_as_editcap_does(
    data_path: Path, convert: Convert, need_tool: Need, tmp_path: Path
) -> None:
    run(need_tool("editcap"), "-c", 50, data_path / "mixed.pcap", tmp_path / "theirs.pcap")
    convert(data_path / "mixed.pcap", "ours.pcap.gz", "--split-packets", 50)
    assert (tmp_path / "ours-00003.pcap.gz").exists()
    assert parts_of(tmp_path, "ours-*") == parts_of(tmp_path, "theirs_*")


def test_split_by_bytes(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "part.pcap", "--split-bytes", "4k")
    parts = parts_of(tmp_path, "part-*")
    assert [packet for part in parts for packet in part] == packets_of(data_path / "mixed.pcap")
    sizes = [file.stat().st_size for file in sorted(tmp_path.glob("part-*"))]
    assert max(sizes) <= 4000
    for used, following in zip(sizes, parts[1:], strict=False):
        assert used + 16 + len(following[0][2]) > 4000


def test_split_by_time(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "{time:%H%M%S}.pcap", "--split-seconds", 2)
    assert sorted(os.listdir(tmp_path)) == ["120000.pcap", "120002.pcap", "120004.pcap"]
    parts = parts_of(tmp_path, "*.pcap")
    assert [packet for part in parts for packet in part] == packets_of(data_path / "mixed.pcap")
    assert [{time // SECOND // 2 for time, _, _ in part} for part in parts] == [
        {START // SECOND // 2 + n} for n in range(3)
    ]


@pytest.mark.parametrize("option", ["--split-packets", "--split-bytes", "--split-seconds"])
def test_limits_that_nothing_reaches(option: str, data_path: Path, convert: Convert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "part.pcap", option, 10**17, "-n", 10**30, "--before", 10**17)
    assert [len(part) for part in parts_of(tmp_path, "part-*")] == [MIXED]


def test_a_split_of_nothing(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    convert(data_path / "empty.pcap", "part.pcap", "--split-packets", 1, says="no packets")
    assert os.listdir(tmp_path) == []


# ---- what goes wrong


@pytest.mark.parametrize(
    ("name", "count"), [("cut_data.pcap", 3), ("huge_caplen.pcap", 3), ("bad_crc.pcap.gz", 20)]
)
def test_a_damaged_file(name: str, count: int, data_path: Path, convert: Convert) -> None:
    out = convert(data_path / "bad" / name, "out.pcapng", code=1, says=name)
    assert len(packets_of(out)) == count


@pytest.mark.parametrize("name", ["bad/bad_magic.pcap", "nothing here"])
def test_what_is_no_capture_file_makes_none(
    name: str, data_path: Path, convert: Convert, tmp_path: Path
) -> None:
    convert(data_path / name, "out.pcap", code=1, says=name)
    assert os.listdir(tmp_path) == []


def test_a_filter_that_is_none(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "out.pcap", "--filter", "port", code=1, says="mixed.pcap")
    assert os.listdir(tmp_path) == []


def test_where_nothing_can_be_written(data_path: Path, convert: Convert) -> None:
    convert(data_path / "mixed.pcap", "no/out.pcap", code=1, says="no/out.pcap: No such file")


def test_onto_a_folder(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    convert(data_path / "mixed.pcap", "folder", code=1, says="folder: Is a directory")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_full_disk(data_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, "convert", str(data_path / "mixed.pcap"), "-"], stdout=full, stderr=-1, timeout=60
        )
    assert (done.returncode, done.stderr) == (1, b"slimcap: <stdout>: write: No space left on device\n")


def test_times_that_pcap_has_no_place_for(tmp_path: Path, convert: Convert) -> None:
    ng = Ng()
    file = tmp_path / "in.pcapng"
    file.write_bytes(ng.section() + ng.interface(1, offset=1 << 33) + ng.packet(b"0" * 60))
    out = convert(file, "out.pcap", code=1, says="out.pcap: packet 0 has the time")
    assert not out.exists()


def test_a_package_that_is_missing_is_named(
    data_path: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert not convert(data_path / "mixed.pcap", "out.pcap.lz4", code=1, says="slimcap[lz4]").exists()


def test_a_file_onto_itself(data_path: Path, convert: Convert, tmp_path: Path) -> None:
    (tmp_path / "same.pcap").write_bytes((data_path / "mixed.pcap").read_bytes())
    out = convert(tmp_path / "same.pcap", "same.pcap", "-n", 100)
    assert packets_of(out) == packets_of(data_path / "mixed.pcap")[:100]


def test_standard_input_and_output(data_path: Path, need_tool: Need) -> None:
    done = subprocess.run(
        [COMMAND, "convert", "--format", "pcapng", "-", "-"],
        input=(data_path / "mixed.pcap").read_bytes(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    listed = run(need_tool("tcpdump"), "-nn", "-r", "-", input=done.stdout)
    assert len(listed.splitlines()) == MIXED


def test_interrupt_leaves_no_file(data_path: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen([COMMAND, "convert", str(fifo), str(tmp_path / "out.pcap")], stderr=-1) as process:
        with open(fifo, "wb") as writer:  # which waits until the other end is open
            writer.write((data_path / "mixed.pcap").read_bytes())
            writer.flush()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 128 + signal.SIGINT
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
def test_wrong_options(args: list[str], data_path: Path, convert: Convert, tmp_path: Path) -> None:
    convert(data_path / "mixed.pcap", "out.pcap", *args, code=2, says="error: ")
    assert os.listdir(tmp_path) == []


def test_standard_output_cannot_be_split(data_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--split-packets", "1", str(data_path / "mixed.pcap"), "-"]) == 2
    assert "cannot be split" in capsys.readouterr().err


def test_a_template_that_is_none(data_path: Path, convert: Convert) -> None:
    convert(
        data_path / "mixed.pcap", "{no}.pcap", "--split-packets", 1, code=2, says="{no}.pcap' is no template"
    )


# ---- times and sizes in words


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("1709294400", START),
        ("1709294400.5", START + SECOND // 2),
        ("1709294400.000000001", START + 1),
        ("2024-03-01T12:00:00", START),
        ("2024-03-01T12:00:00Z", START),
        ("2024-03-01 12:00", START),
        ("2024-03-01T13:30:00+01:30", START),
        ("2024-03-01T07:00:00-0500", START),
        ("2024-03-01T12:00:00.000000001", START + 1),
        ("2024-03-01T12:00:00.25Z", START + SECOND // 4),
        ("2024-03-01", START - 12 * 3600 * SECOND),
        ("1969-12-31T23:59:59.75", -SECOND // 4),
        ("9999-12-31", 253402214400 * SECOND),
    ],
)
def test_moment(text: str, ns: int) -> None:
    assert moment(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "now", "-1", "1.", "1.0000000001", "2024-02-30", "2024-03-01T25:00", "2024-03-01T12:00.5", "12:00",
     "2024-03-01T12:00:00+9", "2024-03-01T12:00:00.Z", "0001-01-01T00:00:00+01:00", "\u0661"],
)  # fmt: skip
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a time such as"):
        moment(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("500k", 500_000),
        ("100M", 10**8),
        ("1G", 10**9),
        ("1GiB", 1 << 30),
        ("2KiB", 2048),
        ("3MB", 3 * 10**6),
    ],
)
def test_size(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "k", "1.5M", "1 M", "1m", "1kk", "1P"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a size such as"):
        size(text)
