"""Factories describe the options that they pass on, as the classes that have these do."""

from __future__ import annotations

import inspect

import pytest

import slimcap
from slimcap.source.option_docs import with_options_of


class Owner:
    """Class with options.

    Parameters
    ----------
    size : int, default 5
        Number of bytes,
        in two lines.
    first, last : str, optional
        Names.

    Returns
    -------
    """


def documented(text: str) -> str:
    def function() -> None: ...

    function.__doc__ = text
    return with_options_of(Owner)(function).__doc__ or ""


def test_entry_of_several_options_becomes_those_of_the_owner() -> None:
    text = documented(
        "Do it.\n\n    Parameters\n    ----------\n    last, size\n        As it says.\n\n    More."
    )
    names, size = "first, last : str, optional\n    Names.\n", "size : int, default 5\n    Number of bytes,\n"
    assert f"{names}{size}    in two lines.\n" in text
    assert "As it says" not in text
    assert text.endswith("More.")


@pytest.mark.parametrize("entry", ["size, other\n    As for Owner.\n", "size\n    As for Owner.\n"])
def test_other_entries_stay(entry: str) -> None:
    assert documented(f"Do it.\n\n{entry}\nMore.") == f"Do it.\n\n{entry}\nMore."


@pytest.mark.parametrize("factory", [slimcap.open_live, slimcap.open_file, slimcap.open_files, slimcap.read])
def test_factories_describe_each_parameter_with_its_type(factory: object) -> None:
    doc = inspect.getdoc(factory) or ""
    names = inspect.signature(factory).parameters  # type: ignore[arg-type]
    assert len(names) > 3
    for name in names:
        assert f"\n{name} : " in doc, name
    assert "snaplen : int" in doc
    assert "default" in doc.lower()
