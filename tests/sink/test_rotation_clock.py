"""RotatingWriter: files that are complete by the clock, and files of an earlier run."""

from __future__ import annotations

import os
import time

import pytest

from slimcap import read, write
from slimcap.mock import MockRingSource, build_packet
from slimcap.sink.rotate import RotatingWriter
from support.rotation import SECOND, names_of, paced_batch, packets_in, packets_of, rotated, sizes_of


def test_end_interval_completes_the_file_without_a_packet(tmp_path):
    batch = paced_batch(3, [100, 101, 112])
    with RotatingWriter(tmp_path / "{time:%M%S}.pcap", max_seconds=10) as writer:
        assert not writer.end_interval(500 * SECOND)  # there is no file
        writer.write_batch(batch[:2])
        assert not writer.end_interval(110 * SECOND - 1)
        assert os.listdir(tmp_path) != ["0140.pcap"]
        assert writer.end_interval(110 * SECOND)
        assert os.listdir(tmp_path) == ["0140.pcap"]
        assert packets_of(read(tmp_path / "0140.pcap")) == packets_of(batch[:2])
        assert not writer.end_interval(120 * SECOND)
        writer.write_batch(batch[2:])
    assert names_of(writer.files) == ["0140.pcap", "0152.pcap"]
    assert packets_in(writer.files) == packets_of(batch)


def test_late_packet_of_an_ended_interval_is_in_the_next_file(tmp_path):
    batch = paced_batch(4, [100, 109, 111, 112])
    with RotatingWriter(tmp_path / "{time:%S}.pcap", max_seconds=10) as writer:
        writer.write_batch(batch[:1])
        writer.end_interval(110 * SECOND)
        writer.write_batch(batch[1:3])
        writer.write_batch(batch[3:])
    assert names_of(writer.files) == ["40.pcap", "50.pcap"]
    assert packets_in(writer.files) == packets_of(batch)
    assert sizes_of(writer.files) == [1, 3]


def test_end_interval_leaves_a_second_for_packets_on_their_way(tmp_path):
    now = time.time_ns() // SECOND
    with RotatingWriter(tmp_path / "a.pcap", max_seconds=1) as writer:
        writer.write_batch(paced_batch(1, [now + 3600]))
        assert not writer.end_interval()
    with RotatingWriter(tmp_path / "b.pcap", max_seconds=1) as writer:
        writer.write_batch(paced_batch(1, [now - 5]))
        assert writer.end_interval()


def test_end_interval_without_max_seconds_does_nothing(tmp_path):
    with RotatingWriter(tmp_path / "a.pcap", max_packets=9) as writer:
        writer.write_batch(paced_batch(1))
        assert not writer.end_interval()
    with pytest.raises(ValueError, match="closed"):
        writer.end_interval()
    with pytest.raises(TypeError, match="time must be an integer"):
        writer.end_interval(1.5)


def test_numbers_of_an_earlier_run_are_skipped(tmp_path):
    """Also those of a run that was killed, whose last file kept its temporary name."""
    rotated(tmp_path / "a.pcap", paced_batch(5), max_packets=2)
    (tmp_path / ".a-00003.pcap.0123abcd.part").write_bytes(b"cut")
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    files = rotated(tmp_path / "a.pcap", paced_batch(3), max_packets=2)
    assert names_of(files) == ["a-00003.pcap", "a-00004.pcap"]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    with pytest.raises(FileExistsError, match=r"a-00000\.pcap"):
        rotated(tmp_path / "a.pcap", paced_batch(1), skip_existing=False)
    files = rotated(tmp_path / "a.pcap", paced_batch(1), overwrite=True)
    assert names_of(files) == ["a-00000.pcap"]


def test_existing_file_of_a_template_without_a_number_raises_with_advice(tmp_path):
    (tmp_path / "40.pcap").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"use \{index\} in the template, or overwrite=True"):
        rotated(tmp_path / "{time:%S}.pcap", paced_batch(1, [100]))
    assert os.listdir(tmp_path) == ["40.pcap"]


def test_write_completes_the_parts_of_a_live_source_by_the_clock(tmp_path, background):
    with MockRingSource() as mock:
        frame = build_packet("192.0.2.1", "192.0.2.2", timestamp=(time.time_ns() // SECOND - 60) * SECOND)
        mock.add_packet(frame)
        mock.run()
        done = background(lambda: write(mock, tmp_path / "{index}.pcap", max_seconds=1))
        until = time.monotonic() + 30
        while not (tmp_path / "0.pcap").exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert len(read(tmp_path / "0.pcap")) == 1
        mock.stop()
        assert done.result() == 1


def test_timeout_of_a_source_ends_write(tmp_path):
    with MockRingSource(timeout=0.2) as mock:
        assert mock.timeout == 0.2
        mock.run()
        with pytest.raises(TimeoutError):
            write(mock, tmp_path / "{index}.pcap", max_seconds=1)


def test_files_completed_in_the_background_are_those_of_the_foreground(tmp_path):
    seen = []
    batch = paced_batch(40)
    template = tmp_path / "{index:02}.pcap"
    files = rotated(template, batch[:20], batch[20:], max_packets=3, background=True, on_file=seen.append)
    assert files == seen
    assert names_of(files) == [f"{number:02}.pcap" for number in range(14)]
    assert packets_in(files) == packets_of(batch)
    assert names_of(sorted(map(str, tmp_path.iterdir()))) == names_of(files)


def test_failure_in_the_background_is_raised_by_a_later_call(tmp_path):
    writer = RotatingWriter(
        tmp_path / "{index}.pcap",
        max_packets=1,
        background=True,
        on_begin=lambda path, writer: os.unlink(writer.partial_path) if path.endswith("1.pcap") else None,
    )
    writer.write_batch(paced_batch(3))
    with pytest.raises(FileNotFoundError, match=r"1\.pcap"):
        writer.close()
    assert writer.closed
    assert names_of(writer.files) == ["0.pcap", "2.pcap"]


def test_index_continues_and_names_that_exist_are_numbered(tmp_path):
    (tmp_path / "7.pcap.gz").write_bytes(b"precious")
    options = {"first_index": 7, "number_existing": True, "skip_existing": False, "max_packets": 1}
    files = rotated(tmp_path / "{index}.pcap.gz", paced_batch(2), **options)
    assert names_of(files) == ["7-1.pcap.gz", "8.pcap.gz"]
    assert (tmp_path / "7.pcap.gz").read_bytes() == b"precious"


def test_discarded_file_is_kept_if_asked_for(tmp_path):
    ended = []
    for keep in (False, True):
        writer = RotatingWriter(tmp_path / "a.pcap", keep_partial=keep, on_end=ended.append)
        writer.write_batch(paced_batch(3))
        assert not ended
        writer.discard()
        assert len(list(tmp_path.iterdir())) == keep
    (path,) = tmp_path.iterdir()
    assert packets_of(read(path)) == packets_of(paced_batch(3))


def test_reserved_names_are_not_used(tmp_path):
    reserved = [str(tmp_path / "40.pcap"), str(tmp_path / "41.pcap")]
    files = rotated(
        tmp_path / "{time:%S}.pcap", paced_batch(1, [100]), reserved=reserved, number_existing=True
    )
    assert names_of(files) == ["40-1.pcap"]
    with pytest.raises(FileExistsError, match=r"40\.pcap"):
        rotated(tmp_path / "{time:%S}.pcap", paced_batch(1, [100]), reserved=reserved)
