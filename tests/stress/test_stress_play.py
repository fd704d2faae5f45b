"""The stress runner: it plays all scenarios, and tells when one breaks, crashes or hangs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

STRESS = Path(__file__).parent
SCENARIO = """
import os, random, signal, time
from players import Broken, Players

def play(rng, seconds):
    {code}
    return 7
"""
FAULTS = {
    "a broken promise": ("raise Broken('planted')", "players.Broken: planted"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "Segmentation fault"),
    "an endless loop": ("time.sleep(60)", r"Timeout|in play"),
    "an error in a thread": (
        "Players(rng, {'call': lambda rng: 1 / 0}, (ValueError,)).stop()",
        "ZeroDivisionError: division by zero\nin call",
    ),
    "a call that does not return": (
        "Players(rng, {'call': lambda rng: time.sleep(60)}, ()).stop(0.2)",
        "players.Broken: a call did not return within 0.2 s",
    ),
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STRESS / "play.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_the_command_that_repeats_it(fault: str, tmp_path: Path) -> None:
    code, said = FAULTS[fault]
    scenario = tmp_path / "stress_planted.py"
    scenario.write_text(SCENARIO.format(code=code))
    done = run(scenario, "--minutes", 0.001, "--seed", 5, "--patience", 20)
    assert done.returncode == 1
    assert re.search(said, done.stdout), done.stdout
    assert f"{scenario} --play 5/0\n" in done.stdout


def test_a_scenario_without_a_fault_is_counted(tmp_path: Path) -> None:
    scenario = tmp_path / "stress_planted.py"
    scenario.write_text(SCENARIO.format(code="time.sleep(0.01)"))
    done = run(scenario, "--minutes", 0.001, "--seed", 5)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"seed 5\nplanted: \d+ packets or calls\n", done.stdout)


def test_an_unknown_scenario_is_refused() -> None:
    done = run("nothing")
    assert done.returncode == 2
    assert "unknown scenario 'nothing': use one of batches, " in done.stderr


@pytest.mark.slow
def test_all_scenarios_play() -> None:
    done = run("--minutes", 1)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    counts = re.findall(r"^(\w+): ([\d,]+) packets or calls$", done.stdout, re.M)
    assert len(counts) == len(list(STRESS.glob("stress_*.py"))) - (os.geteuid() != 0)
    assert all(int(count.replace(",", "")) > 100 for _, count in counts), done.stdout
