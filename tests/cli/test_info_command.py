"""`slimcap info`: compared with capinfos and tshark, and with what the samples' builders put into them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from slimcap.cli.main import main
from support.builders.pcap import START
from support.builders.pcapng import Ng
from support.cli import NeedTool, run_slimcap
from support.dissections import pcapng_samples
from support.peers import run_peer
from support.samples import DATA, GOOD

RunInfo = Callable[..., list[dict[str, Any]]]


# capinfos 4.0 counts the shorter of a packet's lengths.
CAPINFOS_OTHER_BYTES = {"odd_lengths.pcap"}
# It shows seconds from 2^31 on as negative.
CAPINFOS_OTHER_TIMES = {"odd_times.pcap"}


@pytest.fixture
def info(capsys: pytest.CaptureFixture[str]) -> RunInfo:
    """Run `slimcap info --json`; return the objects of its lines."""

    def run(*args: object, code: int = 0) -> list[dict[str, Any]]:
        assert main(["info", "--json", *map(str, args)]) == code
        return [json.loads(text) for text in capsys.readouterr().out.splitlines()]

    return run


# ---- compared with other programs


@pytest.fixture(scope="module")
def capinfos(need_tool: NeedTool) -> dict[str, dict[str, str]]:
    """The row of capinfos for each sample; one process for all of them."""
    files = [DATA / name for name in GOOD]
    # -S: times in seconds, whatever the time zone is.
    table = run_peer(need_tool("capinfos"), "-T", "-M", "-S", *files, reads=files).stdout.decode()
    names, *rows = (line.split("\t") for line in table.splitlines())
    found = [dict(zip(names, row, strict=True)) for row in rows]
    assert len(found) == len(GOOD)
    return dict(zip(GOOD, found, strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_info_matches_capinfos(
    name: str, data_path: Path, capinfos: dict[str, dict[str, str]], info: RunInfo
) -> None:
    wanted = capinfos[name]
    (found,) = info("--hash", data_path / name)
    assert found["packets"] == int(wanted["Number of packets"])
    assert found["file_size"] == int(wanted["File size (bytes)"])
    assert found["sha256"] == wanted["SHA256"]
    assert found["error"] is None
    if name not in CAPINFOS_OTHER_BYTES:
        assert found["bytes"] == int(wanted["Data size (bytes)"])
    if name not in CAPINFOS_OTHER_TIMES and found["packets"] and wanted["Start time"] != "n/a":
        assert Decimal(found["last_ns"] - found["first_ns"]) / 10**9 == pytest.approx(
            Decimal(wanted["Capture duration (seconds)"]), abs=Decimal("1e-9")
        )
        assert Decimal(found["first_ns"]) / 10**9 == Decimal(wanted["Start time"])
        assert Decimal(found["last_ns"]) / 10**9 == Decimal(wanted["End time"])
        assert found["in_time_order"] == (wanted["Strict time order"] == "True")


def test_capinfos_finds_times_in_most_samples(capinfos: dict[str, dict[str, str]]) -> None:
    found = [row["Start time"] for row in capinfos.values()]
    assert sum(time != "n/a" for time in found) > len(GOOD) // 2


@pytest.mark.parametrize("name", ["interfaces.pcapng", "sections.pcapng", "mixed.pcapng"])
def test_packets_of_each_interface_match_tshark(
    name: str, data_path: Path, need_tool: NeedTool, info: RunInfo
) -> None:
    (found,) = info(data_path / name)
    packets = [one["packets"] for one in found["interfaces"]]
    numbers = Counter(packet.interface[1] for packet in pcapng_samples(need_tool("tshark"))[name])
    assert sum(packets) == numbers.total() == found["packets"]
    if len(found["sections"]) == 1:
        assert packets == [numbers[number] for number in range(len(packets))]


# ---- metadata


def described() -> bytes:
    """Build a file with all metadata there is, in a section of each byte order."""
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


def test_json_shows_metadata_of_sections_and_interfaces(tmp_path: Path, info: RunInfo) -> None:
    file = tmp_path / "described.pcapng"
    file.write_bytes(described())
    (found,) = info(file)
    assert (found["format"], found["compression"], found["dropped"]) == ("pcapng", None, 10)
    assert found["sections"] == [
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
    assert found["interfaces"] == [one, other] * 2


def test_text_shows_metadata_of_sections_and_interfaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


# ---- several files, standard input, hashes


def test_bad_files_do_not_stop_the_others(
    data_path: Path, info: RunInfo, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad, missing = data_path / "bad" / "cut_data.pcap", tmp_path / "missing"
    found = info(data_path / "mixed.pcap.gz", bad, missing, data_path / "mixed_be.pcap", code=1)
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


@pytest.mark.slow  # starts the command
def test_info_reads_standard_input(data_path: Path) -> None:
    done = run_slimcap("info", "--json", "--hash", "-", input=(data_path / "mixed.pcapng").read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert (found["packets"], found["file"]) == (195, "-")
    assert found["file_size"] is found["sha256"] is None


def test_hash_is_of_the_file_on_disk(data_path: Path, info: RunInfo) -> None:
    file = data_path / "mixed.pcap.gz"
    (found,) = info("--hash", file)
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    (found,) = info(file)
    assert found["sha256"] is None
