"""Compile the C and Cython programs in c/.

Each is compiled once: a product is kept, in a folder named after the hash of what it was made from.
"""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

import common
from common import CC, HERE, Unavailable

C_SOURCES = HERE / "c"
C_FLAGS = ["-O3", "-Wall", "-Wextra", "-Werror"]


def build_c(name: str, folder: Path, *libraries: str) -> Path:
    """Compile c/<name>.c and return the program."""
    source = C_SOURCES / f"{name}.c"
    return _build(source, name, folder, [*C_FLAGS, str(source), *(f"-l{library}" for library in libraries)])


def build_c_library(name: str, folder: Path) -> Path:
    """Compile c/<name>.c and return the shared library, for ctypes."""
    source = C_SOURCES / f"{name}.c"
    return _build(source, f"lib{name}.so", folder, [*C_FLAGS, "-shared", "-fPIC", str(source)])


def build_cython(name: str, folder: Path) -> Path:
    """Compile c/<name>.pyx and return the extension module; see `add_to_path`."""
    source = C_SOURCES / f"{name}.pyx"
    include = f"-I{sysconfig.get_path('include')}"
    flags = ["-O3", "-DNDEBUG", "-shared", "-fPIC", include]
    return _build(source, f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}", folder, flags)


def add_to_path(module: Path) -> None:
    """Let this process and its children import an extension module."""
    folder = str(module.parent)
    sys.path.append(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


def _build(source: Path, name: str, folder: Path, flags: Sequence[str]) -> Path:
    """Compile with these flags, unless the same was compiled before."""
    key = _key([source, *C_SOURCES.glob("*.h"), Path(__file__)], flags)
    product = folder / "build" / key / name
    if not product.exists():
        product.parent.mkdir(parents=True, exist_ok=True)
        unfinished = product.with_suffix(f".{os.getpid()}")
        if source.suffix == ".pyx":
            made = product.parent / f"{source.stem}.c"  # Cython names the module after this file
            _run([sys.executable, "-m", "cython", "-o", str(made), str(source)])
            flags = [*flags, str(made)]
        _run([CC, "-o", str(unfinished), *flags])
        unfinished.replace(product)
    return product


def _key(files: Iterable[Path], flags: Sequence[str]) -> str:
    """Hash the files, the flags and the versions of what compiles."""
    versions = (common.compiler(), common.version_of("Cython"), sys.version)
    digest = hashlib.sha256(repr((versions, flags)).encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unavailable(f"{error.filename} is not installed") from None
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line.lower()), done.stderr)
        raise Unavailable(f"it does not compile: {_without_folders(first.strip())}")


def _without_folders(text: str) -> str:
    return re.sub(r"\S*/", "", text)
