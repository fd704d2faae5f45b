"""Options are declared once: signatures, docstrings, defaults and checks follow from the declaration."""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict, Unpack

import numpy as np
import pytest

import slimcap
from slimcap.capfile.write_options import (
    InterfaceOptions,
    PcapNgWriterOptions,
    PcapWriterOptions,
    StatisticsOptions,
    WriteOptions,
)
from slimcap.filter.where_options import WhereOptions
from slimcap.io.compression.encoders import Compression
from slimcap.mock import MockRingSource, MockSocketSource
from slimcap.option_set import Option, accepts, between, changed, options_of, parse
from slimcap.sink.rotate import RotatingWriter
from slimcap.sink.rotation_options import RotatingOptions, RotationOptions
from slimcap.source.file.file_options import FilesOptions, PcapOptions, SeveralOptions
from slimcap.source.file.followed import RotatedSource
from slimcap.source.file.merged import MergedSource
from slimcap.source.live.live_options import LiveOptions, RingOptions, SocketOptions

SETS = [LiveOptions, RingOptions, SocketOptions, FilesOptions, PcapOptions, SeveralOptions, WhereOptions]
SETS += [WriteOptions, PcapWriterOptions, PcapNgWriterOptions, InterfaceOptions, StatisticsOptions]
SETS += [RotationOptions, RotatingOptions]


class Base(TypedDict, total=False):
    """A set of a test."""

    size: Annotated[int, Option(1 << 20, "Number of bytes.", between(1, 1 << 30))]
    mode: Annotated[Literal["slow", "fast"], Option("fast", "Speed.")]


class Extended(Base, total=False):
    """The same set with one more option: nothing else of this module mentions it."""

    ratio: Annotated[float | None, Option(None, 20 * "long text, " + "Default: all.")]


class Made:
    """Class with options.

    Parameters
    ----------
    file : str
        The file.
    **options
        Those of `Extended`,
        in two lines.

    Raises
    ------
    ValueError
        An option is out of range.
    """

    def __init__(self, file: str, **options: Unpack[Extended]) -> None:
        self.options = parse(Extended, options)


def documented(value: object) -> dict[str, tuple[str, str]]:
    """Return type and description of each parameter of a docstring."""
    section = (inspect.getdoc(value) or "").partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^(\w+) : (.*)\n((?:    .*(?:\n|$))+)", section, re.MULTILINE)
    return {name: (kind, " ".join(text.split())) for name, kind, text in entries}


def test_new_option_is_in_signature_docstring_and_defaults() -> None:
    doc = Made.__doc__
    made = accepts(Extended)(Made)
    Made.__doc__, listed = doc, documented(made)
    shown = inspect.signature(made).parameters
    assert list(shown) == list(listed) == ["file", "size", "mode", "ratio"]
    assert [one.default for one in shown.values()][1:] == [1 << 20, "fast", None]
    assert {one.kind for one in shown.values()} == {
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    }
    assert shown["ratio"].annotation == float | None
    assert listed["size"] == ("int, default 1 MiB", "Number of bytes.")
    assert listed["mode"] == ('{"slow", "fast"}, default "fast"', "Speed.")
    assert listed["ratio"][0] == "float, optional"
    assert made("x").options == {"size": 1 << 20, "mode": "fast", "ratio": None}
    assert made("x", ratio=0.5, size=7).options == {"size": 7, "mode": "fast", "ratio": 0.5}


def test_docstring_is_indented_as_before_and_keeps_its_other_sections() -> None:
    def function(**options: Unpack[Extended]) -> None:
        """Do it.

        Parameters
        ----------
        **options
            Any.

        Raises
        ------
        ValueError
        """

    doc = inspect.getdoc(accepts(Extended)(function)) or ""
    assert doc.startswith(
        "Do it.\n\nParameters\n----------\nsize : int, default 1 MiB\n    Number of bytes.\n"
    )
    assert doc.endswith("Default: all.\n\nRaises\n------\nValueError")
    assert max(map(len, doc.splitlines())) <= 106


