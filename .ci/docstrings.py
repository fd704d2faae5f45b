"""Check the docstrings of all public names with numpydoc, and their parameters against the stubs.

    python .ci/docstrings.py

Docstrings are read from the installed package; signatures from the stub of a compiled module, or from the
source of any other. Public is all that can be reached from `slimcap`, `slimcap.filter` and the modules of
`slimcap.sink`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import operator
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

import slimcap
import slimcap.filter
import slimcap.flow
import slimcap.mock
import slimcap.sink

# Of numpydoc's checks (numpydoc.validate.ERROR_MSGS): summary, sections, parameters, return values.
CODES = {
    *("GL03", "GL05", "GL06", "GL07", "GL08", "GL10"),
    *("SS01", "SS02", "SS03", "SS04", "SS05", "SS06"),
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR09", "PR10"),
    *("RT04", "RT05"),
}
NOT_A_SUMMARY = re.compile(r"(what|whether|where|how|why|who|which)\b", re.IGNORECASE)
STATED_DEFAULT = re.compile(r", default (?P<value>.+)$")
REFERENCE = re.compile(r"as for `|default", re.IGNORECASE)
PLAIN = (bool, bytes, float, int, str, tuple, type(None))
SIZE = re.compile(r"(\d+) ([KM])iB")

# Functions of public modules that only this package calls.
INTERNAL = {
    *("slimcap.sink.arrow.batch_layout", "slimcap.sink.arrow.schema_capsule"),
    *("slimcap.sink.arrow.array_capsules", "slimcap.sink.arrow.stream_capsule"),
    *("slimcap.sink.arrow.array_stream_capsule", "slimcap.sink.arrow.text_addresses"),
    *("slimcap.sink.dataframes.library", "slimcap.sink.dataframes.to_arrow"),
    *("slimcap.sink.dataframes.to_pandas", "slimcap.sink.dataframes.to_polars"),
    *("slimcap.sink.open_writer.stem_and_endings", "slimcap.sink.open_writer.writer_class"),
    *("slimcap.sink.table_file.format_of", "slimcap.sink.table_file.pyarrow_for"),
    "slimcap.sink.table_file.check_addresses",
}


class Parameter(NamedTuple):
    """A parameter of a signature: its name, with stars, and its default value as source; None: required."""

    name: str
    default: str | None


class Public(NamedTuple):
    """A public object, its name, and its parameters; None for an attribute, which is not called."""

    name: str
    value: Any
    parameters: tuple[Parameter, ...] | None


# ---- public names


def public_objects() -> Iterator[Public]:
    """Yield every public function, class, method and property once."""
    seen: set[int] = set()
    for module in public_modules():
        for name in public_names(module):
            value = getattr(module, name)
            if not callable(value) or not str(getattr(value, "__module__", "")).startswith("slimcap"):
                continue  # a constant, or an alias of a type
            path = f"{module.__name__}.{name}"
            if path in INTERNAL:
                continue
            found = [Public(path, value, parameters_of(value.__module__, value.__qualname__))]
            if inspect.isclass(value):
                found += members_of(value, path)
            for public in found:
                if id(public.value) not in seen:
                    seen.add(id(public.value))
                    yield public


def public_modules() -> Iterator[ModuleType]:
    yield slimcap
    yield slimcap.filter
    yield slimcap.flow
    yield slimcap.mock
    for name in ("merged", "followed"):  # results of open_files
        yield importlib.import_module(f"slimcap.source.file.{name}")
    for module in pkgutil.iter_modules(slimcap.sink.__path__, "slimcap.sink."):
        yield importlib.import_module(module.name)


def public_names(module: ModuleType) -> list[str]:
    """Return `__all__` of a module, or the names of the functions and classes that it defines."""
    names: list[str] | None = getattr(module, "__all__", None)
    if names is not None:
        return names
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def members_of(owner: type, path: str) -> Iterator[Public]:
    """Yield the public methods and properties of a class, with those of its bases in this package."""
    members = {
        name: base
        for base in reversed(owner.__mro__)
        if base.__module__.startswith("slimcap")
        for name in vars(base)
    }
    for name, base in members.items():
        value = vars(base)[name]
        value = getattr(value, "__func__", value)  # of a static or class method
        if not name.startswith("_") and not is_attribute(base, name, value):
            if isinstance(value, property) or inspect.isgetsetdescriptor(value):
                yield Public(f"{path}.{name}", value, None)
            elif inspect.isroutine(value):
                yield Public(
                    f"{path}.{name}", value, parameters_of(base.__module__, f"{base.__name__}.{name}")
                )


def is_attribute(owner: type, name: str, value: Any) -> bool:
    """Return True for a field of a compiled class, which the docstring of the class describes."""
    listed = f"\n{name} :" in (inspect.getdoc(owner) or "")
    return listed and inspect.isgetsetdescriptor(value) and not value.__doc__


# ---- signatures


@functools.cache
def syntax_of(module: str) -> ast.Module:
    """Parse the stub of a module, or its source if it is not compiled."""
    path = Path(importlib.import_module(module).__file__ or "")
    stub = path.with_name(f"{path.name.partition('.')[0]}.pyi")
    return ast.parse((stub if stub.exists() else path).read_text())


def parameters_of(module: str, qualname: str) -> tuple[Parameter, ...] | None:
    """Return the parameters of a function, a method or a class's constructor."""
    body = syntax_of(module).body
    *owners, name = qualname.split(".")
    for owner in owners:
        body = class_named(body, owner).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    if functions:
        found: tuple[Parameter, ...] | None = parameters_of_overloads(functions, bool(owners))
    else:
        found = parameters_of_class(class_named(body, name))
    if found and found[-1].name == "**options":
        found = listed(found, operator.attrgetter(qualname)(importlib.import_module(module)))
    return found and tuple(Parameter(each.name, literal(each.default, module)) for each in found)


