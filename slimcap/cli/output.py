"""What the command writes, and what if that cannot be written."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress


class OutputError(Exception):
    """Standard output takes no more; the cause is an OSError."""


def write(text: str) -> None:
    """Write to standard output, at once: what comes in live is seen live.

    Raises
    ------
    OutputError
        It is closed, full, or a pipe that nobody reads any more.
    """
    try:
        if sys.stdout is None:  # Python's way to say that it was closed from the start
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OutputError from error


def complain(message: str) -> None:
    """Write a line to standard error, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"slimcap: {message}", file=sys.stderr, flush=True)


def reason(error: BaseException | None) -> str:
    """What went wrong, without Python's "[Errno 2]"."""
    if isinstance(error, OSError) and error.strerror:
        return f"{'write error' if error.filename is None else error.filename}: {error.strerror}"
    return str(error)


def drop_output() -> None:
    """Let standard output lead nowhere: flushing it at exit would fail again, or block."""
    with suppress(OSError, AttributeError):  # closed, or no file
        target = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
