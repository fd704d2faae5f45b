"""Translate the Cython modules of a folder to C. Run by the build; not installed.

    python translate.py DEPFILE MODULE.pyx=OUTPUT.c …

One process translates many modules, since starting Cython takes longer than translating most of them. A
module is translated only if its C file is older than one of the files it depends on. Cython's own depfiles
cannot be used for that: they omit `from package cimport module` and `from . cimport module`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from Cython.Build.Dependencies import create_dependency_tree
from Cython.Compiler.Main import CompilationOptions, compile_single

ROOT = Path(__file__).resolve().parents[1]
SHARED = "slimcap._cyutility"  # holds Cython's utility code (memoryviews …) for all modules
DIRECTIVES = {  # without freethreading_compatible: not tested on a free-threaded Python
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": True,
    "embedsignature": False,
    "auto_pickle": False,
}


def main(depfile: str, *pairs: str) -> int:
    tree = create_dependency_tree()
    inputs: set[str] = set()
    for source, output in (pair.split("=") for pair in pairs):
        needed = {os.path.abspath(path) for path in (__file__, *tree.all_dependencies(source))}
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
