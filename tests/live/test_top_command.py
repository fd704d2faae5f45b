"""`slimcap top` on a veth pair: snapshots as text, and the display on a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cli import COMMAND, PATIENCE, environment
from support.netns import Veth
from support.threads import wait_until
from support.traffic import ethernet, udp

HOME, ENTER, LEAVE = b"\x1b[H", b"\x1b[?1049h", b"\x1b[?1049l"
ROW = re.compile(r" *([\d,]+)  +([\d,]+)  +([\d,]+)  +([\d,]+)  +[\d.]+  (.*)")
HEAD = re.compile(r"right  .* in ([\d.]+) s; 0 dropped, ([\d,]+) packets, ([\d,]+) bytes")
SMALL, LARGE = 62 + 4, 62 + 1004  # bytes of packets to port 5001 and to port 5002
FLOWS = {port: f"192.0.2.1:4000 => 192.0.2.2:{port} UDP" for port in (5001, 5002)}

Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run(veth: Veth) -> Iterator[Run]:
    """Starts `slimcap top` at the right end, and waits until it captures; kills it after the test."""
    with contextlib.ExitStack() as stack:

        def sockets() -> int:
            with veth.namespace.inside():
                lines = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
            return sum(line.split()[5] == "1" for line in lines)  # those that run

        def start(*args: str, command: tuple[str, ...] = (COMMAND, "top", "right"), **options: Any) -> Any:
            before = sockets()
            with veth.namespace.inside():
                process = subprocess.Popen([*command, *args], env=environment(), **options)
            stack.callback(process.wait)
            stack.callback(process.kill)
            wait_until(lambda: sockets() > before or process.poll() is not None, PATIENCE)
            return process

        yield start


def send(veth: Veth, small: int, large: int) -> None:
    """Send packets from port 4000 to the ports 5001 and 5002."""
    frames = [ethernet(udp(n, 20, 5001)) for n in range(small)]
    veth.send([*frames, *(ethernet(udp(n, 1020, 5002)) for n in range(large))])


def number(text: str) -> int:
    return int(text.replace(",", ""))


def snapshots(output: bytes) -> list[tuple[float, int, int, dict[str, list[int]]]]:
    """Return of each snapshot the length of the interval, packets, bytes, and the numbers by name."""
    found = []
    for text in output.decode().split("\n\n")[:-1]:
        head, _, _, *rows = text.splitlines()
        match = HEAD.fullmatch(head)
        assert match, head
        fields = [row for row in map(ROW.fullmatch, rows) if row]
        assert len(fields) == len(rows)
        numbers = {row[5]: [number(row[column]) for column in (1, 2, 3, 4)] for row in fields}
        found.append((float(match[1]), number(match[2]), number(match[3]), numbers))
    return found


@pytest.mark.parametrize("kind", ["flows", "hosts", "ports"])
def test_snapshots_have_rates_and_totals(veth: Veth, run: Run, kind: str) -> None:
    process = run("--batch", "5", "--interval", "0.4", "--by", kind, stdout=subprocess.PIPE)
    send(veth, 300, 50)
    time.sleep(0.5)
    send(veth, 10, 0)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    found = snapshots(output)
    assert len(found) == 5
    small, large = 310 * SMALL, 50 * LARGE
    assert found[-1][1:3] == (360, small + large)
    wanted = {
        "flows": {FLOWS[5001]: (small, 310), FLOWS[5002]: (large, 50)},
        "hosts": dict.fromkeys(("192.0.2.1", "192.0.2.2"), (small + large, 360)),
        "ports": {"UDP/5001": (small, 310), "UDP/5002": (large, 50)},
    }[kind]
    assert {name: tuple(row[2:]) for name, row in found[-1][3].items()} == wanted
    for name, (size, packets) in wanted.items():
        rates = [(seconds, rows[name]) for seconds, _, _, rows in found if name in rows]
        # Lengths are rounded to 10 ms, and rates to 1/s.
        assert sum(seconds * row[0] / 8 for seconds, row in rates) == pytest.approx(size, rel=0.03)
        assert sum(seconds * row[1] for seconds, row in rates) == pytest.approx(packets, rel=0.03, abs=1)


def test_rows_are_those_of_the_order(veth: Veth, run: Run) -> None:
    options = ("--batch", "1", "--interval", "60", "-c", "130", "--rows", "1")
    running = {
        order: run(*options, "--sort", order, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for order in ("rate", "bytes", "packets")
    }
    send(veth, 100, 30)
    for order, process in running.items():
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert errors.startswith(b"130 packets captured\n130 packets received by filter\n0 packets dropped")
        ((_, packets, size, rows),) = snapshots(output)
        assert (packets, size) == (130, 100 * SMALL + 30 * LARGE)
        assert list(rows) == [FLOWS[5001 if order == "packets" else 5002]]


def test_a_signal_prints_what_came_so_far(veth: Veth, run: Run) -> None:
    process = run("--batch", "9", "--interval", "60", "udp port 5001", stdout=subprocess.PIPE)
    send(veth, 7, 3)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert [one[1] for one in snapshots(output)] == [7]


def test_without_a_terminal_batch_is_required(veth: Veth, run: Run) -> None:
    process = run(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert b"use --batch N" in errors


# ---- on a terminal


# What a shell does: it runs the program in another process group, says when that stopped or ended, and
# continues it after a line. When the first process of a session ends, the kernel resets the terminal's modes.
SHELL = """
import os, signal, subprocess, sys

