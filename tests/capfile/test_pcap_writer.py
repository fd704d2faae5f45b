"""PcapWriter: its bytes, and which packets it refuses."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from slimcap import Packet, PcapSource, PcapWriter, concat, read
from support.batches import batch_of, payloads_of, rows_of
from support.writing import (
    BUFFER,
    ETHERNET,
    PCAP_HEADER,
    SECOND,
    SMALL,
    SMALL_FILE,
    SMALL_TIMES,
    TIME_END,
    TUNNEL,
    Recorder,
    record_of,
    small_batch,
    written,
)


@pytest.fixture
def small():
    return small_batch()


def test_file_without_packets_is_a_file_header():
    assert written(PcapWriter) == PCAP_HEADER
    assert written(PcapWriter, batch_of([])) == PCAP_HEADER


def test_packets_are_written_as_these_bytes(small):
    assert written(PcapWriter, small) == SMALL_FILE


def test_link_type_and_snaplen_are_in_the_header():
    data = written(PcapWriter, link_type=276, snaplen=96)
    assert data == PCAP_HEADER[:16] + struct.pack("=II", 96, 276)


def test_packets_are_cut_to_the_snaplen(small):
    data = written(PcapWriter, small, snaplen=2)
    assert data[24:] == (
        record_of(SMALL_TIMES[0], b"ab", 3)
        + record_of(SMALL_TIMES[1], b"")
        + record_of(SMALL_TIMES[2], bytes([0, 1]), 1500)
    )


@pytest.mark.parametrize("kind", [str, os.fsencode, Path], ids=["str", "bytes", "path"])
def test_accepts_paths_of_any_type(kind, tmp_path, small):
    path = tmp_path / "out.pcap"
    path.write_bytes(b"x" * 10_000)
    with PcapWriter(kind(path)) as writer:
        assert path.read_bytes() == PCAP_HEADER
        assert writer.name == str(path)
        writer.write_batch(small)
        assert path.read_bytes() == SMALL_FILE
    assert path.read_bytes() == SMALL_FILE


def test_samples_are_read_back_unchanged(good, tmp_path):
    path = tmp_path / "out.pcap"
    with PcapSource(good.path) as source, PcapWriter(path, source.link.type) as writer:
        for batch in source.batches():
            writer.write_batch(batch)
    before, after = read(good.path), read(path)
    assert writer.packets_written == len(good.rows)
    assert writer.bytes_written == path.stat().st_size
    assert rows_of(after) == rows_of(before)
    assert payloads_of(after) == [row.data for row in good.rows]
    assert after.links[0].type == good.linktype & 0xFFFF


def test_samples_packet_by_packet_give_the_same_bytes(good):
    file = io.BytesIO()
    with PcapSource(good.path) as source, PcapWriter(file, source.link.type) as writer:
        for packet in source:
            writer.write_packet(packet)
    assert file.getvalue() == written(PcapWriter, read(good.path), link_type=good.linktype & 0xFFFF)


def test_selected_rows_are_written_in_their_order(data_path):
    batch = read(data_path / "mixed.pcap")
    odd = np.arange(len(batch)) % 2 == 1
    for rows in (odd, slice(None, None, -1), [3, 3, 0], slice(0, 0)):
        again = read(io.BytesIO(written(PcapWriter, batch[rows])))
        assert rows_of(again) == rows_of(batch[rows])
        assert payloads_of(again) == payloads_of(batch[rows])


def test_views_copies_and_built_packets_are_written(small):
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        writer.write_packet(small[0])
        writer.write_packet(small[1].copy())
        writer.write_packet(small[2])
        writer.write_packet(Packet.from_payload(b"", total_len=9, timestamp=SECOND))
        assert writer.packets_written == 4
        assert file.getvalue() == PCAP_HEADER
        assert writer.bytes_written == len(SMALL_FILE) + 16
        writer.flush()
        assert file.getvalue() == SMALL_FILE + record_of(SECOND, b"", 9)


def test_batches_are_written_after_buffered_packets(small):
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        writer.write_packet(Packet.from_payload(b"first", timestamp=SECOND))
        writer.write_batch(small)
        assert file.getvalue() == PCAP_HEADER + record_of(SECOND, b"first") + SMALL_FILE[24:]


def test_released_batch_raises(small):
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        small.release()
        with pytest.raises(ValueError, match="released"):
            writer.write_batch(small)
    assert file.getvalue() == PCAP_HEADER


def test_batch_can_be_released_after_writing(small):
    written(PcapWriter, small)
    small.release()


# ---- buffering


def test_batches_larger_than_the_buffer_are_written_whole(data_path):
    batch = read(data_path / "mixed.pcap")
    many = concat([batch] * (3 * BUFFER // len(batch.data) + 1))
    data = written(PcapWriter, many, many)
    assert len(data) > 6 * BUFFER
    again = read(io.BytesIO(data))
    assert rows_of(again) == rows_of(many) * 2
    assert payloads_of(again) == payloads_of(many) * 2


def test_packets_that_just_fit_in_the_buffer_are_written_whole():
    """The last packet fills the buffer, or is a few bytes too long."""
    capacity = BUFFER - 16 - 16
    for first in range(capacity - 20, capacity + 3):
        payloads = [bytes(100), bytes(first - 116), b"x" * 3, b"y"]
        file = Recorder()
        with PcapWriter(file, snaplen=BUFFER) as writer:
            writer.write_batch(batch_of(payloads, timestamp=range(4)))
        assert b"".join(file.writes[1:]) == b"".join(record_of(n, data) for n, data in enumerate(payloads))
        assert len(file.writes[1]) <= BUFFER
        assert len(file.writes) == (2 if sum(map(len, payloads)) + 64 <= BUFFER else 3), f"first of {first}"


def test_each_batch_is_one_write(small):
    file = Recorder()
    with PcapWriter(file) as writer:
        for _ in range(3):
            writer.write_batch(small)
    assert [len(data) for data in file.writes] == [24] + [len(SMALL_FILE) - 24] * 3


def test_single_packets_are_written_when_the_buffer_is_full():
    file = Recorder()
    packet = Packet.from_payload(bytes(1000))
    with PcapWriter(file) as writer:
        for _ in range(3000):
            writer.write_packet(packet)
        assert [len(data) for data in file.writes] == [24] + [BUFFER // 1016 * 1016] * 2
    assert b"".join(file.writes) == PCAP_HEADER + record_of(0, bytes(1000)) * 3000


@pytest.mark.parametrize("size", [BUFFER - 17, BUFFER - 16, BUFFER - 15, BUFFER, 5 * BUFFER])
def test_packets_larger_than_the_buffer_are_written_whole(size, small):
    huge = np.random.default_rng(1).bytes(size)
    batch = batch_of([b"abc", huge, b"x", huge], timestamp=range(4))
    data = written(PcapWriter, batch, small, snaplen=1 << 30)
    wanted = b"".join(record_of(n, data) for n, data in enumerate(payloads_of(batch)))
    assert data[24:] == wanted + SMALL_FILE[24:]
    file = io.BytesIO()
    with PcapWriter(file, snaplen=1 << 30) as writer:
        for packet in batch:
            writer.write_packet(packet)
    assert file.getvalue()[24:] == wanted


# ---- packets and arguments that are refused


@pytest.mark.parametrize("time", [-1, TIME_END, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("at", [0, 1, 49_999])
def test_times_out_of_range_raise(time, at):
    clamped = abs(time) > 2**62  # a time that 64 bits do not hold becomes the nearest one
    said = "has a time that 64 bits of nanoseconds do not hold" if clamped else f"has the time {time} ns"
    times = np.zeros(50_000, np.int64)
    times[at] = time
    batch = batch_of([bytes(60)] * 50_000, timestamp=times)
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        with pytest.raises(ValueError, match=f"^packet {at} {said}"):
            writer.write_batch(batch)
        with pytest.raises(ValueError, match=f"the packet {said}"):
            writer.write_packet(batch[at])
        assert writer.packets_written == 0
        writer.write_batch(batch[at + 1 :])
    assert file.getvalue() == PCAP_HEADER + record_of(0, bytes(60)) * (50_000 - at - 1)


def test_packets_of_another_link_type_raise():
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        with pytest.raises(ValueError, match=r"packet 0 is of 'tun0' with link type 101.*link type 1$"):
            writer.write_batch(batch_of(SMALL, links=[TUNNEL]))
        with pytest.raises(ValueError, match="packet 2 is of 'tun0'"):
            writer.write_batch(batch_of(SMALL, links=(ETHERNET, TUNNEL), interface=[0, 0, 1]))
        assert file.getvalue() == PCAP_HEADER
        # Only packets count: of links that are there, of links that are not, of any link of the right type.
        writer.write_batch(batch_of(SMALL, links=(ETHERNET, TUNNEL)))
        writer.write_batch(batch_of(SMALL, links=(TUNNEL, ETHERNET), interface=[1, 2, 2**32 - 1]))
        writer.write_batch(batch_of(SMALL, links=(ETHERNET, ETHERNET), interface=[1, 0, 1]))
        writer.write_batch(batch_of([], links=[TUNNEL]))
        with pytest.raises(ValueError, match="packet 9 is of 'tun0'"):
            writer.write_batch(batch_of(SMALL, links=[TUNNEL]))
    assert writer.packets_written == 9


@pytest.mark.parametrize("link_type", [-1, 65536, 2**40])
def test_link_type_out_of_range_raises(link_type, tmp_path):
    with pytest.raises(ValueError, match="link_type must be 0 to 65535"):
        PcapWriter(tmp_path / "out", link_type)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("snaplen", [-1, 0, 1 << 31])
def test_snaplen_out_of_range_raises(snaplen, tmp_path):
    with pytest.raises(ValueError, match="snaplen must be 1 to 2147483647"):
        PcapWriter(tmp_path / "out", snaplen=snaplen)
    assert not (tmp_path / "out").exists()


def test_other_types_than_paths_and_binary_files_raise(tmp_path):
    for file in (None, 1, object(), []):
        with pytest.raises(TypeError, match="file must be a path or a binary file object"):
            PcapWriter(file)
    with pytest.raises(TypeError):
        PcapWriter(io.StringIO())
    with pytest.raises(FileNotFoundError):
        PcapWriter(tmp_path / "nowhere" / "out")
    with pytest.raises(IsADirectoryError):
        PcapWriter(tmp_path)


def test_other_types_than_batches_and_packets_raise():
    with PcapWriter(io.BytesIO()) as writer:
        for wrong in (None, 1, SMALL):
            with pytest.raises(TypeError):
                writer.write_batch(wrong)
            with pytest.raises(TypeError):
                writer.write_packet(wrong)


def test_second_init_raises_and_an_uninitialised_writer_is_closed(small, tmp_path):
    with PcapWriter(tmp_path / "a") as writer:
        with pytest.raises(TypeError, match="opened once"):
            writer.__init__(tmp_path / "b")
        writer.write_batch(small)
    never = PcapWriter.__new__(PcapWriter)
    assert never.closed
    never.close()
    with pytest.raises(ValueError, match="closed"):
        never.write_batch(small)
