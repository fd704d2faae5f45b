"""Hypothesis profiles: chosen by the environment, repeated by their seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from support.profiles import EXAMPLES, choose_profile, describe_profile, scaled

ROOT = Path(__file__).parents[2]
RANDOM_TEST = "tests/fuzz/test_fuzz_targets.py::test_expressions_of_any_characters_are_compiled_or_refused"


def test_dev_is_the_default_and_has_no_seed() -> None:
    assert choose_profile({}) == ("dev", None)
    assert choose_profile({"SLIMCAP_PROFILE": "dev", "SLIMCAP_SEED": "7"}) == ("dev", None)


def test_a_seed_alone_chooses_ci() -> None:
    assert choose_profile({"SLIMCAP_SEED": "7"}) == ("ci", 7)
    assert choose_profile({"SLIMCAP_PROFILE": "long", "SLIMCAP_SEED": "7"}) == ("long", 7)


@pytest.mark.parametrize("name", ["ci", "long"])
def test_random_profiles_draw_a_seed(name: str) -> None:
    chosen = {choose_profile({"SLIMCAP_PROFILE": name}) for _ in range(10)}
    assert {profile for profile, _ in chosen} == {name}
    assert len({seed for _, seed in chosen}) > 5


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SLIMCAP_PROFILE": "quick"}, "SLIMCAP_PROFILE=quick: not a profile: use one of dev, ci, long"),
        ({"SLIMCAP_PROFILE": "ci", "SLIMCAP_SEED": "0x7"}, "SLIMCAP_SEED=0x7: not a number"),
    ],
)
def test_other_values_are_errors(environment: dict[str, str], message: str) -> None:
    with pytest.raises(pytest.UsageError, match=re.escape(message)):
        choose_profile(environment)


def test_the_chosen_profile_is_loaded() -> None:
    name, seed = choose_profile(os.environ)
    assert settings.get_current_profile_name().startswith(name)
    assert settings.default is not None
    assert settings.default.max_examples == EXAMPLES[name]
    assert settings.default.derandomize == (name == "dev") == (seed is None)
    assert scaled(3).max_examples == 3 * EXAMPLES[name]
    assert scaled(0.0001).max_examples >= 1
    assert describe_profile().startswith(f"slimcap profile: {name}, {EXAMPLES[name]} examples")


def examples_of(*options: str, **environment: str) -> tuple[str, list[str]]:
    """Run a property test in a process of its own; return the lines before its output, and its examples."""
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-rP", *options, RANDOM_TEST]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SLIMCAP_", "PYTEST_"))}
    done = subprocess.run(
        [*command, "--hypothesis-verbosity=verbose"],
        cwd=ROOT,
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, output = done.stdout.partition("PASSES")
    found = re.findall(r"^\w+ \w+: test_\w+\(\n(?: .*\n)+", output, re.M)
    assert len(found) > 10
    return head, found


@pytest.mark.slow
def test_a_seed_repeats_a_run_of_several_workers() -> None:
    head, first = examples_of("-n2", SLIMCAP_PROFILE="ci")
    shown = re.search(r"SLIMCAP_PROFILE=ci SLIMCAP_SEED=(\d+)", head)
    assert shown is not None
    quiet, again = examples_of("-q", "-n0", SLIMCAP_SEED=shown[1])
    assert f"SLIMCAP_SEED={shown[1]}" in quiet
    assert again == first
    _, other = examples_of("-n0", SLIMCAP_SEED=str(int(shown[1]) + 1))
    assert other != first


@pytest.mark.slow
def test_dev_runs_the_same_examples_each_time() -> None:
    (_, first), (_, again) = examples_of("-n0"), examples_of("-n0")
    assert first == again
