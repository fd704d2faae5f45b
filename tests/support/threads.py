"""Calls in threads and in forked processes."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LONGEST_CHILD = 20  # seconds


class Background(threading.Thread):
    """A call in a thread of its own, which a hanging test does not wait for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    def wait_until_blocked(self, within: float = 10) -> None:
        """Wait until the call waits for something: until its thread has not run for some milliseconds.

        A thread that waits for the GIL wakes every 5 ms (sys.getswitchinterval), so that it does not count.
        Returns also if the call has ended.
        """
        seen: list[list[str]] = []

        def is_blocked() -> bool:
            try:
                status = Path(f"/proc/self/task/{self.native_id}/status").read_text()
            except OSError:  # the thread has ended
                return True
            lines = status.splitlines()
            seen.append([line for line in lines if line.startswith("State:") or "ctxt_switches" in line])
            last = seen[-8:]
            return len(last) == 8 and last[0][0].split()[1] == "S" and last.count(last[0]) == 8

        wait_until(is_blocked, within)

    def result(self, within: float = 10) -> Any:
        """Return the result of the call, or raise its exception."""
        self.join(within)
        assert not self.is_alive(), f"did not end within {within} s"
        if self._error is not None:
            raise self._error
        return self._value


def wait_until(condition: Callable[[], object], within: float = 10) -> None:
    """Wait until `condition()` is true, polling every millisecond; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            name = getattr(condition, "__qualname__", None) or repr(condition)
            raise AssertionError(f"{name} was not true within {within} s")
        time.sleep(0.001)


def in_child(call: Callable[[], object]) -> str:
    """Run in a forked process, which is killed after 20 s; what it returned."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads of tests before may live
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LONGEST_CHILD)
        try:
            os.write(write_end, str(call()).encode())
        except BaseException as error:
            os.write(write_end, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said
