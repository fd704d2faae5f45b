"""Files among several that are damaged, missing, or too many to be open at once."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

import slimcap
from slimcap import CaptureStopped, FileFormatError, TruncatedFileError, open_files
from slimcap.source.file.merged import MergedSource
from support.compression import near
from support.merging import (
    capture,
    facts,
    until_the_end,
    write,
)


def test_error_of_a_file_comes_after_the_packets_before_it_in_time(tmp_path):
    write(tmp_path / "good", [1, 3, 5, 7])
    (tmp_path / "bad").write_bytes(capture([2, 4, 6], 1)[:-1])
    with open_files([tmp_path / "good", tmp_path / "bad"]) as source:
        assert [source.next_packet().timestamp for _ in range(4)] == [1, 2, 3, 4]
        with pytest.raises(TruncatedFileError) as raised:
            source.next_packet()
        assert raised.value.path == str(tmp_path / "bad")
        assert raised.value.packet_index == 2
        assert raised.value.offset == len(capture([2, 4], 1))
        assert [fact[0] for fact in facts(source)] == [5, 7]
        with pytest.raises(EOFError):
            source.next_batch()


@pytest.mark.parametrize("place", [0, 1])
def test_cut_file_gives_its_packets_then_one_error_then_the_others_go_on(tmp_path, place):
    """Cut in the header and around the ends of records."""
    cut, times = tmp_path / "cut", [0, 2, 4]
    files = [write(tmp_path / "good", [1, 3, 5, 7])]
    files.insert(place, cut)
    whole = capture(times, 1)
    ends = [len(capture(times[:count], 1)) for count in range(4)]
    sizes = [size for size in near(0, 4, 12, *ends, *(end + 16 for end in ends)) if 0 <= size < len(whole)]
    assert len(sizes) > 20
    for size in sizes:
        cut.write_bytes(whole[:size])
        if size < ends[0]:
            with pytest.raises(TruncatedFileError, match=str(cut)):
                open_files(files)
            continue
        kept = sum(end <= size for end in ends[1:])
        wanted = sorted([*times[:kept], 1, 3, 5, 7])
        with open_files(files) as source:
            got, errors = until_the_end(source)
        assert got == wanted, size
        if size in ends:
            assert not errors
            continue
        [(before, error)] = errors
        assert before == sum(time <= max(times[:kept], default=-1) for time in wanted)
        assert isinstance(error, TruncatedFileError)
        assert (error.path, error.offset, error.packet_index) == (str(cut), ends[kept], kept)


def test_files_that_cannot_be_opened_raise(tmp_path, data_path):
    good, missing = data_path / "mixed.pcap", tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match="nothing"):
        open_files(tmp_path / "nothing*")
    for files in ([missing], [good, missing]):
        with pytest.raises(FileNotFoundError) as raised:
            open_files(files)
        assert raised.value.filename == str(missing)
    with pytest.raises(ValueError, match="no files"):
        open_files([])
    with pytest.raises(TypeError, match="list"):
        open_files(io.BytesIO(b""))
    with pytest.raises(TypeError, match="path or a binary file object"):
        open_files([7])
    with pytest.raises(ValueError, match="snaplen"):
        open_files([good], snaplen=0)


def test_file_that_is_not_a_capture_is_named(tmp_path, data_path):
    bad = tmp_path / "bad"
    bad.write_bytes(b"no capture file at all, no")
    with pytest.raises(FileFormatError) as raised:
        open_files([data_path / "mixed.pcap", bad])
    assert raised.value.path == str(bad)


@pytest.mark.parametrize("gone", [2, 3])
def test_file_removed_before_it_is_needed_raises_once(tmp_path, gone):
    files = [write(tmp_path / str(time), [time]) for time in (1, 2, 3)]
    with open_files(files) as source:
        (tmp_path / str(gone)).unlink()
        times, errors = until_the_end(source)
    assert times == [time for time in (1, 2, 3) if time != gone]
    [(before, error)] = errors
    assert before == gone - 1
    assert isinstance(error, FileNotFoundError)
    assert error.filename == str(tmp_path / str(gone))
    assert error.filename in str(error)


def test_source_cannot_be_initialised_twice_or_used_uninitialised(data_path):
    with open_files([data_path / "mixed.pcap"]) as source, pytest.raises(TypeError, match="once"):
        source.__init__([data_path / "mixed.pcap"])
    with pytest.raises(CaptureStopped):
        source.next_packet()
    never = MergedSource.__new__(MergedSource)
    assert "0 files" in repr(never)
    with pytest.raises(EOFError):
        never.next_packet()
    with pytest.raises(TypeError):
        slimcap.source.file.several.FilesSource()


# ---- many files


MANY = """if True:
    import resource, sys, slimcap
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    def memory():
        return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
    with slimcap.open_files(sys.argv[1]) as source:
        before = most = memory()
        count, last = 0, -1
        for batch in source.batches():
            times = batch["timestamp"]
            assert times[0] > last and (times[1:] > times[:-1]).all()
            last = times[-1]
            count += len(batch)
            most = max(most, memory())
    print(count, len(source.links), most - before)
"""


@pytest.mark.slow
def test_many_files_need_the_memory_and_descriptors_of_a_few(tmp_path):
    """The names are not in the order of time."""
    for number in range(500):
        write(tmp_path / f"{number}.pcap", range(number * 1000, number * 1000 + 800))
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "*.pcap")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    count, links, growth = map(int, done.stdout.split())
    assert (count, links) == (400_000, 500)
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what was freed for a while
        assert growth < 20_000 << 10


def test_many_overlapping_files_are_merged(tmp_path):
    for number in range(200):
        write(tmp_path / f"{number:03}", range(number, 10_000, 200), number)
    with open_files(tmp_path / "*") as source:
        assert [(time, data[-5]) for time, _, data, _ in facts(source)] == [
            (n, n % 200) for n in range(10_000)
        ]
