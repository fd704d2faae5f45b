"""Export a text that changes: over HTTP, or in a file that is replaced every few seconds.

A thread does it, so that neither a slow client nor a slow disk delays the capture. It never holds up the end
of the process.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from slimcap.cli.terminal.streams import complain, reason
from slimcap.io.atomic_file import PartialFile

WRITE_INTERVAL: Final = 5.0  # seconds between two versions of a file
_PATIENCE: Final = 2.0  # seconds to wait for the thread at the end


@contextmanager
def serving(port: int, text: Callable[[], str], content_type: str) -> Iterator[int]:
    """Answer HTTP requests for the text on 127.0.0.1.

    Parameters
    ----------
    port : int
        TCP port; 0: any that is free.
    text : callable
        Returns the text. It is called in another thread, and may raise OSError.
    content_type : str
        Its media type.

    Yields
    ------
    int
        The port.

    Raises
    ------
    OSError
        The port is not free, or this user may not listen on it.
    """
    from slimcap.cli.terminal.metrics_server import TextServer

    server = TextServer(port, text, content_type)
    ended = threading.Event()

    def answer() -> None:
        while not ended.is_set():
            server.handle_request()

    thread = threading.Thread(target=answer, name="slimcap metrics", daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        ended.set()
        thread.join(_PATIENCE)
        server.server_close()


@contextmanager
def writing_regularly(path: str, text: Callable[[], str], interval: float = WRITE_INTERVAL) -> Iterator[None]:
    """Replace a file by the current text: now, every few seconds, and at the end.

    Parameters
    ----------
    path : str
        The file. Readers see whole versions only.
    text : callable
        Returns the text. It is called in another thread, and may raise OSError.
    interval : float, default WRITE_INTERVAL
        Seconds.

    Raises
    ------
    OSError
        The file cannot be written now. Later errors are shown on standard error, once.
    """
    _replace(path, text())
    ended = threading.Event()
    thread = threading.Thread(
        target=_write_until, args=(ended, path, text, interval), name="slimcap metrics", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE)


def _write_until(ended: threading.Event, path: str, text: Callable[[], str], interval: float) -> None:
    """Write a version in each interval, and another one at the end."""
    has_failed = is_last = False
    while not is_last:
        is_last = ended.wait(interval)
        try:
            _replace(path, text())
        except OSError as error:
            if not has_failed:
                complain(f"metrics: {reason(error)}")
            has_failed = True


def _replace(path: str, text: str) -> None:
    file = PartialFile(path)
    try:
        if file.target == file.path:
            raise OSError(errno.EINVAL, "metrics require a regular file", path)
        with open(file.target, "w", encoding="utf-8") as out:
            out.write(text)
        file.finish()
    except BaseException:
        with suppress(OSError):
            file.discard()
        raise
