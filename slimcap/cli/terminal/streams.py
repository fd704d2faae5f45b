"""What the command writes, and what if that cannot be written."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class OutputError(Exception):
    """What we write to takes no more: a message says why, or the cause, an OSError."""

    def __str__(self) -> str:
        if self.args:
            return super().__str__()
        text = reason(self.__cause__)
        return text if getattr(self.__cause__, "filename", None) else f"write error: {text}"


@contextmanager
def writing() -> Iterator[None]:
    """Make an OSError an OutputError: what goes wrong in here is not the source's fault."""
    try:
        yield
    except OSError as error:
        raise OutputError from error


def write(text: str) -> None:
    """Write to standard output, at once: what comes in live is seen live.

    Raises
    ------
    OutputError
        It is closed, full, or a pipe that nobody reads any more.
    """
    with writing():
        if sys.stdout is None:  # Python's way to say that it was closed from the start
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        raw = getattr(sys.stdout, "buffer", None)
        if isinstance(raw, io.RawIOBase):
            sys.stdout.flush()
            _write_raw(raw, text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


def _write_raw(raw: io.RawIOBase, data: bytes) -> None:
    """Write all of it to what is not buffered, as with PYTHONUNBUFFERED.

    Python's text layer would lose what one call does not take, as when a signal comes in the middle.
    """
    rest = memoryview(data)
    while rest:
        written = raw.write(rest)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        rest = rest[written:]


def complain(message: str) -> None:
    """Write a line of ours to standard error."""
    say(f"slimcap: {message}\n")


def say(text: str) -> None:
    """Write to standard error, if there is one that takes it."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def printable(name: str) -> str:
    """A name as it can be shown: an interface may have nearly any bytes in it."""
    return name if name.isprintable() else repr(name)[1:-1]


def reason(error: BaseException | None) -> str:
    """What went wrong, without Python's "[Errno 2]"."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


def drop_output() -> None:
    """Let standard output lead nowhere: flushing it at exit would fail again, or block."""
    with suppress(OSError, AttributeError):  # closed, or no file
        target = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
