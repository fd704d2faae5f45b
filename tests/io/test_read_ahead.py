"""The read-ahead thread: compressed files of a path are decompressed on it, ahead of the reader."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time

import pytest

from make_samples import pcap_header, pcap_record
from slimcap import CaptureStopped, CaptureUnblocked, FileFormatError, PcapSource, TruncatedFileError, read
from slimcap.io.compression import read_ahead
from slimcap.io.compression.stream_reader import StreamError
from slimcap.io.compression.zstd_lz4 import FrameReader
from support.compression import PLAIN, every_kind, zstd
from support.threads import wait_until

_others: set[threading.Thread] = set()


def running():
    return [thread for thread in threading.enumerate() if thread.name == "slimcap decompressor"]


def threads():
    """Return the read-ahead threads that run since the test began."""
    return [thread for thread in running() if thread not in _others]


@pytest.fixture(autouse=True)
def without_those_of_other_tests():
    """A thread of a source of another test may still be ending, on a slow machine."""
    _others.clear()
    _others.update(running())


@pytest.fixture
def big(tmp_path):
    """A compressed file of 20 MB, more than is read ahead."""
    path = tmp_path / "big.zst"
    path.write_bytes(zstd(pcap_header() + pcap_record(bytes(1000)) * 20_000))
    return path


@every_kind
def test_compressed_file_of_a_path_has_a_thread(kind, tmp_path):
    path = tmp_path / "compressed"
    path.write_bytes(kind.pack(PLAIN))
    with PcapSource(path) as source:
        assert len(list(source)) == 12
    assert threads() == []


def test_only_compressed_files_of_a_path_have_a_thread(big, tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(PLAIN)
    for file in (plain, io.BytesIO(PLAIN), io.BytesIO(zstd(PLAIN))):
        with PcapSource(file):
            assert threads() == []
    with PcapSource(big):
        assert len(threads()) == 1
    assert threads() == []


@pytest.mark.parametrize("packets", [0, 1, 20_000])
def test_thread_ends_with_the_source(big, packets):
    before = set(os.listdir("/proc/self/fd"))
    source = PcapSource(big)
    for _ in range(packets):
        source.next_packet()
    source.close()
    assert threads() == []
    del source
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_thread_ends_with_a_source_that_was_never_closed(big):
    before = set(os.listdir("/proc/self/fd"))
    source = PcapSource(big)
    source.next_packet()
    assert len(threads()) == 1
    del source
    wait_until(lambda: not threads())
    assert set(os.listdir("/proc/self/fd")) == before


def test_thread_ends_when_the_header_is_not_valid(tmp_path):
    path = tmp_path / "bad.zst"
    path.write_bytes(zstd(b"no capture file at all, but one that is compressed"))
    with pytest.raises(FileFormatError, match="magic"):
        PcapSource(path)
    assert threads() == []


def is_asleep(thread):
    """Return True if a thread waits."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


def test_thread_waits_when_enough_is_read_ahead(big):
    with PcapSource(big) as source:
        [thread] = threads()
        wait_until(lambda: is_asleep(thread))
        assert source.progress[0] <= big.stat().st_size
        assert thread.is_alive()
        assert len(list(source)) == 20_000


class Stalled:
    """A decompressor whose `read` waits for `go_on`, then gives these answers in turn, then the end."""

    def __init__(self, *answers):
        self.go_on = threading.Event()
        self._answers = list(answers)

    def read(self):
        self.go_on.wait(10)
        answer = self._answers.pop(0) if self._answers else b""
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def stalled(monkeypatch, tmp_path):
    """Gives the path of a file, and its decompressor: a Stalled, after the header."""

    def make(*answers):
        reader = Stalled(*answers)
        first = [pcap_header()]
        monkeypatch.setattr(FrameReader, "read", lambda self: first.pop() if first else reader.read())
        path = tmp_path / "stalled.zst"
        path.write_bytes(zstd(PLAIN))
        return path, reader

    return make


