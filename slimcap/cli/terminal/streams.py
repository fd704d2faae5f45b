"""Standard output and standard error of the command, errors in writing, and tables for terminals."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from slimcap.io.text import valid_text


class OutputError(Exception):
    """The output cannot be written; without an argument, the message is that of the cause, an OSError."""

    def __str__(self) -> str:
        if self.args:
            return super().__str__()
        text = reason(self.__cause__)
        return text if getattr(self.__cause__, "filename", None) else f"write error: {text}"


@contextmanager
def writing() -> Iterator[None]:
    """Convert an OSError to an OutputError, to tell errors of the output from errors of the source."""
    try:
        yield
    except OSError as error:
        raise OutputError from error


def write(text: str) -> None:
    """Write to standard output and flush, so that live packets appear immediately; may raise OutputError."""
    with writing():
        if sys.stdout is None:  # standard output was closed when Python started
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        raw = getattr(sys.stdout, "buffer", None)
        if isinstance(raw, io.RawIOBase):
            sys.stdout.flush()
            _write_raw(raw, text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


def _write_raw(raw: io.RawIOBase, data: bytes) -> None:
    """Write all of the data to an unbuffered stream, as standard output is with PYTHONUNBUFFERED.

    A raw write may be partial, for instance after a signal: Python's text layer would lose the rest.
    """
    rest = memoryview(data)
    while rest:
        written = raw.write(rest)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        rest = rest[written:]


def rich_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str | None:
    """Format a table for the width of the terminal; the last `numbers` columns are right-aligned.

    Return None if standard output is not a terminal or rich is not installed: use plain text then.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    try:
        from rich import box, console, table, text
    except ImportError:
        return None
    grid = table.Table(box=box.SIMPLE_HEAD, show_edge=False)
    for index, name in enumerate(header):
        grid.add_column(name, justify="right" if index >= len(header) - numbers else "left")
    for row in rows:
        grid.add_row(*map(text.Text, row))  # a str may contain markup
    screen = console.Console()
    with screen.capture() as capture:
        screen.print(grid)
    return capture.get()


def complain(message: str) -> None:
    """Write a message to standard error, as a line that starts with the program name.

    It may contain file names, which must not control the terminal.
    """
    say(f"slimcap: {printable(message)}\n")


def say(text: str) -> None:
    """Write to standard error; do nothing if there is none or it cannot be written."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def printable(name: str) -> str:
    """Return a text with unprintable characters escaped: a name may contain nearly any bytes."""
    if name.isprintable():
        return name
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in valid_text(name))


def reason(error: BaseException | None) -> str:
    """Return the message of an exception, without Python's "[Errno 2]"."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


def drop_output() -> None:
    """Redirect standard output to the null device: flushing it at exit would fail again, or block."""
    with suppress(OSError, AttributeError):  # closed, or without a file descriptor
        target = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
