"""Imports point one way, as CONTRIBUTING.md draws the layers, and are spelt so that a change rebuilds."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "slimcap"

# Each may import from those before it. "slimcap" is the package's own __init__: the public names.
LAYERS = (
    *("errors", "option_set", "abi", "wire", "packet", "flow", "filter", "io", "capfile", "source", "sink"),
    *("mock", "slimcap", "cli", "__main__"),
)
MAX_MODULES = 15  # in a folder; `wire` has one for each protocol

# Methods may import from a later layer when they are called: (file, module that it imports).
DEFERRED = {
    ("flow/flow_batch.py", "slimcap.sink.arrow"),
    ("flow/flow_batch.py", "slimcap.sink.dataframes"),
    ("flow/flow_batch.py", "slimcap.sink.nfstream_names"),
    ("packet/batch.pyx", "slimcap.filter.matcher"),
    ("packet/batch.pyx", "slimcap.sink.arrow"),
    ("packet/batch.pyx", "slimcap.sink.dataframes"),
    ("packet/link.py", "slimcap.source.live"),
    ("packet/link.py", "slimcap.source.live.host.net_namespace"),
    ("source/base.pyx", "slimcap.sink.arrow"),
}

BUILD_ONLY = PACKAGE / "translate.py"  # run by the build, and not installed
FILES = sorted(
    path
    for path in PACKAGE.rglob("*")
    if path.suffix in {".py", ".pyx", ".pxd", ".pyi"} and path != BUILD_ONLY
)


class Import(NamedTuple):
    """An import statement of one module."""

    file: Path
    line: int
    nested: bool  # indented, or after a colon
    word: str  # import or cimport
    module: str  # with a dot for each level if it is relative
    names: tuple[str, ...]  # imported from the module; empty for the module itself

    def __str__(self) -> str:
        place = f"{self.file.relative_to(ROOT)}:{self.line}"
        if self.names:
            return f"{place}: from {self.module} {self.word} {', '.join(self.names)}"
        return f"{place}: {self.word} {self.module}"


SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.STRING}


def statements(text: str) -> Iterator[tuple[int, bool, list[str]]]:
    """Yield line, nesting and words of each simple statement."""
    words: list[str] = []
    line, nested, is_new_line = 0, False, True
    # Cython's tokens are Python's, but for `?` and the suffixes of integers.
    text = re.sub(r"\?|\b(0x[0-9A-Fa-f]+|\d+)[ULul]+\b", "0", text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in SKIPPED:
            continue
        if is_new_line:
            nested = token.start[1] > 0
        is_new_line = token.type == tokenize.NEWLINE
        if is_new_line or token.string in (";", ":"):
            if words:
                yield line, nested, words
            words = []
            nested |= token.string == ":"
        else:
            line = line if words else token.start[0]
            words.append(token.string)


def imports_in(file: Path, text: str) -> list[Import]:
    """Return every import of a file; a statement with several modules counts as several."""
    found = []
    for line, nested, words in statements(text):
        if not {"import", "cimport"} & set(words):
            continue
        assert words[0] in ("from", "import", "cimport"), f"{file}:{line}: an import was not understood"
        word = "cimport" if "cimport" in words else "import"
        (node,) = ast.parse(" ".join("import" if word == "cimport" else word for word in words)).body
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.append(Import(file, line, nested, word, module, tuple(name.name for name in node.names)))
        elif isinstance(node, ast.Import):
            found += [Import(file, line, nested, word, name.name, ()) for name in node.names]
    return found


def all_imports() -> list[Import]:
    return [one for file in FILES for one in imports_in(file, file.read_text())]


def layer_of(module: str) -> str:
    """Return the layer of a module of this package: `wire` for `slimcap.wire.ipv4`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "slimcap"


