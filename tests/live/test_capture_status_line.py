"""The status line of `slimcap capture`."""

from __future__ import annotations

import os
import re
import select
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.capture_command import (
    StartCapture,
    numbered_frames,
    totals,
)
from support.cli import PATIENCE, environment
from support.netns import Veth

ERASED = b"\r\x1b[1A\x1b[2K"  # one line up, which is erased
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


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


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def test_status_line_shows_rates(veth: Veth, capture: StartCapture, screen: Screen, tmp_path: Path) -> None:
    running = capture("-w", tmp_path / "out.pcap", stderr=screen.theirs, env=environment())
    screen.until(b"listening on right")
    veth.send(numbered_frames(veth, 1234))
    status = screen.until(rb"0 dropped, 1,234 packets, \d+\.\d k?packets/s, \d+\.\d k?bit/s")
    screen.until(rb"0 dropped, 1,234 packets, 0\.0 packets/s, 0\.0 bit/s")
    running.interrupt()
    screen.until(rb"dropped by kernel\r\n")
    assert screen.text.endswith(ERASED + totals(1234).replace("\n", "\r\n").encode())
    assert running.process.wait(PATIENCE) == 0
    assert len(status[0]) < 80
    assert SHOW_CURSOR in screen.text[screen.text.rindex(HIDE_CURSOR) :]


def test_status_line_is_truncated_to_the_terminal(
    veth: Veth, capture: StartCapture, screen: Screen, tmp_path: Path
) -> None:
    termios.tcsetwinsize(screen.theirs, (24, 20))
    running = capture("-w", tmp_path / "out.pcap", stderr=screen.theirs, env=environment())
    screen.until("0 dropped, 0 packet…".encode())
    running.interrupt()
    assert running.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("options", [[], ["-w", "-"]])
def test_no_status_line_among_output_on_the_terminal(
    veth: Veth, capture: StartCapture, screen: Screen, options: list[str]
) -> None:
    running = capture(*options, stdout=screen.theirs, stderr=screen.theirs, env=environment())
    screen.until(b"listening on right")
    time.sleep(0.7)
    running.interrupt()
    screen.until(rb"dropped by kernel\r\n")
    assert b"\x1b" not in screen.text
    assert running.process.wait(PATIENCE) == 0
