"""Signatures at run time: what `inspect.signature` and `help` show is what the type stubs declare."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

import pytest

import slimcap
import slimcap.filter
import slimcap.mock
from slimcap.sink.rotate import RotatingWriter
from slimcap.source.file.followed import RotatedSource
from slimcap.source.file.merged import MergedSource
from support.declarations import UNSTATED, Declared, all_named, parameters_of

# The options that replace those of the task.
WITH_OPTIONS = {"ReadTask.open", "ReadTask.read", "ReadTask.batches"}

ALL = all_named()
ABSTRACT = ["View", "IPLayer", "PacketView", "Source", "Field"]  # constructors that raise


def shown(value: Callable[..., Any]) -> list[Declared]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(value).parameters.values()]


def same(declared: list[Declared], found: list[Declared]) -> bool:
    """Return True if names and kinds are the same, and the defaults where they are stated."""
    return [one[:2] for one in declared] == [one[:2] for one in found] and all(
        (b is not Parameter.empty) if a is UNSTATED else a == b
        for (_, _, a), (_, _, b) in zip(declared, found, strict=True)
    )


def test_more_than_a_hundred_callables_are_compared() -> None:
    assert len(ALL) > 130
    assert sum(one.declared is not None for one in ALL.values()) > 100
    assert {"Batch", "Batch.headers", "RingSource", "open_live", "write", "Machine.run"} <= set(ALL)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ABSTRACT])
def test_signature_is_the_declared_one(name: str) -> None:
    one = ALL[name]
    found = shown(one.value)
    if one.declared is not None:
        assert same(one.declared, found), f"declared {one.declared}\nshown    {found}"
    kinds = {kind for _, kind, _ in found}
    if inspect.isroutine(one.value) or one.declared is not None:
        assert Parameter.VAR_POSITIONAL not in kinds
        assert (Parameter.VAR_KEYWORD in kinds) == (name in WITH_OPTIONS)


@pytest.mark.parametrize("name", ABSTRACT)
def test_constructors_that_raise_take_no_arguments(name: str) -> None:
    cls = ALL[name].value
    assert shown(cls) == []
    with pytest.raises(TypeError):
        cls()


def test_differences_are_found() -> None:
    def declared(text: str) -> list[Declared]:
        (node,) = ast.parse(text).body
        assert isinstance(node, ast.FunctionDef)
        return parameters_of(node)

    def real(a: int, b: int = 1, *, c: str = "x") -> None: ...

    found = shown(real)
    assert same(declared("def f(a, b=1, *, c='x'): ..."), found)
    assert same(declared("def f(a, b=..., *, c='x'): ..."), found)
    for wrong in (
        "def f(a, b=1, c='x'): ...",
        "def f(a, *, b=1, c='x'): ...",
        "def f(a, b=2, *, c='x'): ...",
        "def f(a, b, *, c='x'): ...",
        "def f(a=..., b=1, *, c='x'): ...",
        "def f(a, /, b=1, *, c='x'): ...",
        "def f(a, b=1, *, d='x'): ...",
        "def f(a, b=1, *, c='x', **e): ...",
    ):
        assert not same(declared(wrong), found), wrong


@pytest.mark.parametrize("cls", [slimcap.Batch, slimcap.PcapSource, slimcap.RingSource, slimcap.Packet])
def test_docstring_of_a_compiled_class_starts_with_its_summary(cls: type) -> None:
    assert cls.__doc__ is not None
    assert not cls.__doc__.startswith(cls.__name__)
    assert cls.__text_signature__
    summary = cls.__doc__.partition("\n")[0]
    assert summary.endswith((".", ","))


FORWARDED = [
    (slimcap.open_live, slimcap.RingSource),
    (slimcap.mock.MockRingSource, slimcap.RingSource),
    (slimcap.mock.MockSocketSource, slimcap.SocketSource),
    (slimcap.open_file, slimcap.PcapSource),
    (slimcap.open_writer, slimcap.PcapNgWriter),
]


@pytest.mark.parametrize(("factory", "cls"), FORWARDED, ids=lambda one: one.__name__)
def test_factories_accept_the_options_of_their_class(factory: Callable[..., Any], cls: type) -> None:
    ours = {one[0]: one for one in shown(factory) if one[1] is Parameter.KEYWORD_ONLY}
    options = {one[0]: one for one in shown(cls) if one[1] is Parameter.KEYWORD_ONLY}
    assert len(options) > 4
    assert {name: ours.get(name) for name in options} == options


# Names and defaults are public: a change of an option is a change here.
LIVE = (
    "snaplen=262144, promiscuous=False, filter=None, extra_filter=None, auto_filter=True, "
    "ignore_vlans=False, reinsert_vlan=False, direction='both', timeout=None, link_down='wait', netns=None"
)
FILES = (
    "snaplen=None, filter=None, where=None, concatenated=False, block_size=524288, timeout=None, "
    "on_error='raise'"
)
WRITE = "snaplen=262144, compression='infer', level=None, fcs_len=None, keep_partial=False"
SECTION = "comment=None, hardware=None, os=None, application=None, section=None"
ROTATION = "max_bytes=None, max_seconds=None, max_packets=None, max_files=None, overwrite=False, on_file=None"
OPTIONS: dict[Callable[..., Any], str] = {
    slimcap.RingSource: f"{LIVE}, buffer=None, latency=None, block_size=None, num_blocks=None, "
    "block_timeout=None, ring_exhausted='wait', smaller_ring=False",
    slimcap.SocketSource: f"{LIVE}, buffer_size=4194304, batch_size=64",
    slimcap.PcapSource: f"{FILES}, follow=False, name=None",
    slimcap.PcapWriter: f"{WRITE}, atomic=False",
    slimcap.PcapNgWriter: f"{WRITE}, atomic=False, {SECTION}",
    RotatingWriter: f"{ROTATION}, {WRITE}, {SECTION}, format=None, link_type=1, skip_existing=True, "
    "number_existing=False, reserved=(), background=False, first_index=0, on_begin=None, on_end=None",
    slimcap.write: "format=None, compression='infer', level=None, snaplen=None, columns=None, payload=None, "
    f"addresses=None, inner=None, tunnel_ports=None, progress=None, {ROTATION}",
    MergedSource: f"{FILES}, file_names=False",
    RotatedSource: f"{FILES}, file_names=False",
}


@pytest.mark.parametrize("cls", OPTIONS, ids=lambda cls: cls.__name__)
def test_names_and_defaults_of_options_stay(cls: Callable[..., Any]) -> None:
    options = [
        one for one in inspect.signature(cls).parameters.values() if one.kind is Parameter.KEYWORD_ONLY
    ]
    assert ", ".join(f"{one.name}={one.default!r}" for one in options) == OPTIONS[cls]