def listed(found: tuple[Parameter, ...], function: Callable[..., object]) -> tuple[Parameter, ...]:
    """Return parameters with the options that the signature at run time shows in place of `**options`."""
    shown = inspect.signature(function).parameters
    if "options" in shown:
        return found
    names = shown.keys() - {parameter.name for parameter in found} - {"self"}
    options = [Parameter(name, repr(shown[name].default)) for name in shown if name in names]
    return (*found[:-1], *options)


def literal(default: str | None, module: str) -> str | None:
    """Return a default as a literal, if it is a plain value, constant or expression of its module."""
    if default is None:
        return None
    try:
        value = eval(default, vars(importlib.import_module(module)))
    except (NameError, SyntaxError):  # a name of the stub only; ""
        return default
    return repr(value) if type(value) in PLAIN else default


def class_named(body: list[ast.stmt], name: str) -> ast.ClassDef:
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


def parameters_of_class(node: ast.ClassDef) -> tuple[Parameter, ...] | None:
    """Return the parameters of `__init__` or `__new__`, or the fields of a NamedTuple."""
    if any(ast.unparse(base) == "NamedTuple" for base in node.bases):
        fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
        return tuple(Parameter(ast.unparse(field.target), source_of(field.value)) for field in fields)
    for name in ("__init__", "__new__"):
        makers = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == name]
        if makers and "Never" not in ast.unparse(makers[0].args):  # which always raises TypeError
            return parameters_of_overloads(makers, True)
    return None


def parameters_of_overloads(nodes: list[ast.FunctionDef], is_method: bool) -> tuple[Parameter, ...]:
    """Return the parameters of the overload that has the most of them, and the most defaults."""
    overloads = [parameters_of_function(node, is_method) for node in nodes]
    return max(overloads, key=lambda found: (len(found), sum(each.default is not None for each in found)))


