"""The journal of a recording: lines that others wrote remove nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slimcap.cli.recording.file_journal import FileJournal, RecordedFile


def journal_with(template: Path, *lines: object) -> tuple[RecordedFile, ...]:
    """Write lines to the journal of a template; return the files that it has then."""
    made = FileJournal(str(template))
    path = made.path
    made.close()
    with open(path, "a") as file:
        file.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    again = FileJournal(str(template))
    try:
        return again.files
    finally:
        again.close()


def test_files_outside_of_the_folder_are_not_those_of_the_recording(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "captures"
    folder.mkdir()
    inode = victim.stat().st_ino
    names = ["../victim", str(victim), "a/../../victim", ".."]
    lines = [{"name": name, "inode": inode, "number": 1} for name in names]
    good = {"name": "cap-0.pcap", "inode": 7, "number": 0}
    assert journal_with(folder / "cap-{index}.pcap", *lines, good) == (
        RecordedFile(str(folder / "cap-0.pcap"), 7, 0),
    )


def test_lines_that_are_not_valid_are_skipped(tmp_path: Path) -> None:
    lines = [{"name": "x"}, {"name": 1, "inode": 2, "number": 3}, {"name": "x", "inode": "2", "number": 3}]
    others = [[1], "{", "nonsense\n", {"removed": 7}, {"name": "x", "inode": True, "number": 0}]
    assert journal_with(tmp_path / "cap-{index}.pcap", *lines, *others) == ()


def test_links_are_not_followed(tmp_path: Path) -> None:
    made = FileJournal(str(tmp_path / "cap-{index}.pcap"))
    made.close()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (made.path, f"{made.path}.new"):
        Path(name).unlink(missing_ok=True)
        os.symlink(victim, name)
        with pytest.raises(OSError, match="symbolic links"):
            FileJournal(str(tmp_path / "cap-{index}.pcap"))
        Path(name).unlink()
        assert victim.read_text() == "precious"
