"""Other programs that tests compare with: tshark, tcpdump, editcap, compressors."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

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

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            arguments, input=stdin, capture_output=True, timeout=timeout, check=False, env=peer_environment()
        )

    done = run() if reads is None else _run_once(run, CACHE / _key(arguments, reads, stdin))
    if check:
        assert done.returncode == 0, (
            f"{' '.join(arguments)} exits with {done.returncode}: {done.stderr.decode(errors='replace')}"
        )
    return done


@contextlib.contextmanager
def running_peer(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start another program, with a pipe from its stderr; kill it at the end."""
    none = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=none, stdout=none, stderr=subprocess.PIPE, text=True, env=peer_environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def listening_tcpdump(
    tcpdump: str, interface: str, path: Path, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """Have tcpdump capture into a file from now on; skip if it cannot."""
    to_file = ("-i", interface, "-w", path, "-U", "-n", "-Z", "root", "--immediate-mode")
    with running_peer(tcpdump, *to_file, *options) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening on" in line:
                break
            # It gives up privileges even as root, which `unshare -Ur` forbids.
            if "Couldn't change to" in line:
                pytest.skip(line.strip())
        else:
            pytest.fail(f"{tcpdump} does not listen on {interface}")
        yield process


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


def _run_once(
    run: Callable[[], subprocess.CompletedProcess[bytes]], cached: Path
) -> subprocess.CompletedProcess[bytes]:
    """Return the cached result, or run the program and cache it. Parallel tests wait for each other."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        file = cached.open("a+")
    except OSError:  # a read-only checkout has no cache
        return run()
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        try:
            arguments, status, stdout, stderr = json.load(file)
        except ValueError:  # empty, or a test was killed while it wrote
            done = run()
            file.truncate(0)
            json.dump(
                [done.args, done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")],
                file,
            )
            return done
    return subprocess.CompletedProcess(arguments, status, stdout.encode("latin-1"), stderr.encode("latin-1"))
