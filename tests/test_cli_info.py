"""`slimcap info`: what capinfos says of the same files, and what the samples' maker put into them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import make_samples
import pytest
from make_samples import START, Ng

from slimcap.cli.main import main

Need = Callable[[str], str]
Tell = Callable[..., list[dict[str, Any]]]

GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]
# Where capinfos 4.0 counts what we do not: the shorter of a packet's lengths;
CAPINFOS_OTHER_BYTES = {"odd_lengths.pcap"}
# and seconds from 2^31 on as negative, or no times at all where a packet has none.
CAPINFOS_OTHER_TIMES = {"odd_times.pcap"}
CAPINFOS_COMPRESSION: dict[str | None, str] = {None: "", "gzip": "gzip"}


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Run `slimcap info --json`; gives the objects of its lines."""

    def told(*args: object, code: int = 0) -> list[dict[str, Any]]:
        assert main(["info", "--json", *map(str, args)]) == code
        return [json.loads(text) for text in capsys.readouterr().out.splitlines()]

    return told


def capinfos(program: str, file: Path) -> dict[str, str]:
    """Its table of one row."""
    done = subprocess.run(
        [program, "-T", "-M", str(file)], capture_output=True, timeout=60, check=True, env={"TZ": "UTC"}
    )
    names, values = done.stdout.decode().split("\n")[:2]
    return dict(zip(names.split("\t"), values.split("\t"), strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_it_tells_what_capinfos_tells(name: str, data_path: Path, need_tool: Need, tell: Tell) -> None:
    theirs = capinfos(need_tool("capinfos"), data_path / name)
    (ours,) = tell("--hash", data_path / name)
    assert ours["packets"] == int(theirs["Number of packets"])
    assert ours["file_size"] == int(theirs["File size (bytes)"])
    assert ours["sha256"] == theirs["SHA256"]
    assert ours["error"] is None
    if name not in CAPINFOS_OTHER_BYTES:
        assert ours["bytes"] == int(theirs["Data size (bytes)"])
    if name not in CAPINFOS_OTHER_TIMES and ours["packets"] and theirs["Start time"] != "n/a":
        assert Decimal(ours["last_ns"] - ours["first_ns"]) / 10**9 == pytest.approx(
            Decimal(theirs["Capture duration (seconds)"]), abs=Decimal("1e-9")
        )
        assert _moment(ours["first"]) == _moment(theirs["Start time"])
        assert _moment(ours["last"]) == _moment(theirs["End time"])
        assert ours["in_time_order"] == (theirs["Strict time order"] == "True")


def _moment(text: str) -> str:
    """A time without the zeros at its end, however it is written."""
    return text.replace("T", " ").rstrip("Z").rstrip("0").rstrip(".")


def test_the_peers_find_times_to_compare(data_path: Path, need_tool: Need) -> None:
    found = [capinfos(need_tool("capinfos"), data_path / name)["Start time"] for name in GOOD]
    assert sum(time != "n/a" for time in found) > len(GOOD) // 2


@pytest.mark.parametrize("name", ["interfaces.pcapng", "sections.pcapng", "mixed.pcapng"])
def test_packets_of_each_interface(name: str, data_path: Path, need_tool: Need, tell: Tell) -> None:
    fields = ["-T", "fields", "-e", "frame.interface_id", "-e", "frame.section_number"]
    done = subprocess.run(
        [need_tool("tshark"), "-n", "-r", str(data_path / name), *fields],
        capture_output=True,
        timeout=60,
        check=True,
    )
    (ours,) = tell(data_path / name)
    packets = [one["packets"] for one in ours["interfaces"]]
    # Without an interface is what is no packet: tshark shows custom blocks, too.
    numbers = Counter(line.split("\t")[0] for line in done.stdout.decode().splitlines() if line[0] != "\t")
    assert sum(packets) == numbers.total() == ours["packets"]
    if len(ours["sections"]) == 1:
        assert packets == [numbers[str(number)] for number in range(len(packets))]


def described() -> bytes:
    """A file that says all that can be said, twice, in both byte orders."""
    data = b""
    for big_endian in (False, True):
        ng = Ng(big_endian=big_endian)
        data += ng.section(
            [(1, b"first"), (1, b"second"), (2, b"Pentium"), (3, b"Linux"), (4, b"dumpcap"), (4, b"tshark")]
        )
        data += ng.interface(
            1,
            96,
            "eth0",
            resolution=0x8A,
            offset=-5,
            options=[
                (1, b"uplink\n\x1b[31m"),
                (3, b"the one"),
                (11, b"\0tcp port 80"),
                (12, b"Linux 6"),
                (15, b"i40e"),
            ],
        )
        data += ng.interface(101, options=[(11, b"\1\0\0\0\6\0\0\0\0\0\0\0\0")])
        data += ng.packet(b"0123", interface=0) * 2
        times = [(code, ng.number(1) + ng.number(seconds << 10)) for code, seconds in ((2, 6), (3, 7))]
        data += ng.statistics(0, [*times, ng.count(4, 7), ng.count(5, 2), ng.count(7, 3)])
    return data


def test_what_a_file_says_of_itself(tmp_path: Path, tell: Tell) -> None:
    file = tmp_path / "described.pcapng"
    file.write_bytes(described())
    (ours,) = tell(file)
    assert (ours["format"], ours["compression"], ours["dropped"]) == ("pcapng", None, 10)
    assert ours["sections"] == [
        {
            "byte_order": order,
            "version": "1.0",
            "first_interface": first,
            "hardware": "Pentium",
            "os": "Linux",
            "application": "tshark",
            "comment": "first\nsecond",
        }
        for order, first in (("little", 0), ("big", 2))
    ]
    one = {
        "name": "eth0",
        "description": "the one",
        "link_type": "ETHERNET",
        "link_type_number": 1,
        "packets": 2,
        "snaplen": 96,
        "ticks_per_second": 1024,
        "time_offset": -5,
        "filter": "tcp port 80",
        "os": "Linux 6",
        "hardware": "i40e",
        "comment": "uplink\n\x1b[31m",
        "received": 7,
        "interface_dropped": 2,
        "os_dropped": 3,
        "start": "1970-02-18T13:05:05.000000000Z",
        "start_ns": (2**22 + 1) * 10**9,
        "end": "1970-02-18T13:05:06.000000000Z",
        "end_ns": (2**22 + 2) * 10**9,
    }
    other = dict.fromkeys(one, "") | {
        "name": str(file),
        "link_type": "RAW",
        "link_type_number": 101,
        "packets": 0,
        "snaplen": 0,
        "ticks_per_second": 10**6,
        "time_offset": 0,
        "received": None,
        "interface_dropped": None,
        "os_dropped": None,
        **dict.fromkeys(["start", "start_ns", "end", "end_ns"]),
    }
    assert ours["interfaces"] == [one, other] * 2


def test_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "described.pcapng"
    file.write_bytes(described())
    assert main(["info", str(file)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [tuple(text.split(maxsplit=1)) for text in out.splitlines() if text]
    for line in [
        ("format", "pcapng 1.0, little-endian"),
        ("packets", "4"),
        ("section", "1       version 1.0, big-endian, from interface 2 on"),
        ("application", "tshark"),
        ("link", "type       ETHERNET (1)"),
        ("time", "unit       1/1,024 s"),
        ("comment", "uplink"),
        ("lost", "by system  3"),
        ("end", "1970-02-18 13:05:06.000000000 UTC"),
    ]:
        assert line in lines, out


def test_several_files_and_bad_ones(
    data_path: Path, tell: Tell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad, missing = data_path / "bad" / "cut_data.pcap", tmp_path / "missing"
    found = tell(data_path / "mixed.pcap.gz", bad, missing, data_path / "mixed_be.pcap", code=1)
    assert [one["packets"] for one in found] == [195, 3, 0, 195]
    assert [one["compression"] for one in found] == ["gzip", None, None, None]
    assert [one["format"] for one in found] == ["pcap", "pcap", None, "pcap"]
    assert found[0]["error"] is found[3]["error"] is None
    assert "byte 245" in found[1]["error"]
    assert "No such file" in found[2]["error"]
    assert found[3]["sections"][0]["byte_order"] == "big"
    assert found[0]["first_ns"] == START + 4_000

    assert main(["info", str(bad), str(missing), str(data_path / "mixed.pcap")]) == 1
    out, err = capsys.readouterr()
    assert [text.split()[1] for text in out.splitlines() if text.startswith("packets")] == ["3", "3"] + [
        "195"
    ] * 2
    assert len(err.splitlines()) == 2


def test_standard_input(data_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts")) / "slimcap"
    with (
        open(data_path / "mixed.pcapng", "rb") as file,
        subprocess.Popen(["cat"], stdin=file, stdout=-1) as cat,
    ):
        done = subprocess.run(
            [program, "info", "--json", "--hash", "-"],
            stdin=cat.stdout,
            capture_output=True,
            timeout=60,
            check=True,
        )
    found = json.loads(done.stdout)
    assert (found["packets"], found["file"]) == (195, "-")
    assert found["file_size"] is found["sha256"] is None


def test_hash_is_of_the_file_on_disk(data_path: Path, tell: Tell) -> None:
    file = data_path / "mixed.pcap.gz"
    (found,) = tell("--hash", file)
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    (found,) = tell(file)
    assert found["sha256"] is None