def parameters_of_function(node: ast.FunctionDef, is_method: bool) -> tuple[Parameter, ...]:
    arguments = node.args
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults))
    found = [
        Parameter(argument.arg, source_of(default))
        for argument, default in zip(positional, [*defaults, *arguments.defaults], strict=True)
    ]
    if is_method and "staticmethod" not in map(ast.unparse, node.decorator_list):
        del found[0]
    if arguments.vararg:
        found.append(Parameter(f"*{arguments.vararg.arg}", ""))
    for argument, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(Parameter(argument.arg, source_of(keyword_default)))
    if arguments.kwarg:
        found.append(Parameter(f"**{arguments.kwarg.arg}", ""))
    return tuple(found)


def source_of(default: ast.expr | None) -> str | None:
    return None if default is None else ast.unparse(default)


# ---- checks


class StubValidator(Validator):  # type: ignore[misc]
    """numpydoc's checks, with the signatures of the stubs: compiled functions show none, or not all of it."""

    def __init__(self, obj_name: Public) -> None:
        super().__init__(get_doc_object(obj_name.value, config={"show_class_members": False}))
        self.public = obj_name

    @property
    def is_function_or_method(self) -> bool:
        return inspect.isroutine(self.obj)

    @property
    def method_returns_something(self) -> bool:
        return False

    @property
    def signature_parameters(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.public.parameters or ())

    @property
    def doc_all_parameters(self) -> dict[str, tuple[str, list[str]]]:
        """The documented parameters. A NamedTuple has them under Attributes."""
        is_tuple = inspect.isclass(self.obj) and issubclass(self.obj, tuple)
        documented: dict[str, tuple[str, list[str]]] = self._doc_parameters(
            ["Attributes" if is_tuple else "Parameters"]
        )
        return documented


def problems_of(public: Public) -> Iterator[str]:
    """Yield what is wrong with the docstring of an object."""
    for code, message in validate(public, validator_cls=StubValidator)["errors"]:
        if code in CODES:
            yield f"{code} {message}"
    docstring = StubValidator(public)
    if NOT_A_SUMMARY.match(docstring.summary):
        yield f"the summary starts with {docstring.summary.split()[0]!r}: use an imperative or a noun"
    for parameter in public.parameters or ():
        kind, description = docstring.doc_all_parameters.get(parameter.name, ("", []))
        if kind:
            yield from default_problems(parameter, kind, " ".join(description))


def default_problems(parameter: Parameter, kind: str, description: str) -> Iterator[str]:
    """Yield what is wrong with the documented default of a parameter: in its type, or as "Default: …"."""
    stated = STATED_DEFAULT.search(kind)
    is_optional = kind.endswith(", optional")
    if parameter.default is None:
        if stated or is_optional:
            yield f"parameter {parameter.name!r} is required, but documented as {kind!r}"
    elif stated is None and not is_optional:
        yield f"parameter {parameter.name!r} has the default {parameter.default}: {kind!r} states none"
    elif stated is None and not REFERENCE.search(description):
        yield f"parameter {parameter.name!r} is optional: state its default"
    elif stated is not None and parameter.default != "..." and not same(stated["value"], parameter.default):
        yield f"parameter {parameter.name!r} has the default {parameter.default}, not {stated['value']}"


def same(stated: str, default: str) -> bool:
    """Return True if a documented default is that of the signature; sizes may have a unit."""
    size = SIZE.fullmatch(stated)
    if size:
        stated = str(int(size[1]) << {"K": 10, "M": 20}[size[2]])
    try:
        return bool(ast.literal_eval(stated) == ast.literal_eval(default))
    except ValueError:
        return stated == default


def exists(path: str) -> bool:
    module, _, name = path.rpartition(".")
    return hasattr(importlib.import_module(module), name)


def main() -> int:
    """Check all public docstrings; print what is wrong; return the exit code."""
    objects = list(public_objects())
    problems = [f"{public.name}: {problem}" for public in objects for problem in problems_of(public)]
    problems += [f"{name}: in INTERNAL, but does not exist" for name in sorted(INTERNAL) if not exists(name)]
    for problem in problems:
        print(problem)
    print(f"{len(objects)} docstrings, {len(problems)} problems")
    return 1 if problems or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
