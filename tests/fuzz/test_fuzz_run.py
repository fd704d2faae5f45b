"""The fuzz runner: it finds planted failures, saves their inputs, and repeats them."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.peers import peer_environment

FUZZ = Path(__file__).parent
TARGET = """
import os, signal, sys

def seeds():
    return [bytes(64)]

def test_one_input(data):
    if b"\\xff" in data:
        {failure}
"""
FAILURES = {
    "exception": ('raise ValueError("planted")', r"ValueError-fuzz_planted-\d+", "ValueError: planted"),
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV", "Segmentation fault"),
    "endless loop": ("while True: pass", "timeout", "in test_one_input"),
    "memory": ("bytearray(1 << 40)", r"MemoryError-fuzz_planted-\d+", "MemoryError"),
    "exit": ("sys.exit(0)", r"AssertionError-run-\d+", "AssertionError: the target exits"),
    "exit without an exception": ("os._exit(3)", "exit3", ""),
}


def run(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FUZZ / "run.py", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def check_planted(failure: str, tmp_path: Path) -> None:
    code, kind, log = FAILURES[failure]
    target, out = tmp_path / "fuzz_planted.py", tmp_path / "out"
    target.write_text(TARGET.format(failure=code))
    limits = ("--limit", 0.3, "--memory", 1024, "--out", out)
    plain = peer_environment()  # AddressSanitizer would catch the signal, and allows no memory limit
    done = run(target, "--minutes", 0.01, "--jobs", 1, "--seed", 7, *limits, environment=plain)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("seed 7;")
    assert re.search(r"^planted: [\d,]+ inputs, failures$", done.stdout, re.M)
    inputs = sorted(out.glob("*.bin"))
    assert 1 <= len(inputs) <= 3, "enough of a kind are saved, and no more"
    for path in inputs:
        assert re.fullmatch(rf"planted-{kind}-[0-9a-f]{{8}}\.bin", path.name)
        assert b"\xff" in path.read_bytes()
        assert log in path.with_suffix(".txt").read_text()
        assert f"{target} --replay {path}\n" in done.stdout
    repeated = run(target, "--replay", inputs[0], *limits, environment=plain)
    assert repeated.returncode not in (0, 2)
    assert log in repeated.stderr
    assert "no failure" not in repeated.stdout


@pytest.mark.parametrize("failure", ["exception", "crash"])
def test_planted_failure_is_found_saved_and_repeated(failure: str, tmp_path: Path) -> None:
    check_planted(failure, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("failure", [name for name in FAILURES if name not in ("exception", "crash")])
def test_other_planted_failures_are_found_saved_and_repeated(failure: str, tmp_path: Path) -> None:
    check_planted(failure, tmp_path)


def test_target_without_failures_succeeds(tmp_path: Path) -> None:
    done = run("rtnetlink", "--minutes", 0.01, "--jobs", 1, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"seed \d+; ", done.stdout)
    found = re.search(r"^rtnetlink: ([\d,]+) inputs, no failure$", done.stdout, re.M)
    assert found is not None
    assert int(found[1].replace(",", "")) > 100
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_targets_run(tmp_path: Path) -> None:
    done = run("--minutes", 0.2, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    counts = dict(re.findall(r"^(\w+): ([\d,]+) inputs, no failure$", done.stdout, re.M))
    assert sorted(counts) == sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.py"))
    assert min(int(count.replace(",", "")) for count in counts.values()) > 1


@pytest.mark.slow
def test_target_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    target = tmp_path / "fuzz_broken.py"
    target.write_text("import no_such_module")
    done = run(target, "--minutes", 0.01, "--jobs", 1)
    assert done.returncode == 1
    assert "broken does not run" in done.stderr
    assert "no_such_module" in done.stderr


def test_unknown_target_is_an_error_that_names_the_targets() -> None:
    runner = importlib.import_module("run")
    with pytest.raises(runner.Usage, match=r"unknown target 'pcab': use one of bpf, .*, pcap, "):
        runner.main(["pcab"])


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="atheris is installed")
def test_atheris_is_asked_for_only_by_its_option() -> None:
    runner = importlib.import_module("run")
    with pytest.raises(runner.Usage, match="requires the 'atheris' package: pip install atheris"):
        runner.main(["pcap", "--atheris", "-runs=1"])
    with pytest.raises(runner.Usage, match="requires a target"):
        runner.main(["--atheris"])