def layer_of_file(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return "slimcap" if parts == ("__init__",) else parts[0]


def targets(one: Import) -> Iterator[str]:
    """Yield the modules of this package that a statement imports."""
    if one.module == "slimcap" and one.names:
        for name in one.names:
            yield f"slimcap.{name}" if name in LAYERS else "slimcap"
    elif one.module.split(".")[0] == "slimcap":
        yield one.module


def is_upward(one: Import) -> bool:
    here = LAYERS.index(layer_of_file(one.file))
    return any(LAYERS.index(layer_of(target)) > here for target in targets(one))


def test_every_form_of_import_is_parsed() -> None:
    text = '''"""from slimcap.cli import main"""
import a, b.c as d  # import comments
from x.y cimport (  # why
    P,
    Q as R,
)
if True: import e
try:
    from .z import f, \\
        g
except ImportError: pass
cimport cython; from h import i
cdef int j() except? -1: s = 'import k' + "\\"import l"
from . cimport m
'''
    found = imports_in(PACKAGE / "example.pyx", text)
    assert [(one.line, one.nested, one.word, one.module, one.names) for one in found] == [
        (2, False, "import", "a", ()),
        (2, False, "import", "b.c", ()),
        (3, False, "cimport", "x.y", ("P", "Q")),
        (7, True, "import", "e", ()),
        (9, True, "import", ".z", ("f", "g")),
        (12, False, "cimport", "cython", ()),
        (12, False, "import", "h", ("i",)),
        (14, False, "cimport", ".", ("m",)),
    ]
    with pytest.raises(AssertionError, match="not understood"):
        imports_in(PACKAGE / "example.pyx", "x = 1 if y else import z")


def test_python_files_have_the_imports_that_ast_finds() -> None:
    """The one parser for Python and Cython agrees with Python's own, where that can read a file."""
    files = [file for file in FILES if file.suffix in {".py", ".pyi"}]
    assert len(files) > 20
    for file in files:
        nodes = [
            node
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        expected = [
            (node.lineno, name)
            for node in nodes
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names])
        ]
        found = [(one.line, one.module) for one in imports_in(file, file.read_text())]
        assert sorted(found) == sorted(expected), file


def test_an_upward_import_is_found() -> None:
    def upward(file: str, text: str) -> bool:
        return any(map(is_upward, imports_in(PACKAGE / file, text)))

    assert upward("packet/batch.pyx", "from slimcap.source.base cimport Source")
    assert upward("wire/ipv4.pxd", "cimport slimcap.packet.record as record")
    assert upward("packet/build.py", "from slimcap import Packet")
    assert upward("errors.py", "from slimcap import packet")
    assert not upward("cli/main.py", "import slimcap\nfrom slimcap.errors import SlimcapError")
    assert not upward("packet/batch.pyx", "from slimcap import errors\nfrom slimcap.packet.view cimport View")


def test_every_file_was_parsed() -> None:
    imports = all_imports()
    assert {layer_of_file(one.file) for one in imports} == {layer_of_file(file) for file in FILES}
    assert {"errors", "abi", "wire", "packet", "io", "capfile", "source", "slimcap", "cli"} <= set(
        map(layer_of_file, FILES)
    )
    assert set(map(layer_of_file, FILES)) <= set(LAYERS), "a folder without a place in the order"
    assert {file.suffix for file in FILES} == {".py", ".pyx", ".pxd", ".pyi"}
    without = {file for file in FILES if file.stat().st_size} - {one.file for one in imports}
    assert not [file for file in without if file.suffix == ".pyx"]
    assert any(one.word == "cimport" and layer_of(one.module) == "wire" for one in imports)


def test_imports_point_one_way() -> None:
    imports = all_imports()
    assert sum(1 for one in imports for _ in targets(one)) > len(FILES)
    up = [one for one in imports if is_upward(one)]
    at_import = [str(one) for one in up if not one.nested]
    assert not at_import, "\n".join(at_import)
    found = {(str(one.file.relative_to(PACKAGE)), target) for one in up for target in targets(one)}
    assert found == DEFERRED


def test_cimports_are_spelt_so_that_a_change_rebuilds() -> None:
    """Cython sees no dependency in `from slimcap.wire cimport ipv4` and `from . cimport ipv4`.

    It does in `from slimcap.wire.ipv4 cimport check` and `cimport slimcap.wire.ipv4 as ipv4`.
    """
    imports = all_imports()
    assert any(one.word == "cimport" and one.module.startswith("slimcap.") for one in imports)
    relative = [str(one) for one in imports if one.module.startswith(".")]
    assert not relative, "\n".join(relative)
    from_a_folder = [
        str(one)
        for one in imports
        if one.word == "cimport" and one.names and (ROOT / one.module.replace(".", "/")).is_dir()
    ]
    assert not from_a_folder, "\n".join(from_a_folder)


