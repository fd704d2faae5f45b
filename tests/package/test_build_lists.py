"""The build lists of meson: every file is installed, every Cython module is built and has a stub."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from pathlib import Path

import pytest

import slimcap

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "slimcap"
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi"}
BUILD_ONLY = PACKAGE / "translate.py"  # run by the build, and not installed
FILES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in SUFFIXES and path != BUILD_ONLY)
FOLDERS = sorted({file.parent for file in FILES})


def meson_text(folder: Path) -> str:
    """Return a folder's meson.build without comments."""
    return re.sub(r"#[^\n]*", "", (folder / "meson.build").read_text())


def build_list(name: str) -> dict[str, list[str]]:
    """Return a dictionary of the package's meson.build: file or module names by folder."""
    found = re.search(rf"^{name} = (\{{.*?^\}})", meson_text(PACKAGE), re.M | re.S)
    assert found is not None
    names: dict[str, list[str]] = ast.literal_eval(found[1])
    return names


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_every_file_is_installed_or_built(folder: Path) -> None:
    files = {file for file in FILES if file.parent == folder}
    assert files
    installed = {file.name for file in files if file.suffix != ".pyx"}
    if folder == PACKAGE:
        installed.add("py.typed")
    key = folder.relative_to(PACKAGE).as_posix()
    assert set(build_list("sources")[key]) == installed
    assert sorted(build_list("modules").get(key, [])) == sorted(f.stem for f in files if f.suffix == ".pyx")


def test_every_optimised_module_is_built() -> None:
    found = re.search(r"^hot = (\[.*?^\])", meson_text(PACKAGE), re.M | re.S)
    assert found is not None
    hot = ast.literal_eval(found[1])
    built = {f"{folder}/{name}" for folder, names in build_list("modules").items() for name in names}
    assert hot
    assert set(hot) <= built


def test_every_listed_folder_exists() -> None:
    listed = {PACKAGE / name for name in build_list("sources")}
    assert listed == set(FOLDERS)


def test_every_compiled_module_has_a_stub() -> None:
    modules = [file for file in FILES if file.suffix == ".pyx"]
    assert modules
    for module in modules:
        assert module.with_suffix(".pyi").exists(), f"{module} has no stub"


def test_every_version_is_the_same() -> None:
    stated = re.search(r"^\s*version: '([^']+)'", (ROOT / "meson.build").read_text(), re.M)
    assert stated is not None
    assert slimcap.__version__ == importlib.metadata.version("slimcap") == stated[1]
