"""SHA-1 of one block, in its portable form and by instructions of the processor, which excludes the other."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("Cython")

ROOT = Path(__file__).parents[2]
MAX_LEN = 55  # of a message in one block
MODULE = '''
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from slimcap.abi.sha1_cpu cimport sha1_cpu, sha1_cpu_found
from slimcap.packet.headers.sha1 cimport pad, sha1_portable


def digest(bytes message, bint portable):
    """Return the digest, or None if the processor has no instructions for it."""
    cdef uint8_t block[64]
    cdef uint8_t found[20]
    memset(block, 0, 64)
    memcpy(block, <const uint8_t*> message, len(message))
    pad(block, <unsigned> len(message))
    if portable:
        sha1_portable(block, found)
    elif sha1_cpu_found():
        sha1_cpu(block, found)
    else:
        return None
    return found[:20]
'''


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return a module with both forms."""
    folder = tmp_path_factory.mktemp("sha1")
    (folder / "forms.pyx").write_text(MODULE)
    library = folder / f"forms{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = f"-I{sysconfig.get_path('include')}"
    for command in (
        [sys.executable, "-m", "cython", "-3", "-I", str(ROOT), "forms.pyx"],
        ["gcc", "-O1", "-w", "-shared", "-fPIC", include, "forms.c", "-o", str(library)],
    ):
        subprocess.run(command, cwd=folder, check=True, timeout=120)
    spec = importlib.util.spec_from_file_location("forms", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("portable", [True, False], ids=["portable", "instructions"])
def test_digests_of_messages_of_each_length(compiled: ModuleType, portable: bool) -> None:
    if compiled.digest(b"", portable) is None:
        pytest.skip("this processor has no instructions for SHA-1")
    pattern = bytes((37 * index + 201) % 256 for index in range(MAX_LEN))
    for size in range(MAX_LEN + 1):
        for message in (pattern[:size], bytes(size), b"\xff" * size):
            assert compiled.digest(message, portable) == hashlib.sha1(message).digest(), (size, message)
