"""The type stubs: what type checkers see is what there is.

mypy reads tests/typing, which states the type of everything in the API; stubtest compares names and
signatures with the compiled modules. Both believe a stub's word for what a function returns, so the files are
run, too, with an `assert_type` that looks at the value.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any

import numpy as np
import pytest

import slimcap

ROOT = Path(__file__).resolve().parent.parent
TYPED = sorted((ROOT / "tests" / "typing").glob("*.py"))
MIXED = ROOT / "tests" / "data" / "mixed.pcap"


def lint(check: str) -> str:
    """What a check of .ci/lint writes; it must succeed."""
    if importlib.util.find_spec("mypy") is None:
        reason = "mypy is not installed: pip install -e '.[dev]'"
        # Where everything has to be there, as in CI, nothing is skipped.
        if os.environ.get("SLIMCAP_REQUIRE_LIVE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [ROOT / ".ci" / "lint", check],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_mypy() -> None:
    found = re.search(r"no issues found in (\d+) source files", lint("mypy"))
    assert found is not None
    modules = [path for path in (ROOT / "slimcap").rglob("*.py*") if path.suffix in {".py", ".pyi"}]
    assert int(found[1]) >= len(modules) + len(TYPED)


def test_stubtest() -> None:
    found = re.search(r"no issues found in (\d+) modules", lint("stubtest"))
    assert found is not None
    assert int(found[1]) >= len(list((ROOT / "slimcap").rglob("*.pyx")))


# ---- the typed files, run


def is_of(value: object, kind: Any) -> bool:
    """Whether a value is of a type, as far as the typed files spell types."""
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
    # list[int], Iterator[Batch] …: what is in them is somebody else's to tell.
    return isinstance(value, origin)


def test_is_of() -> None:
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
    """The functions of the typed files, with an `assert_type` that looks."""

    def assert_type(value: object, kind: Any) -> object:
        assert is_of(value, kind), f"{value!r} is no {kind}"
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


def test_values_are_of_the_types_that_are_stated(checks: dict[str, Callable[..., None]]) -> None:
    assert len(checks) > 10
    for check in checks.values():
        kinds = typing.get_type_hints(check)
        check(**{name: MAKE[kinds[name]]() for name in inspect.signature(check).parameters})


@pytest.mark.parametrize(
    "owner",
    [
        slimcap.PcapSource,
        slimcap.Stats,
        slimcap.Link,
        slimcap.Batch,
        slimcap.Lease,
        slimcap.PcapWriter,
        slimcap.PcapNgWriter,
        slimcap.RotatingWriter,
        slimcap.ReadTask,
        slimcap.InterfaceInfo,
        slimcap.SectionInfo,
        slimcap.PacketView,
        slimcap.IPLayer,
    ],
)
def test_the_type_of_every_member_is_stated(owner: type) -> None:
    text = "".join(path.read_text() for path in TYPED)
    members = [name for name in dir(owner) if not name.startswith("_") and not hasattr(tuple, name)]
    assert members
    assert not [name for name in members if not re.search(rf"\.{name}\b", text)]
