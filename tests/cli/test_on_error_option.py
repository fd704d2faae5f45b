"""`--on-error`, and folders and patterns as arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

import slimcap
from slimcap.cli.main import main
from support.merging import capture, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good, a damaged and an empty file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.pcap", [1, 5, 9])
    (folder / "b.pcap").write_bytes(capture([2, 4, 6])[:-1])
    (folder / "c.pcap").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("on_error", "code", "lines"), [("raise", 1, 2), ("warn", 0, 2), ("skip", 0, 0)])
@pytest.mark.parametrize("command", ["read", "info"])
def test_exit_code_and_messages_of_each_file(
    command: str, on_error: str, code: int, lines: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(folder), "--on-error", on_error]) == code
    captured = capsys.readouterr()
    assert captured.err.count("\n") == lines
    assert captured.out.count("=>" if command == "read" else "file  ") == (5 if command == "read" else 2)


@pytest.mark.parametrize(("on_error", "lines"), [("warn", ["c.pcap", "b.pcap"]), ("skip", [])])
def test_merge_skips_bad_files(
    on_error: str, lines: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.pcap"
    assert main(["merge", str(folder), "-w", str(out), "--on-error", on_error]) == 0
    assert slimcap.read(out)["timestamp"].tolist() == [1, 2, 4, 5, 9]
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == len(lines)
    for message, name in zip(messages, lines, strict=True):
        assert message.startswith("slimcap: ")
        assert name in message


def test_merge_refuses_files_that_cannot_be_opened_by_default(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(folder), "-w", str(tmp_path / "out.pcap")]) == 1
    assert "c.pcap" in capsys.readouterr().err
    assert not (tmp_path / "out.pcap").exists()


@pytest.mark.parametrize(("on_error", "code"), [("raise", 1), ("warn", 0), ("skip", 0)])
def test_convert_of_a_damaged_file(
    on_error: str, code: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.pcap"
    assert main(["convert", str(folder / "b.pcap"), str(out), "--on-error", on_error]) == code
    assert slimcap.read(out)["timestamp"].tolist() == [2, 4]
    assert ("b.pcap" in capsys.readouterr().err) == (on_error != "skip")
    assert main(["convert", str(folder / "c.pcap"), str(out), "--on-error", on_error]) == 1


def test_patterns_that_the_shell_did_not_expand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(folder.parent / "**" / "a.*")]) == 0
    assert capsys.readouterr().out.count("\n") == 3
    assert main(["read", str(folder / "none*"), str(folder / "a.pcap")]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 3
    assert "none*" in captured.err


def test_joined_files_are_read_on_request(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined, out = tmp_path / "joined.pcap", tmp_path / "out.pcap"
    joined.write_bytes(capture([1, 2]) + capture([3]))
    for command in (["read"], ["info", "--json"], ["merge", "-w", str(out)]):
        assert main([*command, str(joined)]) == 1
        assert "another capture file begins" in capsys.readouterr().err
        assert main([*command, str(joined), "--concatenated"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        if command[0] != "merge":
            assert captured.out.count("=>") == 3 or '"packets": 3' in captured.out
    assert slimcap.read(out)["timestamp"].tolist() == [1, 2, 3]
    assert main(["convert", str(joined), str(out), "--concatenated"]) == 0
    assert len(slimcap.read(out)) == 3
