"""The rule for locks (slimcap/abi/lock.pxd): C code, from acquiring to releasing, and without the GIL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "slimcap"
COMPILED = sorted([*PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")])
FORBIDDEN = re.compile(r"\b(return|raise|with gil|acquire|PyMem_\w+|yield|try)\b")


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())


def faults_of(source: str) -> list[str]:
    """Return what is wrong with the locked sections of a module, and the number of sections as the last."""
    lines = source.splitlines()
    faults = []
    starts = [n for n, line in enumerate(lines) if re.match(r" +acquire\(", line)]
    for start in starts:
        if not _is_without_gil(lines, start):
            faults.append(f"line {start + 1}: acquired with the GIL")
        indent = indent_of(lines[start])
        end = start + 1
        while end < len(lines) and lines[end] != lines[start].replace("acquire", "release"):
            if FORBIDDEN.search(lines[end]) or (lines[end] and indent_of(lines[end]) < indent):
                faults.append(f"line {end + 1}: {lines[end].strip()!r} under a lock")
                break
            end += 1
    return [*faults, f"{len(starts)} sections"]


def _is_without_gil(lines: list[str], number: int) -> bool:
    """Return True if a line is in a block `with nogil`, or in a function that is `nogil`."""
    indent = indent_of(lines[number])
    for at in range(number - 1, -1, -1):
        line = lines[at]
        if not line.strip() or indent_of(line) >= indent:
            continue
        indent = indent_of(line)
        if line.strip() == "with nogil:":
            return True
        if re.match(r" *(cdef|def|cpdef) ", line) or line.rstrip().endswith(") noexcept nogil:"):
            return " ".join(lines[at : number + 1]).split('"""')[0].split(":\n")[0].count("nogil:") > 0
    return False


GOOD = """
cdef class C:
    def stats(self):
        with nogil:
            acquire(&self._lock)
            self.n += 1
            release(&self._lock)

    cdef int take(
            self, int n) noexcept nogil:
        acquire(&self._lock)
        n = self.n
        release(&self._lock)
        return n
"""


def test_faults_are_found() -> None:
    assert faults_of(GOOD) == ["2 sections"]
    assert faults_of(GOOD.replace("with nogil:", "if n:")) == [
        "line 5: acquired with the GIL",
        "2 sections",
    ]
    assert faults_of(GOOD.replace("noexcept nogil:", "noexcept:"))[0] == "line 11: acquired with the GIL"
    assert faults_of(GOOD.replace("n = self.n", "return n"))[0] == "line 12: 'return n' under a lock"
    assert len(faults_of(GOOD.replace("        release(&self._lock)\n        return", "        return"))) == 2


def test_locks_are_held_without_the_gil_by_c_code() -> None:
    found = {path: faults_of(path.read_text()) for path in COMPILED}
    assert sum(int(faults[-1].split()[0]) for faults in found.values()) > 10
    assert {path.name: faults[:-1] for path, faults in found.items() if len(faults) > 1} == {}


@pytest.mark.parametrize("name", ["PyThread_acquire_lock", "pthread_mutex", "PyMutex", "pymutex"])
def test_there_is_one_type_of_lock_in_c_code(name: str) -> None:
    assert {path.name for path in COMPILED if name in path.read_text()} <= {"lock.pxd"}
    assert len(COMPILED) > 90
