"""The checks of `.ci/lint` that are our own: prose and docstrings. Planted faults are found."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import slimcap

CI = Path(__file__).parents[2] / ".ci"

DIALECT = """\
# The tag is behind the addresses.
'''not read: our strings have double quotes'''
def f(data):
    \"\"\"What a batch is.

    It goes on until there is none, or until that is none.
    \"\"\"
    raise ValueError(f"{data!r} is no capture file")
"""
PLAIN = """\
# The tag is after the addresses; `room` is a name.
def room(given):
    \"\"\"Return {room} of it. There is no longer a
    packet, and there
    is none.
    \"\"\"
    return b"no room", "behind", room[given]
"""


def load(name: str) -> ModuleType:
    """Import a script of `.ci`."""
    spec = importlib.util.spec_from_file_location(f"lint_{name}", CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    return load("prose")


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    pytest.importorskip("numpydoc")
    return load("docstrings")


# ---- prose


def test_dialect_is_found_in_comments_docstrings_and_messages(prose: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "module.pyx"
    file.write_text(DIALECT)
    assert [(finding.line, finding.found) for finding in prose.check(file)] == [
        (1, "behind"),
        (4, "What"),
        (6, "goes on"),
        (6, "is none"),
        (8, "is no"),
    ]


def test_names_code_and_literal_meanings_are_not_found(prose: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(PLAIN)
    assert prose.check(file) == []


def test_dialect_is_found_in_markdown_outside_of_code(prose: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("# Room\n\n```sh\necho beside  # no prose\n```\n\nText beside `beside`.\n")
    assert [(finding.line, finding.found) for finding in prose.check(file)] == [(1, "Room"), (7, "beside")]


def test_prose_fails_for_findings_and_without_files(
    prose: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.md").write_text("It is behind.\n")
    (tmp_path / "good.md").write_text("It is after.\n")
    assert prose.main([str(tmp_path / "good.md")]) == 0
    assert prose.main([str(tmp_path / "bad.md")]) == 1
    assert "bad.md:1: 'behind': after" in capsys.readouterr().out
    monkeypatch.setattr(prose, "repository_files", list)
    assert prose.main([]) == 1


def test_prose_reads_the_files_of_the_repository(prose: ModuleType) -> None:
    names = {path.name for path in prose.repository_files()}
    assert {"README.md", "batch.pyx", "walk_link.pxd", "errors.py", "view.pyi"} <= names


# ---- docstrings


def test_public_objects_are_functions_classes_and_members(docstrings: ModuleType) -> None:
    names = [public.name for public in docstrings.public_objects()]
    assert {
        "slimcap.Batch",
        "slimcap.Batch.gather",
        "slimcap.Batch.records",
        "slimcap.Packet.from_payload",
        "slimcap.PcapSource.progress",
        "slimcap.open_file",
        "slimcap.filter.Machine.run",
        "slimcap.write",
    } <= set(names)
    assert len(names) == len(set(names)) > 200
    assert not [name for name in names if "._" in name]


def test_parameters_come_from_stubs_and_sources(docstrings: ModuleType) -> None:
    def signature(owner: Any) -> dict[str, str | None]:
        found = docstrings.parameters_of(owner.__module__, owner.__qualname__)
        return {parameter.name: parameter.default for parameter in found}

    unset = {"interfaces": "None", "comments": "None"}
    assert signature(slimcap.Batch) == {"records": None, "data": None, "links": "()", **unset}
    assert signature(slimcap.filter.accept) == {"snaplen": "262144"}
    assert signature(slimcap.Batch.gather) == {"n": None, "at": "'link'"}
    assert signature(slimcap.Source.next_payload) == {"buf": "None", "timeout": "None"}
    assert signature(slimcap.Stats) == dict.fromkeys(["packets_received", "packets_dropped", "queue_freezes"])
    assert docstrings.parameters_of("slimcap.packet.packet", "PacketView") is None
    live, ring = signature(slimcap.open_live), signature(slimcap.RingSource)
    assert {name: live[name] for name in ring if name != "link"} == {
        name: default for name, default in ring.items() if name != "link"
    }
    assert live["ring_exhausted"] == "'wait'"
    assert live["workers"] == live["on_change"] == "None"
    assert signature(slimcap.ReadTask.open) == {"**options": ""}


def good(n: int, level: int = 3, name: str | None = None) -> None:
    """Write packets.

    Parameters
    ----------
    n : int
        Number of packets.
    level : int, default 3
        Compression level.
    name : str, optional
        Name of the file. Default: no name.
    """


def what(n: int) -> None:
    """What it writes.

    Parameters
    ----------
    n : int
        Number of packets.
    m : int
        Not a parameter.
    """


def wrong_defaults(n: int, level: int = 3, size: int = 4096, name: str | None = None) -> None:
    """Write packets.

    Parameters
    ----------
    n : int, default 1
        Number of packets.
    level : int, default 4
        Compression level.
    size : int, default 4 KiB
        Size of the buffer.
    name : str, optional
        Name of the file.
    """


def unordered() -> int:
    """Return a number

    Returns
    -------
    int
        A number.

    Parameters
    ----------
    n : int
    """
    return 1


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (good, []),
        (what, ["PR02 Unknown parameters {'m'}", "the summary starts with 'What'"]),
        (
            wrong_defaults,
            [
                "parameter 'n' is required, but documented as 'int, default 1'",
                "parameter 'level' has the default 3, not 4",
                "parameter 'name' is optional: state its default",
            ],
        ),
        (unordered, ["GL07", "SS03", "PR02", "PR07"]),
    ],
)
def test_faults_of_a_docstring_are_found(
    docstrings: ModuleType, function: Callable[..., object], expected: list[str]
) -> None:
    parameters = docstrings.parameters_of(function.__module__, function.__qualname__)
    found = list(docstrings.problems_of(docstrings.Public(function.__name__, function, parameters)))
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)


def test_docstrings_fail_if_none_is_read(docstrings: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "public_objects", lambda: iter(()))
    assert docstrings.main() == 1
