"""The layout that CONTRIBUTING.md draws: imports point one way, and meson lists what is there.

Imports are read off the text, Python and Cython alike. What is not understood fails a test: there are as many
statements as the words `import` and `cimport` occur in code.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import slimcap

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "slimcap"

# Each may import from those before it. "slimcap" is the package's own __init__: the public names.
LAYERS = ("errors", "abi", "wire", "packet", "filter", "source", "sink", "slimcap", "cli", "__main__")

# Methods may reach up, if they import when called: (file, module it imports).
REACHES_UP = {
    ("packet/batch.pyx", "slimcap.filter.match"),
    ("packet/batch.pyx", "slimcap.sink.arrow"),
    ("packet/batch.pyx", "slimcap.sink.frames"),
    ("source/base.pyx", "slimcap.sink.arrow"),
}

FILES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".pyi"})


class Import(NamedTuple):
    """An import statement."""

    file: Path
    line: int
    nested: bool  # in a function or an `if`
    word: str  # import or cimport
    module: str
    names: tuple[str, ...]  # what comes from it; none if the module itself is meant

    def __str__(self) -> str:
        place = f"{self.file.relative_to(ROOT)}:{self.line}"
        if self.names:
            return f"{place}: from {self.module} {self.word} {', '.join(self.names)}"
        return f"{place}: {self.word} {self.module}"


# Prefixes of a string are left in place: they are no word that matters.
STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""|' r"'''(?:\\.|[^\\])*?'''|" r'"(?:\\.|[^"\\\n])*"|' r"'(?:\\.|[^'\\\n])*'"
)
COMMENT_OR_STRING = re.compile(rf"#[^\n]*|{STRING.pattern}", re.S)
WORD = re.compile(r"\bc?import\b")
NAMES = r"\([^()]*\)|(?:[^\n;\\]|\\\n)+"
STATEMENT = re.compile(
    rf"(?:^|(?<=[;:]))[ \t]*"
    rf"(?:from[ \t]+(?P<module>[\w.]+)[ \t]+(?P<from_word>c?import)\b[ \t]*(?P<names>{NAMES})"
    rf"|(?P<word>c?import)[ \t]+(?P<modules>{NAMES}))",
    re.M,
)


def code_of(text: str) -> str:
    """The text with its strings and comments blanked, line by line."""
    return COMMENT_OR_STRING.sub(lambda match: "\n" * match[0].count("\n"), text)


def split(names: str) -> Iterator[str]:
    """The names in a list, without what they are called here."""
    for name in re.sub(r"[()\\]", " ", names).split(","):
        if name.strip():
            yield name.split()[0]


def imports_in(file: Path, text: str) -> list[Import]:
    """Every import statement of a file; one of several modules counts as several."""
    found = []
    code = code_of(text)
    matches = list(STATEMENT.finditer(code))
    assert len(matches) == len(WORD.findall(code)), f"{file}: an import was not understood"
    lines = code.splitlines()
    for match in matches:
        line = code.count("\n", 0, match.start()) + 1
        nested = not lines[line - 1].startswith(("from", "import", "cimport"))
        if match["module"]:
            names = tuple(split(match["names"]))
            found.append(Import(file, line, nested, match["from_word"], match["module"], names))
        else:
            for module in split(match["modules"]):
                found.append(Import(file, line, nested, match["word"], module, ()))
    return found


def all_imports() -> list[Import]:
    return [one for file in FILES for one in imports_in(file, file.read_text())]


def layer_of(module: str) -> str:
    """The layer of a module of this package: `slimcap.wire.ipv4` is of `wire`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "slimcap"


def layer_of_file(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return "slimcap" if parts == ("__init__",) else parts[0]


def targets(one: Import) -> Iterator[str]:
    """The modules of this package that a statement names, `from slimcap import errors` at its end."""
    if one.module == "slimcap" and one.names:
        for name in one.names:
            yield f"slimcap.{name}" if name in LAYERS else "slimcap"
    elif one.module.split(".")[0] == "slimcap":
        yield one.module


def is_upward(one: Import) -> bool:
    here = LAYERS.index(layer_of_file(one.file))
    return any(LAYERS.index(layer_of(target)) > here for target in targets(one))


def test_the_parser_knows_every_form_of_import() -> None:
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
def j(): s = 'import k' + "\\"import l"
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
    ]
    with pytest.raises(AssertionError, match="not understood"):
        imports_in(PACKAGE / "example.pyx", "x = 1 if y else import z")


