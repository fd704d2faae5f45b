"""Rules of the suite itself: short modules, one name each, tiers that hold what they promise."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
MAX_LINES = 500
MODULES = sorted(TESTS.rglob("test_*.py"))


def test_no_module_is_too_long() -> None:
    assert len(MODULES) > 80
    files = [*MODULES, *TESTS.rglob("conftest.py"), *(TESTS / "support").rglob("*.py")]
    lines = {str(file.relative_to(TESTS)): len(file.read_text().splitlines()) for file in files}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_each_module_name_occurs_once() -> None:
    names = [module.name for module in MODULES]
    assert sorted(names) == sorted(set(names))


def test_no_module_stands_outside_the_folders_of_the_package() -> None:
    """A test in none of these folders would be in no step of CI that goes by folder."""
    folders = {module.relative_to(TESTS).parts[0] for module in MODULES}
    assert folders == {
        *(
            "capfile",
            "cli",
            "data",
            "filter",
            "flow",
            "fuzz",
            "io",
            "live",
            "package",
            "packet",
            "sink",
            "source",
            "stress",
        ),
    }
