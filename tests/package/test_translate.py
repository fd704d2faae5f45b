"""The build lists the options of compiled classes in their signatures and docstrings, and follows changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.translation import translator_copy

pytest.importorskip("Cython")

OPTIONS = """
from typing import Annotated, TypedDict
from slimcap.option_set import Option

class ThingOptions(TypedDict, total=False):
    size: Annotated[int, Option(5, "Number of bytes.")]
"""
MODULE = '''
from slimcap.thing_options import ThingOptions

cdef class Thing:
    """A thing.

    Parameters
    ----------
    **options
        Those of `ThingOptions`.
    """

    def __init__(self, file, **options: Unpack[ThingOptions]):
        pass

cdef class Plain:
    """Another."""

    def __init__(self, file, **others):
        pass
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package with one compiled module and one set of options."""
    package = translator_copy(tmp_path)
    (package / "thing_options.py").write_text(OPTIONS)
    (package / "thing.pyx").write_text(MODULE)
    (package / "__init__.py").write_text("raise ImportError('not compiled yet')")
    return package


def translated(package: Path) -> str:
    """Translate the module if necessary, and return its C file with each string on one line."""
    output = package / "thing.c"
    command = [sys.executable, "translate.py", "thing.d", f"thing.pyx={output}"]
    subprocess.run(command, cwd=package, check=True, timeout=120)
    return output.read_text().replace('"\n"', "").replace(r"\047", "'")


def test_new_option_is_in_the_translated_module(package: Path) -> None:
    before = translated(package)
    assert r"Thing(file, *, size=5)\n--\n" in before
    assert r"    size : int, default 5\n        Number of bytes.\n" in before
    assert "Plain(file" not in before
    with (package / "thing_options.py").open("a") as file:
        file.write('    mode: Annotated[str, Option("fast", "Speed.")]\n')
    after = translated(package)
    assert "Thing(file, *, size=5, mode='fast')" in after
    assert r"    mode : str, default \"fast\"\n        Speed.\n" in after


def test_module_is_translated_again_only_after_a_change(package: Path) -> None:
    translated(package)
    output = package / "thing.c"
    for path in package.iterdir():
        os.utime(path, (1, 1))
    os.utime(output, (2, 2))
    translated(package)
    assert output.stat().st_mtime == 2
    os.utime(package / "option_set.py", (3, 3))
    translated(package)
    assert output.stat().st_mtime > 3
