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