def test_a_step_up_is_noticed() -> None:
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
    assert {"errors", "abi", "wire", "packet", "source", "slimcap", "cli"} <= set(map(layer_of_file, FILES))
    assert set(map(layer_of_file, FILES)) <= set(LAYERS), "a folder that has no place in the order"
    assert {file.suffix for file in FILES} == {".py", ".pyx", ".pxd", ".pyi"}
    without = {file for file in FILES if file.stat().st_size} - {one.file for one in imports}
    # A file that imports nothing is none that could not be read: it has no such word.
    assert not [file for file in without if WORD.search(code_of(file.read_text()))]
    assert not [file for file in without if file.suffix == ".pyx"]
    assert any(one.word == "cimport" and layer_of(one.module) == "wire" for one in imports)


def test_imports_point_one_way() -> None:
    imports = all_imports()
    assert sum(1 for one in imports for _ in targets(one)) > len(FILES)
    up = [one for one in imports if is_upward(one)]
    at_import = [str(one) for one in up if not one.nested]
    assert not at_import, "\n".join(at_import)
    found = {(str(one.file.relative_to(PACKAGE)), target) for one in up for target in targets(one)}
    assert found == REACHES_UP


def test_cimports_are_spelt_so_that_a_change_rebuilds() -> None:
    """Cython sees no dependency in `from slimcap.wire cimport ipv4`, and none in `from . cimport ipv4`.

    It does in `from slimcap.wire.ipv4 cimport check` and in `cimport slimcap.wire.ipv4 as ipv4`.
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


# ---- what is built and installed


def meson_lists(folder: Path) -> tuple[set[str], set[str]]:
    """The files that a folder's meson.build installs, and the modules that it builds."""
    text = re.sub(r"#[^\n]*", "", (folder / "meson.build").read_text())
    installed: set[str] = set()
    for arguments in re.findall(r"py\.install_sources\((.*?)\)", text, re.S):
        subdir = folder.relative_to(ROOT).as_posix()
        assert f"subdir: '{subdir}'" in arguments, f"{folder}: installed elsewhere"
        installed.update(re.findall(r"'([^']+\.\w+)'", arguments))
    built: set[str] = set()
    for modules in re.findall(r"foreach module : \[(.*?)\]", text, re.S):
        built.update(re.findall(r"'(\w+)'", modules))
    built.update(re.findall(r"py\.extension_module\(\s*'(\w+)'", text))
    return installed, built


def folders() -> list[Path]:
    return sorted({file.parent for file in FILES})


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_meson_installs_and_builds_what_is_there(folder: Path) -> None:
    installed, built = meson_lists(folder)
    there = {file for file in FILES if file.parent == folder}
    assert there
    sources = {file.name for file in there if file.suffix != ".pyx"} | (
        {"py.typed"} if folder == PACKAGE else set()
    )
    assert installed == sources
    assert built == {file.stem for file in there if file.suffix == ".pyx"}


def test_meson_enters_every_folder() -> None:
    text = (PACKAGE / "meson.build").read_text()
    entered = {PACKAGE / name for name in re.findall(r"subdir\('(\w+)'\)", text)}
    assert entered == set(folders()) - {PACKAGE}


def test_every_compiled_module_has_a_stub() -> None:
    modules = [file for file in FILES if file.suffix == ".pyx"]
    assert modules
    for module in modules:
        assert module.with_suffix(".pyi").exists(), f"{module} has no stub"
        assert module.with_suffix(".pyi").name in meson_lists(module.parent)[0]


def test_one_version() -> None:
    stated = re.search(r"^\s*version: '([^']+)'", (ROOT / "meson.build").read_text(), re.M)
    assert stated is not None
    assert slimcap.__version__ == importlib.metadata.version("slimcap") == stated[1]