def test_function_without_a_docstring_can_be_decorated() -> None:
    def function(**options: Unpack[Base]) -> None: ...

    assert accepts(Base)(function).__doc__ is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"sise": 3}, "'sise' is not an option: did you mean 'size'?"),
        ({"size": 3, "depth": 1}, "'depth' is not an option: the options are size, mode, ratio"),
        ({"size": "3"}, "size must be an integer, not str"),
        ({"size": None}, "size must be an integer, not NoneType"),
    ],
)
def test_unknown_options_and_wrong_types_raise_type_error(given: dict[str, Any], error: str) -> None:
    with pytest.raises(TypeError) as caught:
        parse(Extended, given)
    assert str(caught.value) == error


def test_values_out_of_range_raise_value_error() -> None:
    with pytest.raises(ValueError, match=r"^size must be 1 to 1073741824, not 0$"):
        parse(Extended, {"size": 0})
    with pytest.raises(ValueError, match=r'^mode must be "slow" or "fast", not \'idle\'$'):
        parse(Extended, {"mode": "idle"})


class Typed(TypedDict, total=False):
    """Options whose checks follow from their types."""

    count: Annotated[int | None, Option(None, "Number.")]
    ratio: Annotated[float, Option(0.5, "Ratio.")]
    text: Annotated[str | None, Option(None, "Text.")]
    call: Annotated[Callable[[str], object] | None, Option(None, "Called.", kind="callable")]
    mode: Annotated[Literal["slow", "fast"] | None, Option(None, "Speed.")]
    flag: Annotated[bool, Option(False, "Flag.")]
    either: Annotated[int | str, Option(0, "Either.")]
    later: Annotated["Wrong | None", Option(None, "A type that is not known yet.")]  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("name", "right", "error"),
    [
        ("count", 7, "count must be an integer, not tuple"),
        ("ratio", 1, "ratio must be a number, not tuple"),
        ("text", "a", "text must be a str, not tuple"),
        ("call", print, "call must be a Callable, not tuple"),
        ("mode", "slow", 'mode must be "slow" or "fast", not ()'),
        ("flag", True, None),
        ("either", "a", None),
        ("later", 1, None),
    ],
)
def test_check_follows_from_the_type(name: str, right: object, error: str | None) -> None:
    assert parse(Typed, {name: right})[name] == right
    if error is None:
        assert parse(Typed, {name: ()})[name] == ()
    else:
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(error)}$"):
            parse(Typed, {name: ()})


def test_values_that_are_the_default_need_not_be_passed_on() -> None:
    given = {"ratio": None, "size": 7, "mode": "fast"}
    assert changed(Extended, parse(Extended, given)) == {"size": 7}
    assert changed(Extended, {"ratio": 0.0}) == {"ratio": 0.0}


def test_value_is_what_the_check_returns() -> None:
    assert type(parse(Extended, {"size": np.int64(7)})["size"]) is int


# ---- the sets of the package


@pytest.mark.parametrize("options", SETS)
def test_every_option_has_documentation_and_the_type_that_checkers_see(options: type) -> None:
    names = vars(slimcap.filter) | {"Any": Any, "Literal": Literal, "Compression": Compression}
    names["WhereOptions"] = WhereOptions
    hints = typing.get_type_hints(options, names, include_extras=True)
    found = options_of(options)
    assert list(found) == list(hints)
    assert options.__optional_keys__ == found.keys()  # type: ignore[attr-defined]
    for name, option in found.items():
        assert option.doc.endswith("."), name
        assert option.kind, name
        assert "ForwardRef" not in option.kind, name
        assert (option.default is None) == ("Default: " in option.doc), name
        if option.check and option.default is not None:
            assert option.check(name, option.default) == option.default, name