@pytest.mark.parametrize(("signal", "error"), [("close", CaptureStopped), ("unblock", CaptureUnblocked)])
def test_close_and_unblock_wake_a_waiting_read(stalled, background, signal, error):
    path, reader = stalled()
    source = PcapSource(path)
    reading = background(source.next_packet)
    reading.wait_until_blocked()
    signalling = background(getattr(source, signal))  # close waits for the thread, for a second
    with pytest.raises(error):
        reading.result(5)
    reader.go_on.set()
    signalling.result(5)
    source.close()


def test_read_times_out_and_continues_later(stalled):
    path, reader = stalled(pcap_record(b"one"), pcap_record(b"two"))
    with PcapSource(path) as source:
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.02)
        reader.go_on.set()
        assert [bytes(packet.payload) for packet in source] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (StreamError("broken", truncated=True), TruncatedFileError),
        (StreamError("broken"), FileFormatError),
        (OSError(5, "broken"), OSError),
        (MemoryError("broken"), MemoryError),
    ],
    ids=["cut", "broken", "OSError", "MemoryError"],
)
def test_error_of_the_thread_is_raised_after_the_packets_before_it(stalled, error, raised):
    path, reader = stalled(pcap_record(b"one"), error)
    reader.go_on.set()
    with PcapSource(path) as source:
        assert bytes(source.next_packet().payload) == b"one"
        for _ in range(2):
            with pytest.raises(raised, match="broken") as caught:
                source.next_packet()
        if raised in (TruncatedFileError, FileFormatError):
            assert (caught.value.offset, caught.value.packet_index) == (24 + 16 + 3, 1)
    assert threads() == []


@pytest.mark.slow
def test_ctrl_c_interrupts_a_waiting_read(tmp_path):
    path = tmp_path / "stalled.zst"
    path.write_bytes(zstd(PLAIN))
    code = """if True:
        import signal, sys, threading, time, slimcap
        from slimcap.io.compression.zstd_lz4 import FrameReader
        real = FrameReader.read
        def read(self):
            data = real(self)
            if not data:
                time.sleep(30)
            return data
        FrameReader.read = read
        source = slimcap.PcapSource(sys.argv[1])
        threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
        count, began = 0, time.monotonic()
        try:
            for packet in source:
                count += 1
        except KeyboardInterrupt:
            print(count, time.monotonic() - began < 3)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=30, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("12 True\n", "", 0)


def test_close_waits_a_second_at_most_for_the_thread(stalled):
    """A disk may hang."""
    path, reader = stalled()
    source = PcapSource(path)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 5
    reader.go_on.set()


class Endless:
    """A decompressor of endless zeros; `count` pieces were read."""

    count = 0

    def read(self):
        self.count += 1
        return bytes(100_000)


def test_amount_that_is_read_ahead_is_bounded():
    reader, closed = Endless(), threading.Event()
    most = read_ahead.MAX_QUEUED // 100_000 + 2
    pipe = read_ahead.ReadAhead(reader, closed.set)
    wait_until(lambda: reader.count >= most - 1)
    [thread] = threads()
    wait_until(lambda: is_asleep(thread))
    assert reader.count <= most
    taken = 0

    def take():
        nonlocal taken
        taken += len(pipe.take(1) or [])
        return taken > 2 * most

    wait_until(take)
    assert reader.count <= taken + most
    pipe.close()
    assert closed.wait(5)
    assert not thread.is_alive()


def test_many_sources_read_ahead_at_once(big):
    sources = [PcapSource(big) for _ in range(10)]
    assert [sum(len(batch) for batch in source.batches()) for source in sources] == [20_000] * 10
    for source in sources:
        source.close()
    assert threads() == []


@pytest.mark.slow
def test_large_compressed_file_is_read_whole(big):
    assert len(read(big)) == 20_000
