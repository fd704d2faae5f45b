"""The public names of slimcap, their docstrings, and the modules that an import loads."""

from __future__ import annotations

import ast
import inspect
import pydoc
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import slimcap
import slimcap.filter
import slimcap.flow
import slimcap.mock

PACKAGE = Path(inspect.getfile(slimcap)).parent

# `import slimcap` must not load these.
HEAVY = {
    "argparse",
    "asyncio",
    "concurrent.futures",
    "dask",
    "isal",
    "matplotlib",
    "multiprocessing.pool",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "tqdm",
    "unittest",
    "zlib_ng",
    "slimcap.cli",
}

CLASSES = [value for name in slimcap.__all__ if inspect.isclass(value := getattr(slimcap, name))]


def members(owner: type) -> list[tuple[str, Any]]:
    """Return the public methods and properties that a class of this package defines itself."""
    return [
        (name, value)
        for name, value in vars(owner).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, (property, staticmethod, classmethod)) or is_getset(value))
    ]


def is_getset(value: object) -> bool:
    return inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value)


def documented(value: object) -> bool:
    text = getattr(value, "__doc__", None)
    return isinstance(text, str) and len(text.split()) > 2


def test_all_is_sorted_and_complete() -> None:
    # As ruff sorts it: CONSTANTS, Classes, functions.
    def kind(name: str) -> int:
        return 0 if name.isupper() else 1 if name[0].isupper() else 2

    assert slimcap.__all__ == sorted(slimcap.__all__, key=lambda name: (kind(name), name))
    assert len(slimcap.__all__) == len(set(slimcap.__all__)) > 20
    for name in slimcap.__all__:
        assert hasattr(slimcap, name), name
    public = {
        name
        for name, value in vars(slimcap).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(slimcap.__all__)


def test_there_are_few_public_names() -> None:
    assert len(slimcap.__all__) <= 55


@pytest.mark.parametrize(
    "module", [slimcap.filter, slimcap.flow, slimcap.mock], ids=lambda module: module.__name__
)
def test_all_of_a_public_module_exists_and_is_documented(module: ModuleType) -> None:
    assert len(module.__all__) > 3
    for name in module.__all__:
        value = getattr(module, name)
        assert documented(value) or not (inspect.isclass(value) or inspect.isroutine(value)), name
    assert documented(module)


def test_every_exception_is_public() -> None:
    errors = {
        name
        for name, value in vars(slimcap.errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert len(errors) > 5
    assert errors <= set(slimcap.__all__)


def test_every_public_name_has_a_docstring() -> None:
    things = [name for name in slimcap.__all__ if callable(getattr(slimcap, name))]
    constants = set(slimcap.__all__) - set(things)
    assert len(things) > 20
    assert len(constants) > 2
    assert not [name for name in things if not documented(getattr(slimcap, name))]
    assert not [name for name in things if "." not in getattr(slimcap, name).__doc__], "not a sentence"
    assert constants <= documented_constants()


def documented_constants() -> set[str]:
    """Return the constants with a string after their assignment or declaration."""
    found = set()
    for file in (*PACKAGE.glob("packet/**/*.py*"), *PACKAGE.glob("flow/*.py*")):
        if file.suffix in {".py", ".pyi"}:
            for one, after in pairwise(ast.parse(file.read_text()).body):
                if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr):
                    found.add(ast.unparse(one.target))
    return found


def test_every_public_method_has_a_docstring() -> None:
    looked_at = [(owner, name, value) for owner in CLASSES for name, value in members(owner)]
    assert {
        "Source",
        "PcapSource",
        "Batch",
        "Packet",
        "IPLayer",
        "View",
        "Link",
    } <= {owner.__name__ for owner, _, _ in looked_at}
    assert len(looked_at) > 60
    without = [
        f"{owner.__name__}.{name}"
        for owner, name, value in looked_at
        if not documented(value) and f"\n{name} :" not in (inspect.getdoc(owner) or "")
    ]
    assert not without


def test_help_shows_every_public_name(capsys: pytest.CaptureFixture[str]) -> None:
    pydoc.help(slimcap)
    shown = capsys.readouterr().out
    for name in slimcap.__all__:
        assert name in shown


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    # -P: do not import from the current folder; the source tree has no compiled modules.
    return subprocess.run(
        [sys.executable, "-P", *options, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )


def test_import_prints_nothing() -> None:
    done = run("import slimcap", "-W", "error", "-X", "dev")
    assert (done.stdout, done.stderr) == ("", "")


def test_import_loads_no_optional_package() -> None:
    # The imports of numpy do not count.
    done = run(
        "import sys, numpy; before = set(sys.modules); import slimcap; print(*set(sys.modules) - before)"
    )
    new = set(done.stdout.split())
    assert "slimcap.packet.batch" in new
    assert not {module for module in new if any(f"{module}.".startswith(f"{heavy}.") for heavy in HEAVY)}


def test_modules_import_nothing_but_numpy() -> None:
    done = run(
        "import importlib, pkgutil, sys, numpy\n"
        "before = set(sys.modules)\n"
        "import slimcap\n"
        "for module in pkgutil.walk_packages(slimcap.__path__, 'slimcap.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*set(sys.modules) - before)"
    )
    new = set(done.stdout.split())
    assert {"slimcap.packet.lease", "slimcap.io.compression.detect", "slimcap.cli.main"} <= new
    packages = {module.partition(".")[0] for module in new}
    foreign = {
        name
        for name in packages - sys.stdlib_module_names
        if not name.startswith(("cython", "_cython", "_cyutility"))
    }
    assert foreign <= {"slimcap", "numpy"}


def test_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_import_in_the_source_tree_says_what_to_do() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); import slimcap"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "ImportError: slimcap is not compiled in" in done.stderr
    assert "CONTRIBUTING.md" in done.stderr
