"""Translate the Cython modules of a folder to C. Run by the build; not installed.

    python translate.py DEPFILE MODULE.pyx=OUTPUT.c …

One process translates many modules, since starting Cython takes longer than translating most of them. A
module is translated only if its C file is older than one of the files it depends on. Cython's own depfiles
cannot be used for that: they omit `from package cimport module` and `from . cimport module`.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

from Cython.Build.Dependencies import create_dependency_tree
from Cython.Compiler import AutoDocTransforms, ParseTreeTransforms
from Cython.Compiler.ExprNodes import FirstArgumentForCriticalSectionNode
from Cython.Compiler.Main import CompilationOptions, compile_single
from Cython.Compiler.Nodes import CClassDefNode, CriticalSectionStatNode, DefNode
from Cython.Compiler.StringEncoding import EncodedString
from Cython.Compiler.Visitor import TreeVisitor

ROOT = Path(__file__).resolve().parents[1]

# Import option sets from the tree: without its `__init__` files, which import compiled modules, without the
# finder of an editable install, which starts the build, and without leaving bytecode there.
for package in ("slimcap", "slimcap.filter", "slimcap.flow"):
    sys.modules[package] = ModuleType(package)
    sys.modules[package].__path__ = [str(ROOT / package.replace(".", "/"))]
sys.meta_path = [finder for finder in sys.meta_path if isinstance(finder, type)]
sys.dont_write_bytecode = True
option_set = importlib.import_module("slimcap.option_set")

SHARED = "slimcap._cyutility"  # holds Cython's utility code (memoryviews …) for all modules
DIRECTIVES = {
    "language_level": 3,
    "freethreading_compatible": True,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": True,
    "embedsignature": False,
    "embedsignature.format": "clinic",  # for ConstructorSignatures
    "auto_pickle": False,
}
SIGNATURE_END = "\n--\n\n"


class ConstructorSignatures(AutoDocTransforms.EmbedSignature):  # type: ignore[misc]
    """Start the docstring of each extension type with the signature of its constructor.

    CPython makes the type's `__text_signature__` of it, which `inspect.signature` and `help` show. Cython's
    own transform writes such signatures for functions only; ours have one anyway, by the directive `binding`.
    Defaults must be literals: Python cannot look up the name of a C constant. The options of a set
    (option_set.py) are listed in the signature and in the docstring.
    """

    def visit_DefNode(self, node: DefNode) -> DefNode:
        constructor = node.name in ("__cinit__", "__init__") and isinstance(self.class_node, CClassDefNode)
        options = declared_options(node) if constructor and node.starstar_arg else None
        if constructor and (options or not node.starstar_arg) and not node.star_arg:
            scope = self.class_node.entry.type.scope
            doc = (scope.doc or "").rpartition(SIGNATURE_END)[2]  # `__init__` after `__cinit__`
            if options:
                doc = option_set.with_entries(doc, options)
            scope.doc = EncodedString(self.signature(node, options) + SIGNATURE_END + doc)
        return node

    def signature(self, node: DefNode, options: type | None) -> str:
        self._setup_format()
        positional = len(node.args) - node.num_kwonly_args - 1  # without `self`
        arguments = self._fmt_arglist(
            node.args, npargs=positional, nkargs=node.num_kwonly_args, hide_self=True
        )
        if options:
            arguments += [] if node.num_kwonly_args else ["*"]
            declared = option_set.options_of(options).items()
            arguments += [f"{name}={option.default!r}" for name, option in declared]
        return f"{self.class_name}({', '.join(arguments)})"


class LockedMethods(ParseTreeTransforms.AdjustDefByDirectives):  # type: ignore[misc]
    """On a free-threaded Python, let each Python method of an extension type lock its object.

    A method runs as if under `@cython.critical_section`, so code that needs the GIL for the consistency of
    one object has the object's lock in its place: other threads wait until the method returns, or until it
    gives up the lock as it would give up the GIL, in `with nogil` and whenever Python waits. Excepted are
    methods without an instance, methods around an object's life, which no other thread can call, generators,
    and methods that name the objects to lock themselves, by `with cython.critical_section(…)`.
    """

    EXCEPTED = frozenset({"__cinit__", "__dealloc__", "__del__"})
    in_extension_type = False

    def visit_CClassDefNode(self, node: CClassDefNode) -> CClassDefNode:
        self.in_extension_type = True
        node = super().visit_CClassDefNode(node)
        self.in_extension_type = False
        return node

    def visit_FuncDefNode(self, node: DefNode) -> DefNode:
        if isinstance(node, DefNode) and self.is_to_lock(node):
            first = FirstArgumentForCriticalSectionNode(node.pos, func_node=node)
            node.body = CriticalSectionStatNode(node.pos, args=[first], body=node.body)
        outside, self.in_extension_type = self.in_extension_type, False
        node = super().visit_FuncDefNode(node)
        self.in_extension_type = outside
        return node

    def is_to_lock(self, node: DefNode) -> bool:
        if not self.in_extension_type or node.name in self.EXCEPTED:
            return False
        decorators = {getattr(decorator.decorator, "name", "") for decorator in node.decorators or ()}
        if decorators & {"staticmethod", "classmethod"}:
            return False
        found = Statements()
        found.visit(node.body)
        return not found.locks and not found.yields


class UnlockedMethods(ParseTreeTransforms.AdjustDefByDirectives):  # type: ignore[misc]
    """With a GIL, leave out `with cython.critical_section(…)`: it locks nothing, but costs time."""

    def visit_CriticalSectionStatNode(self, node: CriticalSectionStatNode) -> object:
        self.visitchildren(node)
        return node.body


class Statements(TreeVisitor):  # type: ignore[misc]
    """Finds what a function does itself, not the functions in it."""

    def __init__(self) -> None:
        super().__init__()
        self.locks = self.yields = False

    def visit_Node(self, node: object) -> None:
        self.visitchildren(node)

    def visit_CriticalSectionStatNode(self, node: object) -> None:
        self.locks = True

    def visit_YieldExprNode(self, node: object) -> None:
        self.yields = True

    def visit_FuncDefNode(self, node: object) -> None:
        pass

    visit_LambdaNode = visit_GeneratorExpressionNode = visit_FuncDefNode


def declared_options(node: DefNode) -> type | None:
    """Return the option set of a constructor with `**options: Unpack[…]`, from the module that it imports."""
    annotation = node.starstar_arg.annotation
    found = re.fullmatch(r"Unpack\[(\w+)\]", annotation.string.value if annotation else "")
    if found is None:
        return None
    text = Path(node.pos[0].filename).read_text()
    (module,) = re.findall(rf"^from (\S+) import .*\b{found[1]}\b", text, re.MULTILINE)
    options: type = getattr(importlib.import_module(module), found[1])
    return options


def option_files(source: str) -> list[Path]:
    """Return the files that declare options, if a module has some."""
    has_some = "Unpack[" in Path(source).read_text()
    return [ROOT / "slimcap/option_set.py", *ROOT.glob("slimcap/**/*_options.py")] if has_some else []


AutoDocTransforms.EmbedSignature = ConstructorSignatures
if not sysconfig.get_config_var("Py_GIL_DISABLED"):
    ParseTreeTransforms.AdjustDefByDirectives = UnlockedMethods
else:
    ParseTreeTransforms.AdjustDefByDirectives = LockedMethods
    # Do not warn that the locks do not protect Python attributes: other objects have their own.
    ParseTreeTransforms.GilCheck.visit_AttributeNode = ParseTreeTransforms.GilCheck.visit_Node


def main(depfile: str, *pairs: str) -> int:
    tree = create_dependency_tree()
    inputs: set[str] = set()
    for source, output in (pair.split("=") for pair in pairs):
        files = (__file__, *tree.all_dependencies(source), *option_files(source))
        needed = {os.path.abspath(path) for path in files}
        inputs |= needed
        if is_older(output, needed) and not translate(source, output):
            return 1
    names = " ".join(path.replace(" ", "\\ ") for path in sorted(inputs))
    Path(depfile).write_text(f"{pairs[0].split('=')[1]}: {names}\n")
    return 0


def is_older(output: str, inputs: set[str]) -> bool:
    """Return True if the output is missing, or not newer than all of the inputs."""
    try:
        written = os.stat(output).st_mtime_ns
    except FileNotFoundError:
        return True
    return any(os.stat(path).st_mtime_ns >= written for path in inputs)


def translate(source: str, output: str) -> bool:
    """Write the C file of a module; return False if there were errors, which Cython has printed."""
    path = Path(source).resolve()
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    options = CompilationOptions(
        compiler_directives=dict(DIRECTIVES), output_file=output, shared_utility_qualified_name=SHARED
    )
    if compile_single(str(path), options, name).num_errors:
        Path(output).unlink(missing_ok=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
