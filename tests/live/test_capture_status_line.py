"""The status line of `slimcap capture`."""

from __future__ import annotations

import termios
import time
from pathlib import Path

import pytest

from support.capture_command import (
    StartCapture,
    numbered_frames,
    totals,
)
from support.cli import PATIENCE, environment
from support.netns import Veth
from support.screen import Screen

ERASED = b"\r\x1b[1A\x1b[2K"  # one line up, which is erased
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


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
