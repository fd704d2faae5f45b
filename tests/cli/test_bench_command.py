"""`slimcap bench`: its table, JSON and plot.

Runs are as short as possible: `bench/` measures."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import slimcap
from slimcap.cli.commands import bench
from slimcap.cli.main import main
from slimcap.cli.measure import methods
from slimcap.cli.measure.methods import FILE_WAYS, RINGS, WAYS

SHORT = ["--seconds", "0.001"]


EXPECTED = [(f"ring, {ring}", way) for ring in RINGS for way in WAYS] + [("file", way) for way in FILE_WAYS]


@pytest.fixture(autouse=True)
def _short_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "FILE_PACKETS", 5000)


def output(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["bench", *args]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_json_has_a_row_for_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(output(capsys, "--json", *SHORT))
    assert list(found) == ["version", "python", "machine", "seconds", "results"]
    assert (found["version"], found["seconds"]) == (slimcap.__version__, 0.001)
    assert [(row["source"], row["way"]) for row in found["results"]] == EXPECTED
    for row in found["results"]:
        assert list(row) == ["source", "way", "ns_per_packet", "packets_per_second", "allocations_per_packet"]
        assert row["ns_per_packet"] > 0
        assert row["packets_per_second"] == pytest.approx(1e9 / row["ns_per_packet"], rel=0.01)


def test_table_has_a_line_for_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, *SHORT).splitlines()
    assert lines[0].split() == ["read", "from", "way", "ns/packet", "packets/s", "allocations"]
    assert (
        len(lines) == 1 + len(EXPECTED) + len(RINGS) + 1
    )  # a line for each, and an empty one before each source
    assert len({len(line) for line in lines if line}) == 1
    for line, (source, way) in zip(filter(None, lines[1:]), EXPECTED, strict=True):
        assert line.startswith(source)
        assert f"  {way}  " in line


def test_progress_is_shown_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["bench", *SHORT]) == 0
    said = capsys.readouterr().err.split("\r")
    assert f"{len(EXPECTED)} to go: {RINGS[0]}: next_batch()" in {line.strip() for line in said}
    assert max(map(len, said)) < 80
    assert said[-2:] == [" " * 78, ""]


@pytest.mark.slow  # matplotlib
def test_plot_is_written_as_png_and_svg(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, start in (("out.png", b"\x89PNG"), ("out.svg", b"<?xml")):
        path = tmp_path / name
        output(capsys, "--plot", str(path), *SHORT)
        assert path.read_bytes().startswith(start)


@pytest.mark.slow  # matplotlib
def test_plot_into_a_missing_folder_still_prints_the_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["bench", "--plot", str(tmp_path / "no" / "out.png"), *SHORT]) == 1
    captured = capsys.readouterr()
    assert captured.out
    assert "No such file or directory" in captured.err


@pytest.mark.slow  # matplotlib
def test_plot_of_an_unknown_format_fails_before_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
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
def test_wrong_bench_arguments_exit_with_usage(
    args: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *args]) == 2
    assert "usage: slimcap bench" in capsys.readouterr().err or args == ["x"]


def test_interrupted_bench_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "ring_cost", interrupted)
    assert main(["bench", *SHORT]) == 130


def test_bench_without_memory_for_a_ring_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise OSError(12, "no memory for a ring")

    monkeypatch.setattr(bench, "full_ring", refused)
    assert main(["bench", *SHORT]) == 1
    assert capsys.readouterr().err == "slimcap: no memory for a ring\n"
