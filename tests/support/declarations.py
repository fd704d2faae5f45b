"""Everything public that can be called, and how the stubs declare it."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, is_typeddict

import slimcap
import slimcap.filter
import slimcap.flow
import slimcap.mock
import slimcap.sink
from slimcap.option_set import options_of

PACKAGE = Path(inspect.getfile(slimcap)).parent
UNSTATED = object()  # a default that a stub writes as `...`, or that is not a literal

# (name, kind, default) of a parameter.
Declared = tuple[str, Any, Any]


class Named(NamedTuple):
    """A public function, class or method, and its declaration in a stub or in its own source."""

    name: str
    value: Callable[..., Any]
    declared: list[Declared] | None  # None: made by dataclass, enum …


# ---- declarations


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Parse the stub of a module, or its source if it has none."""
    base = PACKAGE.parent / module.replace(".", "/")
    stub = base.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else base.with_suffix(".py")).read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            if stub.exists() or "accepts(" in decorators:
                list_options(node, vars(importlib.import_module(module)))
    return tree


def list_options(definition: ast.AST, names: dict[str, Any]) -> None:
    """Declare each option of the functions in a definition that have `**options: Unpack[a set]`."""
    for node in ast.walk(definition):
        if isinstance(node, ast.arguments) and node.kwarg and node.kwarg.annotation:
            found = re.fullmatch(r"Unpack\[(\w+)\]", ast.unparse(node.kwarg.annotation))
            if found:
                for name, option in options_of(names[found[1]]).items():
                    node.kwonlyargs.append(ast.arg(name))
                    node.kw_defaults.append(ast.Constant(option.default))
                node.kwarg = None


def functions_in(body: list[ast.stmt], name: str) -> list[ast.FunctionDef]:
    return [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]


def class_node(cls: type) -> ast.ClassDef:
    (node,) = (
        one
        for one in tree_of(cls.__module__).body
        if isinstance(one, ast.ClassDef) and one.name == cls.__name__
    )
    return node


def decorators_of(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(one) for one in node.decorator_list}


def default_of(node: ast.expr | None) -> Any:
    if node is None:
        return Parameter.empty
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return UNSTATED
    return UNSTATED if value is ... else value


def parameters_of(node: ast.FunctionDef) -> list[Declared]:
    """Return the declared parameters of a function."""
    a = node.args
    positional = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(positional) - len(a.defaults)) + a.defaults
    kinds = [Parameter.POSITIONAL_ONLY] * len(a.posonlyargs) + [Parameter.POSITIONAL_OR_KEYWORD] * len(a.args)
    found: list[Declared] = [
        (one.arg, kind, default_of(default))
        for one, kind, default in zip(positional, kinds, defaults, strict=True)
    ]
    if a.vararg:
        found.append((a.vararg.arg, Parameter.VAR_POSITIONAL, Parameter.empty))
    found += [
        (one.arg, Parameter.KEYWORD_ONLY, default_of(default))
        for one, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)
    ]
    if a.kwarg:
        found.append((a.kwarg.arg, Parameter.VAR_KEYWORD, Parameter.empty))
    return found


def declared_in(body: list[ast.stmt], name: str) -> list[Declared] | None:
    """Return the parameters of a function: of its implementation, or of its overloads together."""
    nodes = functions_in(body, name)
    plain = [node for node in nodes if "overload" not in decorators_of(node)] or nodes
    if not plain:
        return None
    first, *others = map(parameters_of, plain)
    for other in others:
        assert [one[:2] for one in other] == [one[:2] for one in first], name
        first = [a if a[2] is not Parameter.empty else b for a, b in zip(first, other, strict=True)]
    return first


def fields_of(node: ast.ClassDef) -> list[Declared]:
    """Return the constructor's parameters of a NamedTuple or a dataclass."""
    return [
        (ast.unparse(one.target), Parameter.POSITIONAL_OR_KEYWORD, default_of(one.value))
        for one in node.body
        if isinstance(one, ast.AnnAssign)
    ]


def constructor_of(cls: type) -> list[Declared] | None:
    """Return the parameters of a class's constructor, without `self`."""
    for base in cls.__mro__:
        if not base.__module__.startswith("slimcap"):
            return None
        node = class_node(base)
        for name in ("__init__", "__new__"):
            found = declared_in(node.body, name)
            if found is not None:
                return found[1:]
        if issubclass(base, tuple) or hasattr(base, "__dataclass_fields__"):
            return fields_of(node)
    return None


# ---- the walk


def public_modules() -> Iterator[tuple[ModuleType, list[str]]]:
    """Yield the public modules and their public names."""
    for module in (slimcap, slimcap.filter, slimcap.flow, slimcap.mock):
        yield module, list(module.__all__)
    for info in pkgutil.iter_modules(slimcap.sink.__path__, "slimcap.sink."):
        module = importlib.import_module(info.name)
        yield (
            module,
            [
                name
                for name, value in vars(module).items()
                if not name.startswith("_")
                and getattr(value, "__module__", None) == info.name
                and callable(value)
                and not is_typeddict(value)
            ],
        )


def methods_of(cls: type) -> Iterator[tuple[type, str, Any]]:
    """Yield the public methods of a class, and of its bases in this package."""
    for base in cls.__mro__:
        if base.__module__.startswith("slimcap"):
            for name, value in vars(base).items():
                is_method = callable(value) or isinstance(value, (staticmethod, classmethod))
                if is_method and not name.startswith("_"):
                    yield base, name, value


def all_named() -> dict[str, Named]:
    """Return everything public that can be called."""
    found: dict[str, Named] = {}
    for module, names in public_modules():
        for name in names:
            value = getattr(module, name)
            if inspect.isclass(value):
                constructor = constructor_of(value)
                if constructor is not None or not issubclass(value, BaseException):
                    found[name] = Named(name, value, constructor)
                for base, method, function in methods_of(value):
                    declared = declared_in(class_node(base).body, method)
                    path = f"{base.__name__}.{method}"
                    found[path] = Named(path, getattr(function, "__func__", function), declared)
            elif inspect.isroutine(value):
                found[name] = Named(name, value, declared_in(tree_of(value.__module__).body, name))
    return found
