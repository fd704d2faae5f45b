"""The mutants in tests/mutants can be applied to this tree, and name tests that exist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "mutants"
PATCHES = sorted(path.stem for path in FOLDER.glob("*.patch"))


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """The module tests/mutants/run.py."""
    spec = importlib.util.spec_from_file_location("mutants_run", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_there_are_at_least_forty_mutants_in_every_layer(runner: ModuleType) -> None:
    mutants = runner.all_mutants()
    assert len(mutants) >= 40
    layers = {mutant.source.split("/")[1] for mutant in mutants}
    assert {"wire", "packet", "filter", "source", "sink"} <= layers
    assert {mutant.tier for mutant in mutants} == {"default", "memory"}


@pytest.mark.parametrize("name", PATCHES)
def test_patch_applies_to_the_tree(name: str) -> None:
    patch = str(FOLDER / f"{name}.patch")
    done = subprocess.run(
        ["git", "apply", "--check", patch], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PATCHES)
def test_patch_changes_one_place_of_one_file(name: str) -> None:
    lines = (FOLDER / f"{name}.patch").read_text().splitlines()
    assert sum(line.startswith("+++ b/slimcap/") for line in lines) == 1
    assert sum(line.startswith("@@ ") for line in lines) == 1


@pytest.mark.parametrize("name", PATCHES)
def test_patch_names_a_test_that_exists(name: str, runner: ModuleType) -> None:
    mutant = runner.read_mutant(FOLDER / f"{name}.patch")
    file, _, test = mutant.test[0].partition("::")
    assert (ROOT / file).exists(), file
    assert mutant.fault.endswith(".")
    if test:
        function = test.split("::")[-1].split("[")[0]
        assert re.search(rf"^\s*def {function}\(", (ROOT / file).read_text(), re.MULTILINE), test
