"""Other programs that tests compare with: tshark, tcpdump, editcap, compressors."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".pytest_cache" / "peers"  # removed by `pytest --cache-clear`


def peer_environment() -> dict[str, str]:
    """Return the environment for other programs: some hang when libasan is preloaded."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def run_peer(
    *command: str | Path,
    reads: Sequence[Path] | None = None,
    stdin: bytes = b"",
    timeout: float = 60,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run another program; fail with what it wrote to stderr.

    Parameters
    ----------
    *command : str or Path
        The program and its arguments.
    reads : sequence of Path, optional
        All files that the program reads. The result is then cached by the content of these files, `stdin`,
        the arguments and the build of the program. Pass it only if the program writes nothing but stdout and
        stderr, and no file names there. Default: run the program.
    stdin : bytes, default: empty
    timeout : float, default: 60
        Seconds until the program is killed, and `subprocess.TimeoutExpired` raised.
    check : bool, default: True
        Fail if the program's exit status is not 0.

    Returns
    -------
    subprocess.CompletedProcess
        With stdout and stderr as bytes.
    """
    arguments = [str(part) for part in command]
    cached = None if reads is None else CACHE / _key(arguments, reads, stdin)
    done = None if cached is None else _load(cached, arguments)
    if done is None:
        done = subprocess.run(
            arguments, input=stdin, capture_output=True, timeout=timeout, check=False, env=peer_environment()
        )
        if cached is not None:
            _store(cached, done)
    if check:
        assert done.returncode == 0, (
            f"{' '.join(arguments)} exits with {done.returncode}: {done.stderr.decode(errors='replace')}"
        )
    return done


def _key(arguments: list[str], reads: Sequence[Path], stdin: bytes) -> str:
    """Return a hash of everything that the result depends on; files count by content, not by name."""
    contents = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in reads}
    parts = [_build_of(arguments[0]), *(contents.get(part, part) for part in arguments[1:])]
    parts += [*contents.values(), hashlib.sha256(stdin).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@functools.cache
def _build_of(program: str) -> str:
    """Identify a program's build without starting it: asking tshark for its version takes half a second."""
    path = os.path.realpath(shutil.which(program) or program)
    status = os.stat(path)
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _load(cached: Path, arguments: list[str]) -> subprocess.CompletedProcess[bytes] | None:
    try:
        status, stdout, stderr = json.loads(cached.read_text())
    except (OSError, ValueError):
        return None
    return subprocess.CompletedProcess(arguments, status, stdout.encode("latin-1"), stderr.encode("latin-1"))


def _store(cached: Path, done: subprocess.CompletedProcess[bytes]) -> None:
    """Write the result and rename it, so that parallel tests never read half of one."""
    with contextlib.suppress(OSError):  # a read-only checkout has no cache
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_suffix(f".{os.getpid()}")
        part.write_text(
            json.dumps([done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")])
        )
        part.replace(cached)
