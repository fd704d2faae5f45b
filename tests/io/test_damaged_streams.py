"""Damaged and slow streams: their cost in time, and that no descriptor stays open."""

from __future__ import annotations

import gc
import gzip
import io
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from slimcap import FileFormatError, PcapSource, open_file
from support.builders.pcap import pcap_header, pcap_record
from support.compression import every_kind, lz4_frame
from support.files import Trickle
from support.merging import descriptors


def read_to_the_error(path: Path) -> None:
    with pytest.raises(FileFormatError), PcapSource(path) as source:
        for _ in source.batches():
            pass


@every_kind
def test_damaged_files_leave_no_descriptor_behind(kind, tmp_path):
    """Without the garbage collector: nothing refers to itself."""
    packed = bytearray(kind.pack(pcap_header() + pcap_record(os.urandom(4000)) * 30))
    path = tmp_path / "damaged"
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(bytes(packed[:-5]))
    read_to_the_error(path)
    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        for _ in range(20):
            read_to_the_error(path)
        assert descriptors() == before
    finally:
        gc.enable()


def test_error_of_the_read_ahead_thread_is_raised_by_every_call(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(pcap_header() + pcap_record(b"x" * 60))[:-9])
    with PcapSource(path) as source:
        messages = set()
        assert len(source.next_batch()) == 1
        for _ in range(3):
            with pytest.raises(FileFormatError) as raised:
                source.next_batch()
            messages.add(str(raised.value))
    assert len(messages) == 1


def seconds_to_read(data: bytes, step: int) -> float:
    started = time.process_time()
    with PcapSource(Trickle(data, step), block_size=1 << 22) as source:
        assert sum(map(len, source.batches())) > 0
    return time.process_time() - started


@pytest.mark.slow
def test_large_lz4_blocks_in_small_pieces_take_linear_time():
    """Twice the bytes in one block take about twice the time, not four times."""
    frame = pytest.importorskip("lz4.frame")
    records = [pcap_record(os.urandom(60000)) for _ in range(64)]
    half, whole = (
        lz4_frame(pcap_header() + b"".join(records[:count]), block_size=frame.BLOCKSIZE_MAX4MB)
        for count in (32, 64)
    )
    assert len(half) > 1 << 20
    first, second = (min(seconds_to_read(data, 256) for _ in range(3)) for data in (half, whole))
    assert second < 3 * first


def test_fifo_without_a_writer_times_out(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        open_file(tmp_path / "fifo", timeout=0.2)
    assert 0.2 <= time.monotonic() - started < 5


def test_fifo_waits_for_its_writer(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = pcap_header() + pcap_record(b"x" * 60) * 3

    def write() -> None:
        time.sleep(0.1)
        with path.open("wb") as file:
            file.write(data[:30])
            file.flush()
            time.sleep(0.1)
            file.write(data[30:])

    writer = threading.Thread(target=write)
    writer.start()
    with open_file(path, timeout=10) as source:
        assert sum(map(len, source.batches())) == 3
    writer.join()


def test_ctrl_c_ends_the_wait_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        open_file(tmp_path / "fifo")
    timer.join()


def test_file_object_in_pieces_gives_all_packets():
    data = lz4_frame(pcap_header() + pcap_record(b"x" * 600) * 100)
    with PcapSource(io.BufferedReader(Trickle(data, 7))) as source:
        assert sum(map(len, source.batches())) == 100
