"""A program that has the whole terminal, as top(1): lines in place of earlier ones, and single keys."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

from slimcap.cli.terminal.streams import writing

# Alternate screen, hidden cursor, no line wrap (xterm's control sequences, DECSET 1049, 25 and 7).
_ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE: Final = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_REVERSE, _PLAIN = "\x1b[7m", "\x1b[m"

_SEQUENCE: Final = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O?.|)")  # what other keys send, such as arrows

_PATIENCE: Final = 1.0  # seconds to wait at the end for a terminal with a slow connection
_LOCAL_MODES, _CONTROL_KEYS = 3, 6  # indices into what tcgetattr returns


def is_possible() -> bool:
    """Return True if standard input and output are a terminal that knows control sequences."""
    streams = (sys.stdin, sys.stdout)
    is_terminal = all(stream is not None and stream.isatty() for stream in streams)
    return is_terminal and os.environ.get("TERM", "dumb") != "dumb"


class FullScreen:
    """The terminal, from entering the context to leaving it; afterwards it is as it was.

    Nothing waits for the terminal: lines that it does not accept, since it is stopped by Ctrl-S or its
    connection is slow, are written later, or replaced by newer ones. Ctrl-Z takes effect in `keys`.
    """

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._encoding = sys.stdout.encoding
        self._output = -1
        self._modes: list[Any] = []
        self._entered = False
        self._suspending = False
        self._unwritten = b""  # the rest of lines of which a part was written
        self._next = b""

    def __enter__(self) -> Self:
        sys.stdout.flush()
        self._modes = termios.tcgetattr(self._input)
        self._output = _opened_again(sys.stdout.fileno())
        self._previous = signal.signal(signal.SIGTSTP, self._note)
        try:
            self._enter()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        signal.signal(signal.SIGTSTP, self._previous)
        os.close(self._output)

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines; what a terminal without a size has by custom is 80 x 24."""
        columns, lines = os.get_terminal_size(self._output)
        return os.terminal_size((columns or 80, lines or 24))

    def show(self, lines: Sequence[str], *, reverse: int = 0) -> None:
        """Show lines, truncated to the screen, instead of those before; highlight line number `reverse`."""
        columns, height = self.size
        cut = [line[:columns] for line in lines[:height]]
        if reverse < len(cut):
            cut[reverse] = f"{_REVERSE}{cut[reverse].ljust(columns)}{_PLAIN}"
        text = _HOME + "\r\n".join(line + _CLEAR_LINE for line in cut) + _CLEAR_BELOW
        self._next = text.encode(self._encoding, "backslashreplace")
        self._write()

    def keys(self) -> str:
        """Return the keys that were pressed, without waiting; "q" if the terminal has gone.

        Continues the output, and suspends the process if Ctrl-Z was pressed: then it returns "\\f" (Ctrl-L),
        for the lines have to be shown again.
        """
        if self._suspending:
            self._suspend()
            return "\f"
        self._write()
        if not select.select([self._input], [], [], 0)[0]:
            return ""
        with writing():
            pressed = os.read(self._input, 256)
        if not pressed:
            return "q"
        return _SEQUENCE.sub(b"", pressed).decode("ascii", "ignore")

    def leave(self) -> None:
        """Restore the terminal, at any time; does nothing if that was done."""
        if not self._entered:
            return
        self._entered = False
        self._unwritten = self._next = b""
        with suppress(OSError, termios.error):
            # Else the terminal is the shell's, which has set its own modes.
            if os.tcgetpgrp(self._input) == os.getpgrp():
                termios.tcsetattr(self._input, termios.TCSANOW, self._modes)
                for action in (termios.TCOOFF, termios.TCOON):  # the latter alone does not undo a Ctrl-S
                    termios.tcflow(self._input, action)
        with suppress(OSError):
            if select.select([], [self._output], [], _PATIENCE)[1]:
                os.write(self._output, _LEAVE)

    def _enter(self) -> None:
        """Let keys be read as they are pressed, and not shown; Ctrl-C and Ctrl-Z still send signals."""
        modes = [*self._modes[:_CONTROL_KEYS], [*self._modes[_CONTROL_KEYS]]]
        modes[_LOCAL_MODES] &= ~(termios.ECHO | termios.ICANON)
        modes[_CONTROL_KEYS][termios.VMIN], modes[_CONTROL_KEYS][termios.VTIME] = 1, 0
        modes[_CONTROL_KEYS][termios.VQUIT] = b"\0"  # Ctrl-\ would kill the process, and leave these modes
        self._entered = True
        termios.tcsetattr(self._input, termios.TCSANOW, modes)
        self._unwritten = _ENTER
        self._write()

    def _write(self) -> None:
        """Write as much as the terminal accepts."""
        with writing():
            while self._unwritten or self._next:
                if not self._unwritten:
                    self._unwritten, self._next = self._next, b""
                try:
                    written = os.write(self._output, self._unwritten)
                except BlockingIOError:
                    return
                self._unwritten = self._unwritten[written:]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._suspending = True

    def _suspend(self) -> None:
        """Restore the terminal, stop the process, and take the terminal again once it continues."""
        self._suspending = False
        self.leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)
        self._enter()


def _opened_again(output: int) -> int:
    """Open the terminal of a descriptor again, so that only we do not wait for it.

    O_NONBLOCK of the descriptor itself would apply to all programs that share it. Without permission to open
    it, as after su(1), return a copy of the descriptor.
    """
    try:
        return os.open(f"/proc/self/fd/{output}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return os.dup(output)
