"""`on_error`: what to do about files that are damaged or cannot be opened; folders and patterns of files."""

from __future__ import annotations

import gc
import gzip
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import slimcap
from slimcap import Batch, FileFormatError, FilterError, TruncatedFileError, open_file, open_files
from support.merging import capture, descriptors, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of good files, and of an empty, a foreign and two truncated ones."""
    write(tmp_path / "a.pcap", [1, 5, 9])
    (tmp_path / "b.pcap").write_bytes(b"")
    (tmp_path / "c.pcap").write_bytes(capture([2, 4, 6])[:-1])
    (tmp_path / "d.txt").write_text("this is not a capture file")
    (tmp_path / "e.pcap").write_bytes(gzip.compress(capture([3, 7]))[:-4])
    write(tmp_path / ".hidden.pcap", [8])
    write(tmp_path / "inner.pcap", [10]).rename(write_folder(tmp_path / "deeper") / "inner.pcap")
    return tmp_path


def write_folder(path: Path) -> Path:
    path.mkdir()
    return path


BAD = ["b.pcap", "d.txt", "c.pcap", "e.pcap"]


def times(batch: Batch) -> list[int]:
    return [int(time) for time in batch["timestamp"]]


def test_error_of_a_file_is_raised_by_default(folder: Path) -> None:
    for call in (open_files, slimcap.read, slimcap.plan):
        with pytest.raises(TruncatedFileError, match=r"b\.pcap"):
            call(folder)  # type: ignore[operator]


@pytest.mark.parametrize("on_error", ["skip", "warn"])
def test_bad_files_of_a_folder_are_skipped_after_their_good_packets(folder: Path, on_error: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_files(folder, on_error=on_error) as source:  # type: ignore[call-overload]
            batch = slimcap.concat(source.batches())
            assert [os.path.basename(error.path) for error in source.errors] == BAD
    assert times(batch) == [1, 2, 3, 4, 5, 7, 9]
    assert len(caught) == (4 if on_error == "warn" else 0)
    for warning, name in zip(caught, BAD, strict=False):
        assert warning.category is RuntimeWarning
        assert name in str(warning.message)
        assert warning.filename == __file__


def test_read_accepts_folders_patterns_and_lists(folder: Path) -> None:
    assert times(slimcap.read([folder / "a.pcap", folder / "deeper"])) == [1, 5, 9, 10]
    assert times(slimcap.read(str(folder / "**" / "[ai]*.pcap"))) == [1, 5, 9, 10]
    assert times(slimcap.read(folder / "deeper")) == [10]
    assert times(slimcap.read(folder / "a.pcap")) == [1, 5, 9]
    assert times(slimcap.read([io.BytesIO(capture([2])), io.BytesIO(capture([1]))])) == [1, 2]
    assert times(slimcap.read(folder, on_error="skip"))[:5] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("open_it", [open_files, slimcap.read, slimcap.plan])
def test_nothing_that_matches_is_an_error_that_names_it(
    tmp_path: Path, open_it: Callable[..., object]
) -> None:
    write_folder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="empty"):
        open_it(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"\*\.pcap"):
        open_it(str(tmp_path / "*.pcap"))
    with pytest.raises(FileNotFoundError, match="em\\*"):  # only a folder matches
        open_it(str(tmp_path / "em*"))
    with pytest.raises(FileNotFoundError, match="missing"):
        open_it(str(tmp_path / "missing"))


def test_plan_skips_files_without_a_valid_header(folder: Path) -> None:
    with pytest.warns(RuntimeWarning, match="skipped") as caught:
        tasks = slimcap.plan(folder, on_error="warn")
    assert [os.path.basename(task.path) for task in tasks] == ["a.pcap", "c.pcap", "e.pcap"]
    assert len(caught) == 2
    assert [task.path for task in slimcap.plan(folder, on_error="skip")] == [task.path for task in tasks]
    with pytest.raises(ValueError, match="on_error"):
        slimcap.plan(folder, on_error="ignore")  # type: ignore[arg-type]


def test_single_damaged_file_gives_its_good_packets(folder: Path) -> None:
    with pytest.warns(RuntimeWarning, match=r"c\.pcap") as caught:
        assert times(slimcap.read(folder / "c.pcap", on_error="warn")) == [2, 4]
    assert len(caught) == 1
    with open_file(folder / "c.pcap", on_error="skip") as source:
        assert [times(batch) for batch in source.batches()] == [[2, 4]]
        with pytest.raises(EOFError):
            source.next_batch()
        assert [type(error) for error in source.errors] == [TruncatedFileError]
    with pytest.raises(TruncatedFileError):
        open_file(folder / "b.pcap", on_error="skip")
    assert len(slimcap.read(folder / "b.pcap", on_error="skip")) == 0


def test_errors_that_are_not_due_to_a_file_are_raised_nevertheless(folder: Path) -> None:
    with pytest.raises(FilterError):
        open_files(folder, on_error="skip", filter="no such expression")
    os.mkfifo(folder / "fifo")
    with pytest.raises(TimeoutError):
        open_files([folder / "fifo"], on_error="skip", timeout=0)


def test_missing_file_of_a_list_is_skipped(folder: Path) -> None:
    with open_files([folder / "none", folder / "a.pcap"], on_error="skip") as source:
        assert times(slimcap.concat(source.batches())) == [1, 5, 9]
        assert [type(error) for error in source.errors] == [FileNotFoundError]
        assert source.progress[1] == os.path.getsize(folder / "a.pcap")


def test_followed_files_are_skipped(folder: Path) -> None:
    files = [folder / name for name in ("b.pcap", "c.pcap", "a.pcap")]
    with open_files(files, follow=True, on_error="skip") as source:
        source.stop()
        assert [time for batch in source.batches() for time in times(batch)] == [2, 4, 1, 5, 9]
        assert all(isinstance(error, FileFormatError) for error in source.errors)


def test_skipped_files_leave_no_descriptor_and_no_cycle(folder: Path) -> None:
    before = descriptors()
    gc.disable()
    try:
        for _ in range(5):
            slimcap.read(folder, on_error="skip")
        assert descriptors() == before
    finally:
        gc.enable()


def test_lists_have_patterns(folder: Path) -> None:
    good = [path for path in sorted(folder.iterdir()) if path.name.startswith("a")]
    assert good
    found = slimcap.read([folder / "a*"])
    assert len(found) == sum(len(slimcap.read(path)) for path in good) > 0
    with pytest.raises(FileNotFoundError, match="no file matches"):
        slimcap.read([good[0], folder / "none*"])


def test_patterns_do_not_enter_links_to_folders(tmp_path: Path, data_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    for place in (tmp_path / "mixed.pcap", tmp_path / "inside/mixed.pcap", tmp_path / ".hidden.pcap"):
        place.write_bytes((data_path / "mixed.pcap").read_bytes())
    for name in ("loop", "loop2", "inside/loop3"):
        (tmp_path / name).symlink_to(tmp_path)
    one = len(slimcap.read(data_path / "mixed.pcap"))
    assert len(slimcap.read(f"{tmp_path}/**/*.pcap")) == 2 * one
    assert len(slimcap.read(f"{tmp_path}/**")) == 2 * one
    assert len(slimcap.read(f"{tmp_path}/*.pcap")) == one
    (tmp_path / "link.pcap").symlink_to(tmp_path / "mixed.pcap")
    assert len(slimcap.read(f"{tmp_path}/*.pcap")) == 2 * one
