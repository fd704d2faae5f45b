"""Document options that a function passes on: each is described once, by the class that has it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Final, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])

_NAMES: Final = re.compile(r"^(\w+(?:, \w+)+)\n(?:    .*\n)+", re.MULTILINE)
"""A numpydoc entry of several parameters, without types."""

_ENTRY: Final = re.compile(r"^(\w+(?:, \w+)*) : .*\n(?:    .*\n)+", re.MULTILINE)
"""A numpydoc entry with a type."""


def with_options_of(owner: type) -> Callable[[_Function], _Function]:
    """Return a decorator that replaces entries of several parameters by those of a class.

    Parameters
    ----------
    owner : type
        The class whose docstring describes the parameters.

    Examples
    --------
    The entry ``snaplen, filter`` of the decorated function becomes two, each with its type and default.
    """
    entries = {
        name: entry[0]
        for entry in _ENTRY.finditer(inspect.getdoc(owner) or "")
        for name in entry[1].split(", ")
    }

    def expanded(names: re.Match[str]) -> str:
        found = [entries.get(name, "") for name in names[1].split(", ")]
        return "".join(dict.fromkeys(found)) if all(found) else names[0]

    def decorate(function: _Function) -> _Function:
        if function.__doc__:  # None with python -OO
            function.__doc__ = _NAMES.sub(expanded, inspect.cleandoc(function.__doc__))
        return function

    return decorate
