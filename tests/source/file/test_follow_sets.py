"""`open_files(…, follow=True)`: files that follow each other, as capture programs write them."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os

import pytest

from slimcap import CaptureStopped, CaptureUnblocked, TruncatedFileError, open_files
from slimcap.source.file.followed import RotatedSource
from support.files import next_tick
from support.following import FollowingReader, capture, next_number, numbers, records
from support.peers import run_peer


@pytest.fixture
def rotation(tmp_path):
    """`rotation()` reads the files `cap*` of the folder in a thread, as they appear."""
    with contextlib.ExitStack() as opened:
        yield lambda: FollowingReader(
            opened.enter_context(open_files(str(tmp_path / "cap*"), follow=True, timeout=10))
        )


# ---- files that appear


def test_files_that_appear_are_read_in_order(growing, rotation):
    reader = rotation()
    assert isinstance(reader.source, RotatedSource)
    assert "file 0" in repr(reader.source)
    for number in range(8):
        file = growing(capture(), f"cap{number}")
        growing(capture(99), f"other{number}")
        for packet in range(3):
            file.write(records(3 * number + packet))
            if number % 2:
                reader.wait_for(3 * number + packet + 1)
    reader.wait_for(24)
    assert reader.finish() == list(range(24))


def test_several_files_may_appear_at_once(growing, rotation):
    for number in (8, 9):
        growing(capture(number), f"cap{number}")
    reader = rotation()
    reader.wait_for(2)
    reader.wait_until_blocked()
    for number in range(10, 40):
        growing(capture(number), f"cap{number}")
    reader.wait_for(32)
    assert reader.finish() == list(range(8, 40))


def test_several_files_may_be_moved_in(growing, tmp_path, rotation):
    """They are read in the order in which they were written; the last one is followed."""
    growing(capture(0), "cap0")
    reader = rotation()
    reader.wait_for(1)
    for number in range(1, 6):
        next_tick()
        file = growing(capture(number), f"hidden{number}")
    for number in range(1, 6):
        file.path = (tmp_path / f"hidden{number}").rename(tmp_path / f"cap{number}")
    reader.wait_for(6)
    file.write(records(6))
    reader.wait_for(7)
    assert reader.finish() == list(range(7))


@pytest.mark.parametrize("at_once", [False, True])
def test_files_of_the_same_time_are_ordered_by_the_numbers_in_their_names(tmp_path, rotation, at_once):
    """All of them are read, even if the stop comes at once."""
    names = ["cap", "cap1", "cap2", "cap9", "cap10", "cap100"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(capture(number))
    for name in itertools.chain(names, ["."]):
        os.utime(tmp_path / name, (1, 1))
    reader = rotation()
    assert (reader.stop() if at_once else reader.finish()) == list(range(len(names)))


def test_file_without_packets_is_skipped(growing, rotation):
    for number, data in enumerate([capture(0), capture(), capture(1)]):
        next_tick()
        file = growing(data, f"cap{number}")
    reader = rotation()
    reader.wait_for(2)
    file.write(records(2))
    reader.wait_for(3)
    assert reader.finish() == [0, 1, 2]


def test_list_of_paths_is_read_one_after_the_other(growing):
    """Until the last is removed."""
    first, last = growing(capture(1, 2), "b"), growing(capture(3), "a")
    with open_files([first.path, last.path], follow=True, timeout=5) as source:
        reader = FollowingReader(source)
        reader.wait_for(3)
        reader.wait_until_blocked()
        last.write(records(4))
        last.path.unlink()
        assert reader.end(3) == [1, 2, 3, 4]
        assert len(source.links) == 2
        assert source.total_stats.packets_received == 4


# ---- files that are renamed or removed


def test_files_that_logrotate_renames_are_read_once(tmp_path, rotation):
    (tmp_path / "cap").write_bytes(capture(1))
    reader = rotation()
    reader.wait_for(1)
    reader.wait_until_blocked()
    (tmp_path / "cap").rename(tmp_path / "cap.1")
    (tmp_path / "new").write_bytes(capture(2))
    (tmp_path / "new").rename(tmp_path / "cap")
    reader.wait_for(2)
    reader.wait_until_blocked()
    (tmp_path / "cap.1").rename(tmp_path / "cap.2")
    (tmp_path / "cap").rename(tmp_path / "cap.1")
    (tmp_path / "cap").write_bytes(capture(3))
    reader.wait_for(3)
    assert reader.finish() == [1, 2, 3]


def test_renames_while_the_folder_is_listed_lose_nothing(tmp_path, rotation, monkeypatch):
    """They happen between glob and stat: one file has a name that was not listed."""
    find, todo = glob.glob, []

    def find_then_rename(pattern):
        found = find(pattern)
        while todo:
            todo.pop(0)()
        return found

    monkeypatch.setattr(glob, "glob", find_then_rename)
    (tmp_path / "cap").write_bytes(capture(1))
    reader = rotation()
    reader.wait_for(1)
    (tmp_path / "cap").rename(tmp_path / "cap.1")
    (tmp_path / "cap").write_bytes(capture(2))
    reader.wait_for(2)
    todo += [
        lambda: (tmp_path / "cap.1").rename(tmp_path / "cap.2"),
        lambda: (tmp_path / "cap").rename(tmp_path / "cap.1"),
        lambda: (tmp_path / "cap").write_bytes(capture(3)),
    ]
    (tmp_path / "new").write_bytes(capture())
    (tmp_path / "new").rename(tmp_path / "cap0")  # which makes it look
    reader.wait_for(3)
    (tmp_path / "cap9").write_bytes(capture(4))
    reader.wait_for(4)
    assert reader.finish() == [1, 2, 3, 4]


@pytest.fixture
def first_read(tmp_path):
    """A set of two files, `cap1` and `cap2` with one packet each, of which the first was read."""
    for number in (1, 2):
        (tmp_path / f"cap{number}").write_bytes(capture(number))
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=10) as source:
        assert next_number(source) == 1
        yield source


@pytest.mark.parametrize("replaced", [False, True])
def test_file_renamed_before_its_turn_is_read(tmp_path, first_read, replaced):
    (tmp_path / "cap2").rename(tmp_path / "cap2.old")
    if replaced:
        next_tick()
        (tmp_path / "cap2").write_bytes(capture(3))
    first_read.stop()
    assert list(numbers(first_read)) == ([2, 3] if replaced else [2])


@pytest.mark.parametrize("replaced", [False, True])
def test_file_removed_before_its_turn_raises_and_is_skipped(tmp_path, first_read, replaced):
    if replaced:
        (tmp_path / "new").write_bytes(capture(3))
        (tmp_path / "new").replace(tmp_path / "cap2")
    else:
        (tmp_path / "cap2").unlink()
    with pytest.raises(FileNotFoundError, match="cap2"):
        first_read.next_packet()
    first_read.stop()
    assert list(numbers(first_read)) == ([3] if replaced else [])


def test_stop_ends_after_all_files_that_are_there(growing, tmp_path):
    growing(capture(1, 2), "cap1")
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=10) as source:
        assert next_number(source) == 1
        growing(capture(3), "cap2")
        source.stop()
        assert list(numbers(source)) == [2, 3]


def test_ring_of_files_is_followed(growing, tmp_path, rotation):
    """As of dumpcap -b files:2: the oldest is removed, and the next may get its inode."""
    reader = rotation()
    for number in range(20):
        next_tick()
        growing(capture(number), f"cap{number}")
        reader.wait_for(number + 1)
        if number >= 2:
            (tmp_path / f"cap{number - 2}").unlink()
    assert reader.finish() == list(range(20))


def test_files_that_tcpdump_rotates_are_followed(tmp_path, need_tool, rotation):
    tcpdump = need_tool("tcpdump")
    count = 60_000
    (tmp_path / "big").write_bytes(capture(*range(count)))
    reader = rotation()
    run_peer(tcpdump, "-Z", "root", "-r", tmp_path / "big", "-C", "1", "-w", tmp_path / "cap")
    assert len(list(tmp_path.glob("cap*"))) > 4
    reader.wait_for(count, within=30)
    assert reader.finish() == list(range(count))


# ---- errors and the end of a wait


@pytest.mark.parametrize("good", [[], [1]])
def test_damaged_file_raises_once_and_is_left(growing, tmp_path, good):
    damaged = growing(capture(*good, 2)[:-1], "cap1")
    next_tick()
    growing(capture(3), "cap2")
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=5) as source:
        assert [next_number(source) for _ in good] == good
        with pytest.raises(TruncatedFileError) as raised:
            source.next_packet()
        assert raised.value.path == str(damaged.path)
        assert next_number(source) == 3
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.01)
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            source.next_packet()


def test_close_and_unblock_end_a_wait_for_files(growing, tmp_path, background):
    source = open_files(str(tmp_path / "cap*"), follow=True)
    with pytest.raises(TimeoutError):
        source.next_packet(timeout=0.02)
    waits = background(source.next_packet)
    waits.wait_until_blocked()
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        waits.result()
    growing(capture(1), "cap1")
    assert next_number(source, timeout=5) == 1
    waits = background(source.next_packet)
    waits.wait_until_blocked()
    source.close()
    with pytest.raises(CaptureStopped):
        waits.result()


def test_sets_that_cannot_be_followed_raise(tmp_path, data_path):
    for name in ("cap*", "cap"):
        with pytest.raises(ValueError, match="one folder"):
            open_files(str(tmp_path / "*" / name), follow=True)
    with pytest.raises(FileNotFoundError):
        open_files(str(tmp_path / "missing" / "cap*"), follow=True)
    with pytest.raises(FileNotFoundError):
        open_files([tmp_path / "missing"], follow=True)
    with (data_path / "mixed.pcap").open("rb") as file, pytest.raises(ValueError, match="path"):
        open_files([file], follow=True)
    with pytest.raises(ValueError, match="no files"):
        open_files([], follow=True)