OUT_OF_RANGE: dict[str, list[Any]] = {
    "snaplen": [-1, 1 << 32],
    "block_size": [0, -1, 63, 1 << 31],
    "num_blocks": [0, -1, 1 << 29],
    "block_timeout": [0, -0.1, 3600.1, float("nan")],
    "buffer": [0, (1 << 20) - 1, "1023KiB", (1 << 40) + 1, "2TiB", "", "much"],
    "latency": [0, -0.1, 3600.1, float("nan")],
    "buffer_size": [0, 1 << 30],
    "batch_size": [0, 1025],
    "max_bytes": [0, -1],
    "max_seconds": [0],
    "max_packets": [0],
    "max_files": [0],
    "link_type": [-1, 1 << 16],
    "format": ["erf"],
    "received": [-1, 1 << 64],
    "dropped": [-1, 1 << 64],
    "interface_dropped": [-1, 1 << 64],
    "filter_accepted": [-1, 1 << 64],
    "start": [-1],
    "end": [-1],
    "at": [-1, 1 << 64],
    "host": ["192.0.2.256"],
    "net": ["192.0.2.1/24"],
    "port": [-1, 65536, "1-65536", "http"],
    "protocol": [256, "tpc"],
    "flow": ["192.0.2.1 => 192.0.2.2"],
    "community_id": [""],
    "vlan": [0, 4096],
    # Only the type is checked.
    **{
        name: []
        for name in (
            "timeout",
            "level",
            "filter",
            "where",
            "name",
            "on_file",
            "comment",
            "hardware",
            "os",
            "application",
            "section",
        )
    },
    "direction": ["", "up"],
    "link_down": ["ignore", ""],
    "ring_exhausted": ["ignore", ""],
    "netns": ["", "..", 0, -1],
    "reserved": [],
    "on_end": [],
    "on_begin": [],
    "first_index": [-1, 1 << 63],
    "on_error": ["", "ignore"],
    "fcs_len": [-1, 5, 32],
}


@pytest.mark.parametrize("options", SETS)
def test_every_check_names_its_option(options: type) -> None:
    checked = {name for name, option in options_of(options).items() if option.check}
    assert checked
    for name in checked:
        for value in OUT_OF_RANGE[name]:
            with pytest.raises(ValueError, match=rf"^{name} must be "):
                parse(options, {name: value})
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must be "):
            parse(options, {name: object()})


def test_only_of_an_interface_the_snaplen_may_be_0() -> None:
    assert parse(InterfaceOptions, {"snaplen": 0})["snaplen"] == 0
    for options in (FilesOptions, WriteOptions):
        with pytest.raises(ValueError, match=r"^snaplen must be 1 to"):
            parse(options, {"snaplen": 0})


@pytest.mark.parametrize(
    ("owner", "options"),
    [
        (slimcap.RingSource, RingOptions),
        (slimcap.SocketSource, SocketOptions),
        (slimcap.open_live, RingOptions),
        (MockRingSource, RingOptions),
        (MockSocketSource, SocketOptions),
        (slimcap.PcapSource, PcapOptions),
        (slimcap.PcapWriter, PcapWriterOptions),
        (slimcap.PcapNgWriter, PcapNgWriterOptions),
        (slimcap.open_writer, PcapNgWriterOptions),
        (RotatingWriter, RotatingOptions),
        (slimcap.write, RotationOptions),
        (slimcap.open_file, PcapOptions),
        (slimcap.open_files, FilesOptions),
        (slimcap.read, FilesOptions),
        (MergedSource, FilesOptions),
        (RotatedSource, FilesOptions),
    ],
)
def test_compiled_classes_and_factories_list_their_options(owner: Any, options: type) -> None:
    shown, listed = inspect.signature(owner).parameters, documented(owner)
    assert list(shown) == list(listed)
    found = options_of(options)
    assert len(found) > 3
    for name, option in found.items():
        assert shown[name].default == option.default
        assert listed[name][1] == option.doc
        assert listed[name][0].startswith(option.kind)


def test_unknown_option_of_a_source_is_named() -> None:
    with pytest.raises(TypeError, match=r"^'snap_len' is not an option: did you mean 'snaplen'\?$"):
        MockRingSource(snap_len=96)
    with pytest.raises(TypeError, match=r"^'num_blocks' is not an option"):
        MockSocketSource(num_blocks=4)
    with pytest.raises(TypeError, match=r"^'time_out' is not an option: did you mean 'timeout'\?$"):
        slimcap.open_file("x.pcap", time_out=1)


def test_ring_of_more_than_a_tebibyte_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^num_blocks must be at most 1048576 blocks of 1048576 bytes"):
        MockRingSource(block_size=1 << 20, num_blocks=(1 << 20) + 1)
