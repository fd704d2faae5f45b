"""Merging files that packets still arrive in: timeouts, close, stop and unblock."""

from __future__ import annotations

import contextlib
import gc
import io

import pytest

from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    TruncatedFileError,
    open_files,
)
from support.merging import (
    capture,
    descriptors,
    until_the_end,
    write,
)


class Hesitant(io.RawIOBase):
    """A file object in non-blocking mode that has no data every other time."""

    def __init__(self, data):
        self._file, self._calls = io.BytesIO(data), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self._calls += 1
        return None if self._calls > 5 and self._calls % 2 else self._file.readinto(memoryview(buffer)[:40])


def test_reading_goes_on_after_blocking_io_error():
    with open_files([Hesitant(capture(range(9)))], block_size=64) as source:
        times, errors = until_the_end(source)
    assert times == list(range(9))
    assert {type(error) for _, error in errors} == {BlockingIOError}


def test_packets_wait_for_a_fifo_that_may_have_earlier_ones(fifo, background):
    fifo.write(capture([], 1))
    data = capture([2, 4], 1)[24:]
    with open_files([io.BytesIO(capture([1, 3, 5], 0)), fifo.path], timeout=10) as source:
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0.02)
        fifo.write(data[: len(data) // 2])
        assert [source.next_packet().timestamp for _ in range(2)] == [1, 2]
        waits = background(source.next_packet)  # 3 has arrived, but the FIFO's next may be earlier
        waits.wait_until_blocked()
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            waits.result()
        fifo.write(data[len(data) // 2 :])
        fifo.close_soon()
        assert [packet.timestamp for packet in source] == [3, 4, 5]


@pytest.mark.parametrize("end", ["close", "stop"])
def test_close_and_stop_end_a_wait(fifo, background, end):
    fifo.write(capture([2], 1) + b"half")
    source = open_files([io.BytesIO(capture([1, 3], 0)), fifo.path])
    assert [source.next_packet().timestamp for _ in range(2)] == [1, 2]
    waits = background(lambda: [packet.timestamp for packet in source])
    waits.wait_until_blocked()
    getattr(source, end)()
    assert waits.result(1) == ([] if end == "close" else [3])
    with contextlib.suppress(CaptureStopped):
        source.close()


def test_call_times_out_and_close_ends_it(tmp_path, fifo, background):
    fifo.write(capture([2], 1))
    source = open_files([write(tmp_path / "a", [1, 3]), fifo.path], timeout=None)
    assert [source.next_packet().timestamp for _ in range(2)] == [1, 2]
    with pytest.raises(TimeoutError):
        source.next_payload(timeout=0.02)
    waits = background(source.next_payload)
    waits.wait_until_blocked()
    source.close()
    with pytest.raises(CaptureStopped):
        waits.result()


def test_no_descriptor_is_left_open(data_path):
    files = [data_path / name for name in ("mixed.pcap", "mixed.pcap.gz", "mixed.pcapng")]
    gc.collect()
    before = descriptors()
    for _ in range(3):
        with open_files(files) as source:
            source.next_packet()
        with open_files(files) as source:
            list(source)
        source = open_files(files)
        source.next_packet()
        source.close()
        with pytest.raises(TruncatedFileError):
            open_files([*files, "/dev/null"])
        open_files(files)
    gc.collect()
    assert descriptors() == before
