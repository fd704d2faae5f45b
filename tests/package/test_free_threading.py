"""On a free-threaded Python the methods of extension types lock their objects, and the GIL stays off."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.translation import translator_copy

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
MODULE = '''
cimport cython

def function(x):
    return x

class Plain:
    def method(self):
        return 1

cdef class Thing:
    cdef int n

    def __cinit__(self):
        self.n = 1

    def __dealloc__(self):
        self.n = 0

    def __len__(self):
        return self.n

    def locked(self):
        """Have a docstring."""
        with nogil:
            self.n = 2
        return [(lambda: n)() for n in range(self.n)]

    @property
    def value(self):
        return self.n

    @staticmethod
    def static(x):
        return x

    @classmethod
    def of_class(cls):
        return cls

    def generator(self):
        yield self.n

    def partly(self, other):
        with cython.critical_section(other):
            self.n = 3

    cdef int internal(self) except -1:
        return self.n
'''
# Switches to the translation for a free-threaded Python, whatever runs it.
TRANSLATE = """
import runpy, sys, sysconfig
sysconfig.get_config_vars()["Py_GIL_DISABLED"] = int(sys.argv.pop(1))
runpy.run_path("translate.py", run_name="__main__")
"""


def locked_functions(folder: Path, *, free_threaded: bool) -> set[str]:
    """Return the functions of MODULE whose C code begins a critical section."""
    pytest.importorskip("Cython")
    package = translator_copy(folder)
    (package / "thing.pyx").write_text(MODULE)
    output = package / "thing.c"
    command = [sys.executable, "-c", TRANSLATE, str(int(free_threaded)), "thing.d", f"thing.pyx={output}"]
    done = subprocess.run(command, cwd=package, timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    source = output.read_text()
    assert "Py_MOD_GIL_NOT_USED" in source
    found = set()
    for body in re.split(r"\n(?=static )", source):
        start = re.match(r"static .*?(\w+)\(", body)
        if start and "CriticalSection_Begin(&" in body:
            found.add(start[1])
    return found


def test_methods_lock_their_object(tmp_path: Path) -> None:
    found = locked_functions(tmp_path, free_threaded=True)
    wanted = {"__len__", "locked", "value", "partly"}
    assert {name for name in wanted if any(name in one for one in found)} == wanted
    excepted = ["__cinit__", "__dealloc__", "static", "of_class", "generator", "internal", "function"]
    assert [one for one in found if any(name in one for name in excepted)] == []


def test_with_the_gil_nothing_is_locked(tmp_path: Path) -> None:
    assert locked_functions(tmp_path, free_threaded=False) == set()


@pytest.mark.skipif(not FREE_THREADED, reason="this Python has a GIL")
def test_the_gil_stays_off() -> None:
    code = "import sys, slimcap, slimcap.mock, slimcap.sink.arrow; print(sys._is_gil_enabled())"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@pytest.mark.skipif(not FREE_THREADED, reason="this Python has a GIL")
def test_threads_do_not_count_references_to_packet_types() -> None:
    code = "import sys, slimcap; print({sys.getrefcount(kind) > 1 << 30 for kind in slimcap.PacketType})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("{True}", "")