def take_terminal():
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = subprocess.Popen(sys.argv[1:], process_group=0, preexec_fn=take_terminal)
while True:
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print("stopped by", os.WSTOPSIG(status), flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, child.pid)
    os.killpg(child.pid, signal.SIGCONT)
print("ended with", os.waitstatus_to_exitcode(status), flush=True)
sys.stdin.readline()
"""


class Terminal:
    """A terminal on which `slimcap top` runs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ours, self._theirs = os.openpty()
        termios.tcsetwinsize(self._theirs, (24, 100))
        self.before = self.modes
        self.text = b""

    def start(self, *args: str) -> None:
        """Start the program, and wait for its first screen."""
        command = (sys.executable, "-c", SHELL, COMMAND, "top", "right")
        self._shell = self._run(*args, command=command, preexec_fn=lambda: os.login_tty(self._theirs))
        self.until(shows("flows by rate"))

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._ours)

    @property
    def process(self) -> int:
        pid = self._shell.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, lines: int) -> None:
        termios.tcsetwinsize(self._ours, (lines, 100))

    def read(self, seconds: float = 0.05) -> None:
        if select.select([self._ours], [], [], seconds)[0]:
            self.text += os.read(self._ours, 1 << 16)

    def until(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Wait until the last screen, with what is after it, satisfies a condition; return its lines."""
        end = time.monotonic() + PATIENCE
        while not condition(self.lines()):
            assert time.monotonic() < end, self.text[-5000:]
            self.read()
        return self.lines()

    def lines(self) -> list[str]:
        screen = self.text.rpartition(HOME)[2]
        text = re.sub(rb"\x1b\[[\d?]*[a-zA-Z]", b"", screen).decode(errors="replace")
        return re.split("\r+\n", text)

    def end(self) -> int:
        """Wait for the end of the program; check that the terminal is as before; return the exit code."""
        self.until(says("ended with"))
        assert self.modes == self.before
        assert self.text.count(ENTER) == self.text.count(LEAVE)
        found = re.search(rb"ended with (-?\d+)\r\n$", self.text)
        assert found
        return int(found[1])

    def close(self) -> None:
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(run: Run) -> Iterator[Terminal]:
    made = Terminal(run)
    yield made
    made.close()


def says(text: str) -> Callable[[list[str]], bool]:
    return lambda lines: any(text in line for line in lines)


def shows(text: str) -> Callable[[list[str]], bool]:
    """Return a condition that is true for a whole screen with a text on it."""
    return lambda lines: says(text)(lines) and lines[-1].endswith("q quit")


def test_keys_change_the_table_and_q_ends(veth: Veth, terminal: Terminal) -> None:
    terminal.start("--interval", "0.2")
    send(veth, 100, 30)
    terminal.until(shows("2 active"))
    lines = terminal.until(shows("0 active, 2 in all"))
    assert not terminal.modes[3] & (termios.ECHO | termios.ICANON)
    assert "5002 UDP" in lines[3]  # of equal rates, the one with more bytes
    assert len(lines) == 24
    assert lines[-1].startswith("f flows h hosts")
    terminal.press(b"k")
    lines = terminal.until(shows("flows by packets"))
    assert ["5001 UDP" in lines[3], "5002 UDP" in lines[4]] == [True, True]
    terminal.press(b"b")
    lines = terminal.until(shows("flows by bytes"))
    assert ["5002 UDP" in lines[3], "5001 UDP" in lines[4]] == [True, True]
    terminal.press(b"h")
    terminal.until(shows("hosts by bytes"))
    terminal.press(b"\x1b[15~\x1bOp\x1b[Ar")  # other keys have no effect, and r has
    terminal.until(shows("hosts by rate"))
    terminal.press(b"p")
    assert terminal.until(shows("ports by rate"))[3].endswith("  UDP/5002")
    terminal.press(b"q")
    assert terminal.end() == 0
    assert terminal.text.count(ENTER) == 1
    assert terminal.text.partition(LEAVE)[2].startswith(b"130 packets captured\r\n")


def test_a_pause_keeps_the_screen_but_counts(veth: Veth, terminal: Terminal) -> None:
    terminal.start("--interval", "0.2")
    terminal.press(b" ")
    terminal.until(shows("paused"))
    terminal.read(0.1)
    send(veth, 50, 0)
    shown = len(terminal.text)
    time.sleep(0.6)
    terminal.read()
    assert terminal.text[shown:] == b""
    terminal.press(b" ")
    terminal.until(shows(", 50 packets"))
    terminal.press(b"q")
    assert terminal.end() == 0


def test_another_size_of_the_terminal_is_followed(terminal: Terminal) -> None:
    terminal.start("--interval", "60")
    terminal.until(lambda lines: len(lines) == 24)
    terminal.resize(9)
    lines = terminal.until(lambda lines: len(lines) == 9)
    assert lines[-1].endswith("q quit")
    terminal.resize(2)
    terminal.until(lambda lines: len(lines) == 2)
    terminal.press(b"q")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_restore_the_terminal(terminal: Terminal, number: int) -> None:
    terminal.start()
    if number == signal.SIGINT:
        terminal.press(b"\x1c\x03")  # Ctrl-\ has no effect, Ctrl-C has
    else:
        os.kill(terminal.process, number)
    assert terminal.end() == 0


def test_an_error_restores_the_terminal_before_it_is_shown(veth: Veth, terminal: Terminal) -> None:
    terminal.start()
    veth.namespace.ip("link delete right")
    assert terminal.end() == 1
    assert b"slimcap: " in terminal.text.partition(LEAVE)[2]


def test_a_stopped_terminal_does_not_stop_the_capture(veth: Veth, terminal: Terminal) -> None:
    terminal.start("--interval", "0.1", "--snaplen", "2000", "--buffer", "8MiB")
    terminal.press(b"\x13")  # Ctrl-S
    for _ in range(20):  # more blocks than the ring has, which are 16
        send(veth, 0, 50)
        time.sleep(0.05)
    terminal.press(b"q")
    assert terminal.end() == 0
    totals = b"1000 packets captured\r\n1000 packets received by filter\r\n0 packets dropped by kernel\r\n"
    assert totals in terminal.text.partition(LEAVE)[2]


def test_ctrl_z_gives_the_terminal_back_until_it_continues(veth: Veth, terminal: Terminal) -> None:
    terminal.start("--interval", "0.2")
    terminal.press(b"\x1a")
    terminal.until(says(f"stopped by {signal.SIGTSTP.value}"))
    assert terminal.modes == terminal.before
    assert terminal.text.count(LEAVE) == 1
    send(veth, 5, 0)
    terminal.press(b"\n")
    terminal.until(shows(", 5 packets"))
    assert terminal.text.count(ENTER) == 2
    terminal.press(b"q")
    assert terminal.end() == 0


SIGNALLED_TWICE = """
import os, signal, time, types
from slimcap.cli.terminal.signals import ended_by_signals

with ended_by_signals(types.SimpleNamespace(stop=lambda: None), before_kill=lambda: os.write(1, b"restored")):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.4)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
"""


def test_a_second_signal_kills_after_the_terminal_was_restored() -> None:
    command = [sys.executable, "-P", "-c", SIGNALLED_TWICE]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, b"restored", b"")
