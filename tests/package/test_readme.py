"""README.md: its Python blocks and `slimcap` command lines run, in a folder with `tests/data`.

A comment before a block excludes it: `<!-- not run: reason -->`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SCRIPTS = sysconfig.get_path("scripts")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    line: int  # number of its first line in the page
    text: str
    not_run: str | None  # reason, if it is excluded


FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z")


def blocks_of(page: str) -> list[Block]:
    """Return all fenced blocks, in order."""
    found = []
    for match in FENCE.finditer(page):
        why = NOT_RUN.search(page, 0, match.start())
        line = page.count("\n", 0, match.start(2)) + 1
        found.append(Block(match[1], line, match[2], why and why[1]))
    return found


def commands_of(block: Block) -> list[str]:
    """Return the command lines of a block that call slimcap."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("slimcap ")]


BLOCKS = blocks_of(README.read_text())
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    (block, command)
    for block in BLOCKS
    if block.language in {"sh", "console"}
    for command in commands_of(block)
]


def skip_if_asked(block: Block) -> None:
    if block.not_run:
        pytest.skip(f"README.md says: {block.not_run}")


def test_blocks_and_commands_are_parsed() -> None:
    page = """Text
```sh
$ slimcap read \\
    a.pcap
output
slimcap read b.pcap
```
<!-- not run: needs root -->

```python
x = 1
```

```python
y = 2
```
"""
    sh, first, second = blocks_of(page)
    assert commands_of(sh) == ["slimcap read a.pcap", "slimcap read b.pcap"]
    assert first == Block("python", 11, "x = 1\n", "needs root")
    assert second == Block("python", 15, "y = 2\n", None)


def test_readme_has_blocks_to_run() -> None:
    assert [block for block in PYTHON if not block.not_run]
    assert [command for block, command in COMMANDS if not block.not_run]
    assert len(BLOCKS) == len(re.findall(r"^\s*```", README.read_text(), re.M)) / 2, "a block was not parsed"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary working directory with the samples at the same relative path as in the tree."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"line {block.line}")
def test_python_block_runs(block: Block, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skip_if_asked(block)
    # Empty lines before it, so that an error names its line in the page.
    code = compile("\n" * (block.line - 1) + block.text, README, "exec")
    exec(code, {"__name__": "readme"})
    assert "print(" not in block.text or capsys.readouterr().out


@pytest.mark.parametrize(("block", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_command_runs(block: Block, command: str, place: Path) -> None:
    skip_if_asked(block)
    assert (Path(SCRIPTS) / "slimcap").exists(), "the command is not installed"
    done = subprocess.run(
        command,
        shell=True,
        cwd=place,
        env={**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = [path for path in place.iterdir() if path.name != "tests"]
    assert done.stdout or written
    # The files of a split have a number after the name that the command gives.
    assert not written or any(re.split(r"-\d", path.name)[0] in command for path in written)
