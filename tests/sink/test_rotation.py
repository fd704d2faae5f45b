"""RotatingWriter: where files begin and end."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest

from slimcap import RecordFlag, open_writer, read
from slimcap.sink.rotate import RotatingWriter
from support.rotation import LINKS, SECOND, names_of, paced_batch, packets_in, packets_of, rotated, sizes_of

FORMATS = ["pcap", "pcapng"]


def test_without_limits_there_is_one_file(tmp_path):
    batch = paced_batch(1000)
    (file,) = rotated(tmp_path / "a.pcap", batch, batch)
    assert packets_of(read(file)) == packets_of(batch) * 2


def test_without_packets_there_is_no_file(tmp_path):
    assert rotated(tmp_path / "a.pcap", paced_batch(0)) == os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("limit", [1, 2, 7, 99, 100, 101])
def test_max_packets_starts_a_new_file(format, limit, tmp_path):
    batch = paced_batch(100)
    files = rotated(tmp_path / f"a.{format}", batch[:33], batch[33:34], batch[34:], max_packets=limit)
    assert sizes_of(files) == [limit] * (100 // limit) + [100 % limit] * (100 % limit > 0)
    assert packets_in(files) == packets_of(batch)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("limit", [1, 100, 2000, 2001, 2003, 5000, 30_000])
def test_max_bytes_fills_each_file_as_far_as_possible(format, limit, tmp_path):
    """A file is as full as it can be: with one packet more it would be too large."""
    sizes = np.random.default_rng(limit).integers(0, 1500, 60)
    batch = paced_batch(60, size=sizes, interface=np.arange(60) % 5 % 3 if format == "pcapng" else 0)
    files = rotated(tmp_path / f"a.{format}", batch[:23], batch[23:], max_bytes=limit)
    counts = sizes_of(files)
    assert sum(counts) == 60
    assert packets_in(files) == packets_of(batch)
    starts = np.cumsum([0, *counts])
    for file, start, stop in zip(files, starts, starts[1:], strict=False):
        size = os.path.getsize(file)
        assert size <= limit or stop - start == 1
        more = io.BytesIO()
        with open_writer(more, format=format) as writer:
            writer.write_batch(batch[start : stop + 1])
        assert len(more.getvalue()) > limit or stop == 60
        with open(file, "rb") as whole:
            assert more.getvalue().startswith(whole.read())


def test_bytes_are_counted_before_compression(tmp_path):
    batch = paced_batch(1000)
    plain = rotated(tmp_path / "a.pcap", batch, max_bytes=10_000)
    packed = rotated(tmp_path / "a.pcap.gz", batch, max_bytes=10_000)
    assert sizes_of(plain) == sizes_of(packed)
    assert len(plain) > 5


def test_bytes_of_restored_vlan_tags_count(tmp_path):
    batch = paced_batch(100, flags=RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED, vlan_tpid=0x8100)
    files = rotated(tmp_path / "a.pcap", batch, max_bytes=24 + 10 * 80)
    assert sizes_of(files) == [10] * 10


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_max_seconds_is_aligned_to_the_clock(pieces, tmp_path):
    batch = paced_batch(100, np.arange(100) + 7)
    files = rotated(
        tmp_path / "a.pcap", *[batch[n : n + pieces] for n in range(0, 100, pieces)], max_seconds=10
    )
    times = [read(file)["timestamp"] // SECOND for file in files]
    assert [(part[0], part[-1]) for part in times] == [
        (7, 9), *[(n, n + 9) for n in range(10, 100, 10)], (100, 106)
    ]  # fmt: skip


def test_gaps_make_no_empty_files(tmp_path):
    files = rotated(tmp_path / "{time:%S}", paced_batch(4, [9, 10, 35, 36]), max_seconds=10)
    assert names_of(files) == ["09", "10", "35"]


def test_late_packets_start_no_file(tmp_path):
    seconds = [11, 3, 12, 25, 11, 29, 30]
    for split in range(len(seconds)):
        batch = paced_batch(len(seconds), seconds)
        files = rotated(tmp_path / f"{split}-.pcap", batch[:split], batch[split:], max_seconds=10)
        assert [(read(file)["timestamp"] // SECOND).tolist() for file in files] == [
            [11, 3, 12], [25, 11, 29], [30]
        ]  # fmt: skip


def test_first_limit_that_is_reached_counts(tmp_path):
    batch = paced_batch(30, np.arange(30) // 2)
    files = rotated(tmp_path / "a", batch, max_packets=7, max_seconds=5, max_bytes=24 + 5 * 76)
    assert sizes_of(files) == [5, 5] * 3


@pytest.mark.parametrize("limit", ["max_packets", "max_bytes", "max_seconds", "max_files"])
def test_limits_that_are_not_reached_write_one_file(tmp_path, limit):
    files = rotated(tmp_path / "a.pcapng", paced_batch(20), paced_batch(20), **{limit: 10**30})
    assert sizes_of(files) == [40]


def test_largest_timestamp_is_rotated_without_overflow(tmp_path):
    batch = paced_batch(3, timestamp=(1 << 63) - 1)
    files = rotated(tmp_path / "a.pcapng", batch, max_seconds=1)
    assert sum(sizes_of(files)) == 3


@pytest.mark.slow
def test_one_batch_is_split_into_1000_files(tmp_path):
    batch = paced_batch(2000)
    files = rotated(tmp_path / "a.pcapng", batch, max_packets=2)
    assert sizes_of(files) == [2] * 1000


@pytest.mark.parametrize("format", FORMATS)
def test_packet_by_packet_gives_the_same_files(format, tmp_path):
    batch = paced_batch(100, size=np.arange(60, 160), seconds=np.arange(100) // 2)
    limits = {"format": format, "max_bytes": 3000, "max_seconds": 10}
    want = rotated(tmp_path / "batch", batch, **limits)
    with RotatingWriter(tmp_path / "packet", **limits) as writer:
        for number in range(50):
            writer.write_packet(batch[number], interface=LINKS[0])
        for number in range(50, 100):
            writer.write_packet(batch[number].copy(), interface=LINKS[0])
        assert writer.packets_written == 100
    assert len(want) > 3
    for ours, theirs in zip(writer.files, want, strict=True):
        with open(ours, "rb") as a, open(theirs, "rb") as b:
            assert a.read() == b.read()


def test_times_out_of_range_raise(tmp_path):
    with RotatingWriter(tmp_path / "a.pcap", max_packets=2) as writer:
        with pytest.raises(ValueError, match="has the time"):
            writer.write_batch(paced_batch(3, [0, 1, -1]))
        writer.write_batch(paced_batch(1))
