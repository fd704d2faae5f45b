"""A terminal of a test's own, for a command to write to."""

from __future__ import annotations

import os
import re
import select
import termios
import time

from support.cli import PATIENCE


class Screen:
    """A terminal, for a program to write to."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (24, 80))
        self.text = b""

    def until(self, pattern: bytes) -> re.Match[bytes]:
        """Take in what is written until it has a pattern in it."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, self.text
            if select.select([self._ours], [], [], 0.1)[0]:
                self.text += os.read(self._ours, 1 << 16)
        return found

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)
