"""The columns of RECORD_DTYPE and HEADER_DTYPE as `help` shows them."""

import inspect
import pydoc
import re

import numpy as np
import pytest

import slimcap
from slimcap import HEADER_DTYPE, RECORD_DTYPE, Batch

ROW = re.compile(r"^(\w+(?:, \w+)*) +(u[1248]|i8|V\d+|bool) +\S", re.M)
TABLES = [(Batch, RECORD_DTYPE), (Batch.headers, HEADER_DTYPE)]


def documented(thing: object) -> list[tuple[str, np.dtype]]:
    """Return name and type of each column in a docstring's table."""
    rows = ROW.findall(inspect.getdoc(thing) or "")
    return [(name, np.dtype(kind)) for names, kind in rows for name in names.split(", ")]


@pytest.mark.parametrize(("thing", "dtype"), TABLES)
def test_documented_columns_are_those_of_the_dtype(thing, dtype):
    """The table need not have the order of the fields, which is that of their offsets."""
    table = documented(thing)
    assert len(dict(table)) == len(table)
    assert dict(table) == {name: dtype[name] for name in dtype.names}


@pytest.mark.parametrize(("thing", "dtype"), TABLES)
def test_documented_row_size_is_that_of_the_dtype(thing, dtype):
    assert f"{dtype.itemsize} bytes per packet" in inspect.getdoc(thing)


def test_columns_beyond_the_dtype_are_documented_and_can_be_asked_for():
    batch = Batch(np.zeros(1, RECORD_DTYPE), b"")
    keys = re.findall(r"^ *- (\w+), (?:u8|S30):", inspect.getdoc(Batch.headers), re.M)
    assert len(keys) == 3
    assert batch.headers([*keys, *HEADER_DTYPE.names]).dtype.names == (*keys, *HEADER_DTYPE.names)


def test_help_of_the_package_shows_the_columns(capsys):
    pydoc.help(slimcap)
    shown = capsys.readouterr().out
    for _, dtype in TABLES:
        assert dtype.names
        assert not [name for name in dtype.names if not re.search(rf"\b{name}\b", shown)]
