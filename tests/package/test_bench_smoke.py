"""The tools of bench/: smoke.py finds every benchmark and fails if one fails; compare.py; --render.

CI runs smoke.py itself, and with it the benchmarks.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
TOOLS = {"smoke.py", "compare.py"}
TABLE = "| a | b |\\n| - | -: |\\n| 1 | 2 |"
OPTIONS = "import sys; assert sys.argv[1:6] == ['--scale', '0.01', '--rounds', '1', '--dir'], sys.argv"
WORKS = f"{OPTIONS}\ndef main(): print('{TABLE}')\nmain()"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(BENCH / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def smoke(folder: Path, files: Mapping[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run smoke.py over a folder of benchmarks with these texts."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return run("smoke.py", "--folder", folder, *options)


def question(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def test_smoke_finds_every_file_that_asks_a_question() -> None:
    asking = {path.name for path in BENCH.glob("*.py") if question(path).endswith("?")}
    done = run("smoke.py", "--list")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == asking
    assert len(asking) >= 12


def test_readme_says_how_to_run_every_benchmark_and_tool() -> None:
    text = (BENCH / "README.md").read_text()
    for name in (*run("smoke.py", "--list").stdout.split(), *TOOLS):
        assert f"python bench/{name}" in text, name


def test_smoke_passes_scale_and_succeeds(tmp_path: Path) -> None:
    helper = "raise AssertionError('a module without a main is not a benchmark')"
    done = smoke(tmp_path, {"works.py": WORKS, "two_cpus.py": f"CPUS = 2\n{WORKS}", "helper.py": helper})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works.py" in done.stdout
    assert "two_cpus.py" in done.stdout
    assert "2 benchmarks in " in done.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def main(): raise ValueError('broken')\nmain()", "ValueError: broken"),
        ("def main(): print('no rows')\nmain()", "printed no table"),
        ("def main(): print('| a |\\n| - |')\nmain()", "printed no table"),
        ("import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGSEGV)\nmain()", "failed with -11"),
    ],
    ids=["raises", "prints no table", "prints a table without rows", "crashes"],
)
def test_smoke_fails_if_one_benchmark(tmp_path: Path, text: str, reason: str) -> None:
    done = smoke(tmp_path, {"works.py": WORKS, "broken.py": text})
    assert done.returncode == 1
    assert reason in done.stdout
    assert done.stderr.strip() == "failed: broken.py"


@pytest.mark.parametrize(
    ("text", "said", "strict"),
    [
        (f"{WORKS}\nprint('Left out: dpkt (No module named dpkt).')", "left out: dpkt (No module", 0),
        (f"{WORKS}\nprint('Left out: editcap (editcap is not installed).')", "left out: editcap (ed", 1),
        (
            "import sys\ndef main(): print('no root', file=sys.stderr); sys.exit(77)\nmain()",
            "all (no root)",
            1,
        ),
    ],
    ids=["package", "program", "everything"],
)
def test_smoke_reports_what_is_missing_and_fails_if_strict(
    tmp_path: Path, text: str, said: str, strict: int
) -> None:
    for options, code in (((), 0), (("--strict",), strict)):
        done = smoke(tmp_path, {"lacks.py": text}, *options)
        assert said in done.stdout
        assert done.returncode == code, options


def test_smoke_fails_without_benchmarks(tmp_path: Path) -> None:
    assert smoke(tmp_path, {"helper.py": ""}).returncode == 2
    assert smoke(tmp_path, {"works.py": WORKS}, "other.py").returncode == 2


def results(times: Mapping[str, list[float]], **changed: Any) -> dict[str, Any]:
    """Make results of bench/merge.py."""
    machine = {"cpu": "x", "cpus": 2, "kernel": "6", "compiler": "cc", "versions": {"python": "3"}}
    found = {"question": "How?", "machine": machine, "rounds": 2, "scale": 1, "missing": {}}
    return found | {"files": {"2 M packets": {"pcap": times}}} | changed


def test_render_refuses_results_of_another_scale(tmp_path: Path) -> None:
    before = (BENCH / "README.md").read_bytes()
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results({"one after the other": [1.0, 1.0]}, scale=0.01)))
    for options, reason in (((), "measured with --scale 0.01"), (("--scale", "0.5"), "leave --scale out")):
        done = run("merge.py", "--render", path, *options)
        assert done.returncode == 1
        assert reason in done.stderr
    assert (BENCH / "README.md").read_bytes() == before


def compare(folder: Path, before: object, after: object) -> subprocess.CompletedProcess[str]:
    paths = [folder / "before.json", folder / "after.json"]
    for path, found in zip(paths, (before, after), strict=True):
        path.write_text(json.dumps(found))
    return run("compare.py", *paths)


def test_compare_divides_by_the_c_program_and_says_what_is_slower(tmp_path: Path) -> None:
    before = results({"C": [10.0, 20.0], "batches": [20.0, 40.0], "gone": [1.0, 1.0]})
    after = results({"C": [20.0, 10.0], "batches": [50.0, 26.0], "new": [1.0, 1.0]})
    done = compare(tmp_path, before, after)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert rows[0] == ["2 M packets: pcap", "before", "after", "after / before", "by C", "rounds"]
    assert rows[2:] == [
        ["C", "15", "15", "1.000", "1.000", ""],
        ["batches", "30", "38", "1.267", "1.275", "slower"],
    ]


@pytest.mark.parametrize("changed", [{"question": "What?"}, {"scale": 0.5}, {"files": {}}])
def test_compare_refuses_results_that_do_not_compare(tmp_path: Path, changed: dict[str, Any]) -> None:
    done = compare(tmp_path, results({"C": [1.0]}), results({"C": [1.0]}, **changed))
    assert done.returncode == 1
    assert done.stderr
