"""Calls in threads and in forked processes."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from typing import Any


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

    def result(self, within: float = 10) -> Any:
        """What the call gave or raised."""
        self.join(within)
        assert not self.is_alive(), f"did not end within {within} s"
        if self._error is not None:
            raise self._error
        return self._value


def in_child(call: Callable[[], object]) -> str:
    """Run in a forked process; what it returned."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads of tests before may live
        pid = os.fork()
    if pid == 0:
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
