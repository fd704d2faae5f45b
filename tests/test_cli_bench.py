"""`slimcap bench`: its tables, and that what it counts and reads is what is there.

Runs are as short as can be: whether the numbers are good is what bench/ is for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap.cli import bench, methods
from slimcap.cli.allocations import count_allocations
from slimcap.cli.main import main
from slimcap.cli.methods import FILE_WAYS, PACKET_LEN, RINGS, SNAPLEN, WAYS, Ring

SHORT = ["--seconds", "0.001"]
SMALL = Ring(4096, 8)
EXPECTED = [(f"ring, {ring}", way) for ring in RINGS for way in WAYS] + [("file", way) for way in FILE_WAYS]


@pytest.fixture(autouse=True)
def _short_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "FILE_PACKETS", 5000)


def output(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["bench", *args]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(output(capsys, "--json", *SHORT))
    assert list(found) == ["version", "python", "machine", "seconds", "results"]
    assert (found["version"], found["seconds"]) == (slimcap.__version__, 0.001)
    assert [(row["source"], row["way"]) for row in found["results"]] == EXPECTED
    for row in found["results"]:
        assert list(row) == ["source", "way", "ns_per_packet", "packets_per_second", "allocations_per_packet"]
        assert row["ns_per_packet"] > 0
        assert row["packets_per_second"] == pytest.approx(1e9 / row["ns_per_packet"], rel=0.01)


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, *SHORT).splitlines()
    assert lines[0].split() == ["read", "from", "way", "ns/packet", "packets/s", "allocations"]
    assert (
        len(lines) == 1 + len(EXPECTED) + len(RINGS) + 1
    )  # a line for each, and an empty one before each source
    assert len({len(line) for line in lines if line}) == 1
    for line, (source, way) in zip(filter(None, lines[1:]), EXPECTED, strict=True):
        assert line.startswith(source)
        assert f"  {way}  " in line


def test_progress_goes_to_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["bench", *SHORT]) == 0
    said = capsys.readouterr().err.split("\r")
    assert f"{len(EXPECTED)} to go: {RINGS[0]}: next_batch()" in {line.strip() for line in said}
    assert max(map(len, said)) < 80
    assert said[-2:] == [" " * 78, ""]


def test_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, start in (("out.png", b"\x89PNG"), ("out.svg", b"<?xml")):
        path = tmp_path / name
        output(capsys, "--plot", str(path), *SHORT)
        assert path.read_bytes().startswith(start)
    assert main(["bench", "--plot", str(tmp_path / "no" / "out.png"), *SHORT]) == 1
    captured = capsys.readouterr()
    assert captured.out  # the measurements are not lost with it
    assert "No such file or directory" in captured.err
    assert main(["bench", "--plot", "out.docx", *SHORT]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "out.docx: what --plot writes ends in one of" in captured.err


def test_plot_without_matplotlib(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["bench", "--plot", str(tmp_path / "out.png")]) == 1  # at once
    captured = capsys.readouterr()
    assert captured.err == "slimcap: --plot takes matplotlib: pip install 'slimcap[plot]'\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    "args",
    [["--seconds", "0"], ["--seconds", "-1"], ["--seconds", "x"], ["--seconds", "nan"], ["--plot"], ["x"]],
)
def test_bad_arguments(args: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *args]) == 2
    assert "usage: slimcap bench" in capsys.readouterr().err or args == ["x"]


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "ring_cost", interrupted)
    assert main(["bench", *SHORT]) == 130


def test_no_ring(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*_: object) -> None:
        raise OSError(12, "no memory for a ring")

    monkeypatch.setattr(bench, "full_ring", refused)
    assert main(["bench", *SHORT]) == 1
    assert capsys.readouterr().err == "slimcap: no memory for a ring\n"


# ---- what is measured


def test_a_full_ring_has_no_end() -> None:
    with methods.full_ring(SMALL) as source:
        in_ring = (
            (4096 - 48) // 136 * 8
        )  # header 48, sockaddr_ll, alignment: the packet at 82, 8-aligned behind it
        seen = [source.next_payload() for _ in range(3 * in_ring)]
        assert {len(payload) for payload, _, _ in seen} == {SNAPLEN}
        assert {total_len for _, _, total_len in seen} == {PACKET_LEN}
        assert len({payload for payload, _, _ in seen}) == in_ring
        assert seen[:in_ring] == seen[in_ring : 2 * in_ring] == seen[2 * in_ring :]


@pytest.mark.parametrize("way", WAYS)
def test_ways_read_what_they_say(way: str) -> None:
    with methods.full_ring(SMALL) as source:
        read = WAYS[way](source)
        before = source.next_ip_packet_zero_copy()[0].sport
        assert read(1) >= 1
        read_packets = read(100)
        assert 100 <= read_packets <= 100 + 4096 * 8 // 136
        after = source.next_ip_packet_zero_copy()[0].sport
        assert after != before
    with methods.full_ring(SMALL) as source:
        cost = methods.ring_cost(source, way, 0.001)
        assert 0 < cost.ns < 1e6
        assert cost.allocations >= 0


def test_every_method_is_measured() -> None:
    names = {name for name in dir(slimcap.MockRingSource) if name.startswith("next_")}
    assert len(names) >= 7
    assert names == {way.partition("(")[0] for way in WAYS if way.startswith("next_")}


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "packets.pcap"
    methods.write_file(path)
    batch = slimcap.read(path)
    assert len(batch) == methods.FILE_PACKETS
    assert set(batch["total_len"]) == {PACKET_LEN}
    assert len(set(batch["timestamp"])) == len(batch)
    assert str(batch.ip_layer(7)) == "10.0.0.7:1031 => 10.1.0.1:53 (proto: 17)"


# ---- counting allocations


def calls(fn: Any, count: int) -> None:
    for _ in repeat(None, count):
        fn()


def test_allocations_are_counted() -> None:
    size = [1000]
    _, without = count_allocations(calls, lambda: None, 1000)
    result, found = count_allocations(calls, lambda: bytes(size[0]), 1000)
    assert result is None
    assert without < 10
    assert 1000 <= found < 1010
    _, items = count_allocations(
        calls, lambda: [None] * size[0], 1000
    )  # two lists' items; lists are off a free list
    assert 2000 <= items < 2010


def test_memory_outlives_the_count() -> None:
    before = [bytes(100) for _ in range(100)]
    kept, _ = count_allocations(lambda: before.clear() or [bytes(1000) for _ in range(1000)])
    kept.extend(kept)  # grown, and freed, without the hook
    del kept
    assert count_allocations(len, "abc")[0] == 3


def test_what_fails_ends_the_count() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        count_allocations(fail)
    with pytest.raises(RuntimeError, match="counted already"):
        count_allocations(count_allocations, len, "")
    assert count_allocations(int, "12345678901")[0] == 12345678901


@pytest.mark.parametrize(
    "way", ["next_batch()", "for packet in source", "next_packet(buf)", "next_payload(buf)"]
)
def test_no_allocation_per_packet(way: str) -> None:
    with methods.full_ring(Ring(1 << 20, 2)) as source:
        read = WAYS[way](source)
        read(100)
        done, found = count_allocations(read, 50_000)
    assert found / done < 0.01
