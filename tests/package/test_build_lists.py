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


def installed_files(folder: Path) -> set[str]:
    """Return the files that a folder's meson.build installs."""
    names: set[str] = set()
    for arguments in re.findall(r"py\.install_sources\((.*?)\)", meson_text(folder), re.S):
        assert f"subdir: '{folder.relative_to(ROOT).as_posix()}'" in arguments, (
            f"{folder}: installed elsewhere"
        )
        names.update(re.findall(r"'([^']+\.\w+)'", arguments))
    return names


def built_modules() -> dict[str, list[str]]:
    """Return the Cython modules of each folder: the dictionary `modules` of the package's meson.build."""
    found = re.search(r"^modules = (\{.*?^\})", meson_text(PACKAGE), re.M | re.S)
    assert found is not None
    modules: dict[str, list[str]] = ast.literal_eval(found[1])
    return modules


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_installed_or_built(folder: Path) -> None:
    files = {file for file in FILES if file.parent == folder}
    assert files
    sources = {file.name for file in files if file.suffix != ".pyx"}
    if folder == PACKAGE:
        sources.add("py.typed")
    assert installed_files(folder) == sources
    modules = built_modules().get(folder.relative_to(PACKAGE).as_posix(), [])
    assert sorted(modules) == sorted(file.stem for file in files if file.suffix == ".pyx")
    assert ("py.extension_module(" in meson_text(folder)) == bool(modules) or folder == PACKAGE


def test_every_optimised_module_is_built() -> None:
    found = re.search(r"^hot = (\[.*?^\])", meson_text(PACKAGE), re.M | re.S)
    assert found is not None
    hot = ast.literal_eval(found[1])
    built = {f"{folder}/{name}" for folder, names in built_modules().items() for name in names}
    assert hot
    assert set(hot) <= built


def test_meson_enters_every_folder() -> None:
    entered = {PACKAGE / name for name in re.findall(r"subdir\('(\w+)'\)", meson_text(PACKAGE))}
    assert entered == set(FOLDERS) - {PACKAGE}


def test_every_compiled_module_has_a_stub() -> None:
    modules = [file for file in FILES if file.suffix == ".pyx"]
    assert modules
    for module in modules:
        assert module.with_suffix(".pyi").exists(), f"{module} has no stub"


def test_every_version_is_the_same() -> None:
    stated = re.search(r"^\s*version: '([^']+)'", (ROOT / "meson.build").read_text(), re.M)
    assert stated is not None
    assert slimcap.__version__ == importlib.metadata.version("slimcap") == stated[1]
