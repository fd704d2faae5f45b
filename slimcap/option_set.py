"""Sets of options: an option's type, default, documentation and check are declared once, in a TypedDict.

    class SocketOptions(LiveOptions, total=False):
        batch_size: Annotated[int, Option(64, "Maximum number of packets.", between(1, 1024))]

Type checkers read it where it is used: `**options: Unpack[SocketOptions]`. `accepts` makes the signature and
the docstring of a function or class from it; the build makes those of a compiled class (translate.py).
`parse` checks the options given. A module that declares a set must not import annotations from __future__.
"""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter
from types import NoneType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

from slimcap.errors import in_range, integer, nearest, number, wrong_type

_Owner = TypeVar("_Owner", bound=Callable[..., object])

_ENTRY: Final = re.compile(r"^( *)\*\*options\n(?:\1 +.*\n)*", re.MULTILINE)
"""The numpydoc entry that stands for all options of a set."""

_SIZE: Final = re.compile(r"(\d{1,18})([kMGT]|[KMGT]i|)B?", re.ASCII)
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS_OF_1024: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


@dataclass(frozen=True, slots=True)
class Option:
    """Declaration of an option, apart from name and type.

    Attributes
    ----------
    default : object
        The default, which is not checked.
    doc : str
        Description, for docstrings.
    check : callable, optional
        Function of name and value. It returns the value to use, or raises an error that has the name in its
        message. Default: that the value is of the type of the annotation, or one of its choices; none for a
        bool, of which the truth value is used, and for a type that is not known yet (a str).
    kind : str, optional
        Type as docstrings name it. Default: that of the annotation.
    annotation : object
        The annotation, for signatures; set by `options_of`.
    """

    default: Any
    doc: str
    check: Callable[[str, Any], Any] | None = None
    kind: str = ""
    annotation: Any = None


@functools.cache
def options_of(options: type) -> Mapping[str, Option]:
    """Return the options of a set by name, those of its bases first."""
    hints = options.__annotations__.items()
    return {name: _completed(hint.__metadata__[0], hint.__origin__) for name, hint in hints}


def _completed(option: Option, hint: Any) -> Option:
    """Add what follows from the type of an option."""
    hint = getattr(hint, "__forward_arg__", hint)
    args = get_args(hint)
    plain = args[0] if args[1:] == (NoneType,) else hint  # of `X | None`
    if get_origin(plain) is Literal:
        kind = "{" + ", ".join(f'"{choice}"' for choice in get_args(plain)) + "}"
    else:
        kind = plain.__name__ if isinstance(plain, type) else str(hint)
    return replace(option, check=option.check or _check_of(plain), kind=option.kind or kind, annotation=hint)


def _check_of(kind: Any) -> Callable[[str, Any], Any] | None:
    """Return the check that follows from a type."""
    if get_origin(kind) is Literal:
        return functools.partial(_check_choice, get_args(kind))
    if kind in (int, float):
        return integer if kind is int else number
    kind = Callable if get_origin(kind) is Callable else kind
    return functools.partial(_check_type, kind) if isinstance(kind, type) and kind is not bool else None


def between(low: int, high: int) -> Callable[[str, Any], int]:
    """Return a check for integers from `low` to `high`."""
    return functools.partial(in_range, low=low, high=high)


def parse_size(text: str) -> int:
    """Return the number of bytes of a text with or without a unit; 0 if it is not valid."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * (_UNITS | _UNITS_OF_1024)[found[2]] if found else 0


def _check_type(kind: type, name: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise wrong_type(name, f"a {kind.__name__}", value)
    return value


def _check_choice(choices: tuple[str, ...], name: str, value: str) -> str:
    if value not in choices:
        *others, last = (f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, not {value!r}")
    return value


def parse(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a set by name: those given, once checked, and the defaults of the others.

    An unknown name raises TypeError, with the nearest name that exists; checks raise TypeError or ValueError.
    """
    declared = options_of(options)
    for name in given:
        if name not in declared:
            similar = nearest(name, declared)
            hint = f"did you mean {similar!r}?" if similar else f"the options are {', '.join(declared)}"
            raise TypeError(f"{name!r} is not an option: {hint}")
    found = {}
    for name, option in declared.items():
        value = given.get(name, option.default)
        if option.check is not None and value is not option.default:
            value = option.check(name, value)
        found[name] = value
    return found


def changed(options: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values that are not the default of their option: to pass on to what has fewer options."""
    declared = options_of(options)
    return {name: value for name, value in values.items() if value is not declared[name].default}


def signature_of(function: Callable[..., object], options: type) -> inspect.Signature:
    """Return the signature of a function with the options of a set in place of `**options`."""
    signature = inspect.signature(function)
    plain = [one for one in signature.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=option.default, annotation=option.annotation)
        for name, option in options_of(options).items()
    ]
    return signature.replace(parameters=plain + added)


def with_entries(doc: str, options: type) -> str:
    """Return a docstring with numpydoc entries of the options of a set in place of the entry `**options`."""
    entries = "".join(_entry(name, option) for name, option in options_of(options).items())
    return _ENTRY.sub(lambda found: textwrap.indent(entries, found[1]), doc)


def _entry(name: str, option: Option) -> str:
    text = textwrap.fill(
        option.doc, 106, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )
    return f"{name} : {option.kind}, {_stated(option.default)}\n{text}\n"


def _stated(default: Any) -> str:
    """Return a default as docstrings state it; that of None is described in the text."""
    if default is None:
        return "optional"
    if isinstance(default, str):
        return f'default "{default}"'
    is_size = isinstance(default, int) and default > 0 and default % (1 << 20) == 0
    return f"default {default >> 20} MiB" if is_size else f"default {default}"


def accepts(options: type) -> Callable[[_Owner], _Owner]:
    """Return a decorator that lists the options of a set in the signature and docstring of their owner.

    The owner, a function or a class, has a parameter `**options`, and an entry for it in its docstring.
    """

    def decorate(owner: _Owner) -> _Owner:
        function: Any = vars(owner)["__init__"] if isinstance(owner, type) else owner
        function.__signature__ = signature_of(function, options)
        if owner.__doc__:  # None with python -OO
            owner.__doc__ = with_entries(owner.__doc__, options)
        return owner

    return decorate
