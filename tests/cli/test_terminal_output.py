"""The progress bar and tables that `slimcap read` draws on a terminal with rich."""

from __future__ import annotations

import io
import os
import re
import select
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimcap.cli.main import main
from slimcap.cli.terminal import live_line
from slimcap.cli.terminal.streams import rich_table
from support.cli import PATIENCE, SUMMARY_OF_MIXED, sample_path, start_slimcap
from support.samples import DATA


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal's two ends: what a program writes to the second is read from the first."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.fixture(autouse=True)
def _smart_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def read_terminal(descriptor: int, seconds: float) -> bytes:
    """Read what is there, or the first that comes within some seconds."""
    text = b""
    while select.select([descriptor], [], [], 0 if text else seconds)[0]:
        text += os.read(descriptor, 1 << 16)
    return text


ERASED = b"\r\x1b[1A\x1b[2K"  # one line up, which is erased


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow  # waits for the bar, which long files have
def test_bar_is_shown_on_a_terminal_and_erased(terminal: tuple[int, int]) -> None:
    pytest.importorskip("rich")
    ours, theirs = terminal
    mixed = (DATA / "mixed.pcap").read_bytes()
    header, packet = mixed[:24], mixed[24 : 24 + 16 + 42]
    shown, sent = b"", 0
    with start_slimcap("read", "--summary", "-", stderr=theirs) as process:
        process.stdin.write(header)
        while b"<stdin> " not in shown and sent < PATIENCE * 20:
            process.stdin.write(packet)
            process.stdin.flush()
            sent += 1
            shown += read_terminal(ours, 0.05)
        assert b"<stdin> " in shown
        process.stdin.close()
        assert process.stdout.readline() == f"packets         {sent}\n".encode()
        assert process.wait(PATIENCE) == 0
    shown += read_terminal(ours, 0)
    assert shown.endswith(ERASED)


def test_bar_of_a_file_shows_percentage_and_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(live_line, "INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["read", "--summary", sample_path("mixed.pcap")]) == 0
    assert capsys.readouterr().out == SUMMARY_OF_MIXED
    size = (DATA / "mixed.pcap").stat().st_size
    assert "mixed.pcap " in terminal.getvalue()
    assert f"/{size / 1024:.1f} KiB" in terminal.getvalue()


@pytest.mark.slow  # pyarrow
def test_bar_is_shown_while_a_table_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("pyarrow")
    terminal = Terminal()
    monkeypatch.setattr(live_line, "INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["read", "--to", str(tmp_path / "out.parquet"), sample_path("mixed.pcap")]) == 0
    assert "mixed.pcap " in terminal.getvalue()


def test_no_bar_for_short_files(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(live_line, "INTERVAL", 1000)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["read", "--summary", sample_path("mixed.pcap")]) == 0
    assert terminal.getvalue() == ""


def test_no_bar_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    monkeypatch.setattr(live_line, "INTERVAL", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["read", "--summary", sample_path("mixed.pcap")]) == 0
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == SUMMARY_OF_MIXED


def test_bar_is_not_shown_among_lines_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: tuple[int, int], tmp_path: Path
) -> None:
    pipe = os.pipe()
    with (
        open(terminal[1], "w", closefd=False) as tty,
        open(pipe[0]) as _,
        open(pipe[1], "w") as piped,
        open(tmp_path / "out", "w") as file,
    ):
        wanted = {}
        for error, output in ((tty, tty), (tty, piped), (tty, file), (tty, None), (file, file), (None, file)):
            monkeypatch.setattr(sys, "stderr", error)
            monkeypatch.setattr(sys, "stdout", output)
            wanted[error, output] = live_line.wanted(lines=True), live_line.wanted(lines=False)
        monkeypatch.undo()
    assert wanted == {
        (tty, tty): (False, True),
        (tty, piped): (False, True),
        (tty, file): (True, True),
        (tty, None): (False, False),
        (file, file): (False, False),
        (None, file): (False, False),
    }


# ---- tables


def test_tables_are_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["read", "--summary", sample_path("mixed.pcap")]) == 0
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    assert text != terminal.getvalue()
    plain, tables = SUMMARY_OF_MIXED.split("\n\n", 1)
    assert text.startswith(plain)
    drawn = [line.split() for line in text.removeprefix(plain).splitlines() if "─" not in line]
    assert [cells for cells in drawn if cells] == [line.split() for line in tables.splitlines() if line]


def test_tables_without_rich_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["read", "--summary", sample_path("mixed.pcap")]) == 0
    assert terminal.getvalue() == SUMMARY_OF_MIXED


def test_cells_of_tables_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stdout", Terminal())
    table = rich_table(("name", "packets"), [("[red]eth0[/]", "7"), ("[/]", "1,000")], numbers=1)
    assert table is not None
    rows = table.splitlines()[-2:]
    assert [row.split() for row in rows] == [["[red]eth0[/]", "7"], ["[/]", "1,000"]]
    assert len({len(row.rstrip()) for row in rows}) == 1  # numbers are right-aligned
