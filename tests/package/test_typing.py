"""The type stubs: the files of tests/typing state the type of everything in the API.

`.ci/lint mypy stubtest` reads them and compares the stubs with the compiled modules. Both trust the return
types of a stub. So the files also run here, with an `assert_type` that checks the value.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap.packet.interface import SectionInfo
from slimcap.packet.lease import Lease
from slimcap.sink.rotate import RotatingWriter

ROOT = Path(__file__).parents[2]
TYPED = sorted((ROOT / "tests" / "typing").glob("*.py"))
MIXED = ROOT / "tests" / "data" / "mixed.pcap"
WRONG = """
import slimcap

with slimcap.open_file("x.pcap") as source:
    number: int = source.next_batch()
    source.no_such_name()
"""


# ---- type checkers


def test_lint_reads_the_package_and_the_typed_files() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert {"slimcap", "tests/typing"} <= set(config["files"])
    assert config["strict"]
    assert len(TYPED) > 3
    lint = (ROOT / ".ci" / "lint").read_text()
    assert re.search(r"^checks=\(.*\bmypy stubtest\b", lint, re.M)


def test_wrong_types_are_found(tmp_path: Path) -> None:
    """The stubs are read: no class of slimcap is `Any` to a type checker."""
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy", "--config-file", ROOT / "pyproject.toml", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert re.search(r'wrong\.py:5: error: .*\(expression has type "Batch", .* "int"\)', done.stdout), done
    assert re.search(r'wrong\.py:6: error: "PcapSource" has no attribute "no_such_name"', done.stdout)
    assert "Found 2 errors in 1 file" in done.stdout


# ---- the typed files at run time


def is_of(value: object, kind: Any) -> bool:
    """Return True if a value is of a type; covers the types that the typed files use."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, (int, float))
    if origin is None:
        return isinstance(value, kind)
    if origin in (UnionType, typing.Union):
        return any(is_of(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        if arguments[-1:] == (Ellipsis,):
            arguments = arguments[:1] * len(value) if isinstance(value, tuple) else ()
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(is_of, value, arguments))
    if origin is np.dtype:
        return isinstance(value, np.dtype) and (arguments == (Any,) or issubclass(value.type, arguments[0]))
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and is_of(value.dtype, arguments[1])
    # list[int], Iterator[Batch] …: their items are not checked.
    return isinstance(value, origin)


def test_is_of_tells_types_apart() -> None:
    from numpy.typing import NDArray

    assert is_of(1, int | None)
    assert is_of(None, int | None)
    assert not is_of("1", int | None)
    assert is_of(None, None)
    assert not is_of(0, None)
    assert is_of((1, "2"), tuple[int, str])
    assert not is_of((1, 2), tuple[int, str])
    assert not is_of((1,), tuple[int, str])
    assert is_of((1, 2, 3), tuple[int, ...])
    assert not is_of((1, "2"), tuple[int, ...])
    assert is_of("a", typing.Literal["a", "b"])
    assert not is_of("c", typing.Literal["a", "b"])
    assert is_of(np.zeros(1, "u2"), NDArray[np.uint16])
    assert is_of(np.zeros(1, "u2"), NDArray[Any])
    assert not is_of(np.zeros(1, "u4"), NDArray[np.uint16])
    assert not is_of([1], NDArray[Any])
    assert is_of(iter([1]), Iterator[int])
    assert not is_of([1], Iterator[int])


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[..., None]]:
    """Return the functions of the typed files, with an `assert_type` that checks values."""

    def assert_type(value: object, kind: Any) -> object:
        assert is_of(value, kind), f"{value!r} is not a {kind}"
        return value

    monkeypatch.setattr(typing, "assert_type", assert_type)
    found: dict[str, Callable[..., None]] = {}
    for path in TYPED:
        spec = importlib.util.spec_from_file_location(f"slimcap_typed_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        functions = {
            f"{path.stem}.{name}": value for name, value in vars(module).items() if name.startswith("check_")
        }
        assert functions, f"{path} checks nothing"
        found |= functions
    return found


def first_batch() -> slimcap.Batch:
    return slimcap.open_file(MIXED).next_batch()


MAKE: dict[type, Callable[[], Any]] = {
    str: lambda: str(MIXED),
    slimcap.Source: lambda: slimcap.open_file(MIXED),
    slimcap.PcapSource: lambda: slimcap.open_file(MIXED),
    slimcap.Link: lambda: slimcap.open_file(MIXED).link,
    slimcap.Batch: first_batch,
    slimcap.Packet: lambda: slimcap.open_file(MIXED).next_packet(),
    slimcap.PacketView: lambda: first_batch()[0],
    slimcap.View: lambda: first_batch().payload(0),
    slimcap.IPLayer: lambda: slimcap.open_file(MIXED).next_ip_packet()[0],
    slimcap.FileFormatError: lambda: slimcap.TruncatedFileError("it is cut", "x.pcap", 24, 0),
}


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_values_have_the_stated_types(checks: dict[str, Callable[..., None]]) -> None:
    assert len(checks) > 10
    for check in checks.values():
        kinds = typing.get_type_hints(check)
        check(**{name: MAKE[kinds[name]]() for name in inspect.signature(check).parameters})


@pytest.mark.parametrize(
    "owner",
    [
        slimcap.PcapSource,
        slimcap.Stats,
        slimcap.Account,
        slimcap.Link,
        slimcap.Batch,
        Lease,
        slimcap.PcapWriter,
        slimcap.PcapNgWriter,
        RotatingWriter,
        slimcap.ReadTask,
        slimcap.InterfaceInfo,
        SectionInfo,
        slimcap.PacketView,
        slimcap.IPLayer,
    ],
)
def test_every_member_has_a_stated_type(owner: type) -> None:
    text = "".join(path.read_text() for path in TYPED)
    members = [name for name in dir(owner) if not name.startswith("_") and not hasattr(tuple, name)]
    assert members
    assert not [name for name in members if not re.search(rf"\.{name}\b", text)]
