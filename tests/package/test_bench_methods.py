"""bench/methods.py: its tables, JSON and plot. Runs are as short as possible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
SHORT = ("--scale", "0.002")


def run_methods(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(BENCH / "methods.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the Cython module is built, once."""
    return tmp_path_factory.mktemp("bench")


def rows_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the cells of each row of the tables."""
    title = ""
    for line in text.splitlines():
        if line.startswith("**"):
            title = line.strip("*")
        elif line.startswith("|") and not line.startswith(("| way", "| -")):
            yield title, [cell.strip() for cell in line.split("|")[1:-1]]


def test_tables_have_a_row_for_each_way(folder: Path) -> None:
    results = folder / "results.json"
    done = run_methods("--dir", folder, "--json", results, *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(results.read_text())["sources"]
    assert list(found) == ["ring, 10 MiB x 4", "ring, 1 MiB x 4", "ring, 12 KiB x 512", "file"]
    shown = list(rows_of(done.stdout))
    assert len(shown) == 3 * 14 + 5
    assert [(name, cells[0]) for name, cells in shown] == [
        (name, way) for name in found for way in found[name]["ns"]
    ]
    for name, (way, ns, rate, allocations) in shown:
        (measured,) = found[name]["ns"][way]
        assert (ns, rate) == (f"{measured:.1f}", f"{1e9 / measured:,.0f}")
        assert measured > 0
        assert float(allocations) >= 0


def test_plot_is_written_as_png_and_svg(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, start in (("out.png", b"\x89PNG"), ("out.svg", b"<?xml")):
        done = run_methods("--dir", folder, "--plot", folder / name, *SHORT)
        assert done.returncode == 0, done.stderr
        assert (folder / name).read_bytes().startswith(start)


def test_plot_of_an_unknown_format_fails_before_measuring(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run_methods("--dir", folder, "--plot", "out.docx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("--plot out.docx: unknown suffix; use one of ")


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan"])
def test_invalid_number_of_seconds_exits_with_usage(seconds: str) -> None:
    done = run_methods("--seconds", seconds)
    assert done.returncode == 2
    assert "usage: methods.py" in done.stderr
