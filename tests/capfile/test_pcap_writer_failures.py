"""PcapWriter when writing fails: nothing is lost, nothing is written twice."""

from __future__ import annotations

import errno
import os

import pytest

from slimcap import PcapWriter
from support.batches import batch_of
from support.writing import (
    PCAP_HEADER,
    SMALL_FILE,
    ShortWrites,
    no_space,
    open_descriptors,
    record_of,
    small_batch,
)


@pytest.fixture
def small():
    return small_batch()


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_short_writes_are_continued(most, small):
    file = ShortWrites(most)
    with PcapWriter(file) as writer:
        writer.write_batch(small)
        assert file.content == SMALL_FILE
    assert file.flushed == 1


@pytest.mark.parametrize("answer", [0, -1, 10_000])
def test_impossible_results_of_write_raise(answer):
    with pytest.raises(OSError, match=f"1 to 24, not {answer}"):
        PcapWriter(ShortWrites(limit=0, fail=lambda: answer))


def test_nonblocking_file_raises_and_is_continued_later(small):
    with pytest.raises(BlockingIOError, match="non-blocking"):
        PcapWriter(ShortWrites(limit=0, fail=lambda: None))
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with open(read_end, "rb", buffering=0) as reader, open(write_end, "wb", buffering=50) as file:
        writer = PcapWriter(file)
        batch = batch_of([bytes(60)] * 5000, timestamp=0)
        data = bytearray()
        with pytest.raises(BlockingIOError):  # with characters_written, which are not written again
            writer.write_batch(batch)
        while not writer.closed:
            data += reader.read(1 << 16)
            try:
                writer.close() if len(data) > 350_000 else writer.flush()
            except BlockingIOError:
                assert not writer.closed
        os.set_blocking(read_end, False)
        data += reader.read(1 << 20) or b""
    assert data == PCAP_HEADER + record_of(0, bytes(60)) * 5000


@pytest.mark.parametrize("limit", [24, 25, 40, 43, 60, 100])
def test_failed_write_is_completed_later(limit, small):
    file = ShortWrites(limit=limit, fail=no_space)
    writer = PcapWriter(file)
    with pytest.raises(OSError, match="full") as info:
        writer.write_batch(small)
    assert info.value.errno == errno.ENOSPC
    assert file.content == SMALL_FILE[:limit]
    assert writer.packets_written == 3
    with pytest.raises(OSError, match="full"):
        writer.flush()
    file.limit = None
    writer.write_batch(small)
    writer.close()
    assert file.content == SMALL_FILE + SMALL_FILE[24:]


def test_packets_after_a_failed_batch_are_written_in_order():
    batch = batch_of([bytes(1000)] * 3000, timestamp=0)
    file = ShortWrites(1 << 20, 500_000, no_space)
    file.calls = (1 << 20) - 1  # so that each write after the header is accepted whole
    file.most = 1 << 30
    writer = PcapWriter(file)
    with pytest.raises(OSError, match="full"):
        writer.write_batch(batch)
    assert 0 < writer.packets_written < 3000
    file.limit = None
    writer.write_batch(batch[writer.packets_written :])
    writer.close()
    assert file.content == PCAP_HEADER + record_of(0, bytes(1000)) * 3000


def test_a_failed_close_closes(small):
    file = ShortWrites(limit=30, fail=no_space)
    with pytest.raises(OSError, match="full"), PcapWriter(file) as writer:
        writer.write_packet(small[0])
    assert writer.closed
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.flush()


def test_full_disk_raises_and_leaks_no_descriptor(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    before = open_descriptors()
    with pytest.raises(OSError, match=r"write: .*'/dev/full'") as info:
        PcapWriter("/dev/full")
    assert info.value.errno == errno.ENOSPC
    assert open_descriptors() == before


def test_broken_pipe_raises(small, fifo):
    reader = os.open(fifo.path, os.O_RDONLY | os.O_NONBLOCK)
    writer = PcapWriter(fifo.path)
    fifo.close()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        writer.write_batch(small)
    with pytest.raises(BrokenPipeError):
        writer.close()
    assert writer.closed


def test_closed_writer_raises(small, tmp_path):
    writer = PcapWriter(tmp_path / "out")
    assert not writer.closed
    writer.close()
    writer.close()
    assert writer.closed
    for call in (lambda: writer.write_batch(small), lambda: writer.write_packet(small[0]), writer.flush):
        with pytest.raises(ValueError, match="the writer is closed"):
            call()
    assert (writer.packets_written, writer.bytes_written) == (0, 24)