def test_each_module_name_occurs_once() -> None:
    folders: dict[str, set[Path]] = {}
    for file in FILES:
        if file.stem != "__init__":
            folders.setdefault(file.stem, set()).add(file.parent.relative_to(PACKAGE))
    assert len(folders) > 100
    assert {stem: found for stem, found in folders.items() if len(found) > 1} == {}


def test_no_folder_is_crowded() -> None:
    modules: dict[Path, set[str]] = {}
    for file in FILES:
        modules.setdefault(file.parent, set()).add(file.stem)
    assert len(modules) > 10
    crowded = {folder.name for folder, stems in modules.items() if len(stems - {"__init__"}) > MAX_MODULES}
    assert crowded == {"wire"}


def test_c_is_declared_in_abi_alone() -> None:
    declaring = {file for file in FILES if re.search(r"^ *cdef extern", file.read_text(), re.M)}
    assert declaring
    assert {file.parent.name for file in declaring} == {"abi"}


# ---- private names of the sources

DECLARED = re.compile(
    r"^\s*(?:cdef|cpdef|def)\b[^#=]*?\b(_[a-z]\w*)|\bself\.(_[a-z]\w*)\s*(?:,|=)", re.MULTILINE
)
USED = re.compile(r"(?<![\w.])(\w+(?:\.\w+)*)\.(_[a-z]\w*)")


def private_names(path: Path) -> set[str]:
    """Return the names with an underscore that a module and its declarations (.pxd) declare."""
    found: set[str] = set()
    for suffix in (".pxd", ".pyx", ".py"):
        file = path.with_suffix(suffix)
        if file.exists():
            for line in file.read_text().splitlines():
                found |= {name for pair in DECLARED.findall(line) for name in pair if name}
                if line.lstrip().startswith("cdef"):  # several on a line
                    found |= set(re.findall(r"(?<![\w.])(_[a-z]\w*)", line.partition("#")[0]))
    return found


def modules_in(folder: Path) -> set[Path]:
    return {path.with_suffix("") for path in folder.rglob("*") if path.suffix in {".pyx", ".pxd", ".py"}}


def accesses_across_modules(folder: Path, lower: Iterable[Path] = ()) -> list[str]:
    """Return the accesses to a private name of an object of another module of the folder.

    Names that lower layers have, too, are left out: an object of these may be meant.
    """
    modules = modules_in(folder)
    below = set().union(*(private_names(module) for layer in lower for module in modules_in(layer)))
    names = {module: private_names(module) | below for module in modules}
    found = []
    for module in sorted(modules):
        others = set().union(*(theirs for other, theirs in names.items() if other != module)) - names[module]
        for suffix in (".pyx", ".py"):
            file = module.with_suffix(suffix)
            for number, line in enumerate(file.read_text().splitlines() if file.exists() else (), 1):
                for owner, name in USED.findall(line.partition("#")[0]):
                    if owner not in ("self", "cls") and name in others:
                        found.append(f"{file.relative_to(ROOT)}:{number}: {owner}.{name}")
    return found


def test_sources_access_no_private_name_of_another_module() -> None:
    lower = [PACKAGE / layer for layer in LAYERS[2 : LAYERS.index("source")]]
    assert accesses_across_modules(PACKAGE / "source", lower) == []


def test_access_to_a_private_name_of_another_module_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "ring.pxd").write_text("cdef class Ring:\n    cdef int* _lent, _mapped  # bytes\n")
    (tmp_path / "ring.pyx").write_text(
        "cdef class Ring:\n    cdef int f(self):\n        return other._lent\n"
    )
    (tmp_path / "source.pyx").write_text(
        "cdef class Source:\n    cdef int _own\n    cdef f(self):\n"
        "        return self._mapped + self._ring._mapped + other._own + value._replace(x=1)\n"
    )
    assert accesses_across_modules(tmp_path) == ["source.pyx:4: self._ring._mapped"]
