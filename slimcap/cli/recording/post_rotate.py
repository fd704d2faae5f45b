"""`PostRotate`: a command that is run for each complete file of a recording."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
from collections import deque
from typing import Final

from slimcap.cli.terminal.streams import complain, reason

AT_ONCE: Final = 2
"""Maximum number of commands that run at the same time."""
PATIENCE: Final = 60.0
"""Seconds to wait at the end for commands that run, or have to be run."""

_POLL: Final = 0.02  # seconds between two looks at the commands at the end


class PostRotate:
    """Run a command for each file, with the path as its last argument. Files wait while AT_ONCE are running.

    The command has no shell, no standard input, and its own process group, so that Ctrl-C does not end it.
    The first failure is reported on standard error.

    Parameters
    ----------
    command : str
        Words of the command, which are split and unquoted as by a shell.

    Raises
    ------
    ValueError
        It is empty, or has a quote that does not end.
    """

    def __init__(self, command: str) -> None:
        self._words = shlex.split(command)
        if not self._words:
            raise ValueError("a command is required")
        self._waiting: deque[str] = deque()
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._failures = 0

    def add(self, path: str) -> None:
        """Run the command for a file as soon as possible."""
        self._waiting.append(path)
        self.poll()

    def poll(self) -> None:
        """Note which commands have ended, and start others."""
        for path, process in self._running:
            if process.poll():
                self._report(path, f"exit status {process.returncode}")
        self._running = [one for one in self._running if one[1].returncode is None]
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(self._waiting.popleft())

    def close(self, patience: float = PATIENCE) -> None:
        """Wait up to `patience` seconds until all commands have ended; report those that have not."""
        end = time.monotonic() + patience
        while (self._running or self._waiting) and time.monotonic() < end:
            time.sleep(_POLL)
            self.poll()
        for path, process in self._running:
            complain(f"--post-rotate {path}: still running after {patience:g} seconds, process {process.pid}")
        for path in self._waiting:
            complain(f"--post-rotate {path}: was not run")
        if self._failures > 1:
            complain(f"--post-rotate: failed for {self._failures} files")

    def _start(self, path: str) -> None:
        output = None
        with contextlib.suppress(AttributeError, OSError):  # standard output may be that of a pipeline
            output = sys.stderr.fileno()
        try:
            process = subprocess.Popen(
                [*self._words, path], stdin=subprocess.DEVNULL, stdout=output, process_group=0
            )
        except OSError as error:
            self._report(path, reason(error))
        else:
            self._running.append((path, process))

    def _report(self, path: str, problem: str) -> None:
        self._failures += 1
        if self._failures == 1:
            complain(f"--post-rotate {path}: {problem}; further failures are only counted")
