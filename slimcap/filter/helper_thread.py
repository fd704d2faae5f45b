"""Run a call that may block in a separate thread, and wait so that Ctrl-C interrupts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

_Result = TypeVar("_Result")

_SIGNAL_INTERVAL: Final = 0.05  # seconds


def run_in_thread(call: Callable[[], _Result], name: str) -> _Result:
    """Run a call in a new thread, and return its result or raise its exception.

    Python handles signals only in the main thread, between instructions. So a call that blocks in C cannot be
    interrupted there. If a signal handler raises during the wait, the thread continues, and its result is
    discarded.

    Parameters
    ----------
    call : callable
        Function without arguments.
    name : str
        Name of the thread.

    Returns
    -------
    object
        The result of `call`.
    """
    done = threading.Event()
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised by the caller
            errors.append(error)
        done.set()

    threading.Thread(target=run, name=name, daemon=True).start()
    while not done.wait(_SIGNAL_INTERVAL):  # a signal that another thread received does not end the wait
        pass
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # with its traceback it would be a reference cycle
    return results.pop()
