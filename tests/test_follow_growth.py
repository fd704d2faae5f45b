"""Following files that grow, and sets of them, as real writers make them."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import subprocess
import threading
import time
import zlib

import make_samples
import pytest
from make_samples import pcap_header, pcap_record

import slimcap
from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    PcapSource,
    TruncatedFileError,
    open_file,
    open_files,
)

FRAME = make_samples.ethernet(make_samples.packet4())
BASE = 1_700_000_000


def record(tag):
    return pcap_record(FRAME[:14] + tag.to_bytes(4, "big") + bytes(42), BASE + tag)


def tag_of(payload):
    return int.from_bytes(bytes(payload[14:18]), "big")


def grow(path, data):
    with open(path, "ab") as file:
        file.write(data)


class Reader(threading.Thread):
    """Reads a source to its end; when each packet came."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source, self.tags, self.times, self.errors = source, [], [], []
        self.start()

    def run(self):
        while True:
            try:
                self.tags.append(tag_of(self.source.next_payload()[0]))
                self.times.append(time.monotonic())
            except (EOFError, CaptureStopped):
                return
            except Exception as error:
                self.errors.append(error)
                if len(self.errors) > 5:
                    return

    def wait_for(self, count, within=5):
        end = time.monotonic() + within
        while len(self.tags) < count and time.monotonic() < end:
            time.sleep(0.002)
        assert len(self.tags) >= count, (len(self.tags), count, self.errors)

    def ended(self, within=5):
        self.join(within)
        assert not self.is_alive()
        return self.tags


def test_byte_by_byte(tmp_path):
    path = tmp_path / "grows.pcap"
    path.touch()
    opened = []

    def read():
        opened.append(open_file(path, follow=True))
        opened.append(Reader(opened[0]))

    threading.Thread(target=read, daemon=True).start()
    written = []
    with open(path, "ab", buffering=0) as file:
        for data, whole in [(pcap_header(), False), *[(record(tag), True) for tag in range(12)]]:
            for byte in data:
                file.write(bytes([byte]))
            if whole:
                written.append(time.monotonic())
                time.sleep(0.02)
    end = time.monotonic() + 5
    while len(opened) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    source, reader = opened
    reader.wait_for(12)
    assert reader.tags == list(range(12))
    late = [came - wrote for came, wrote in zip(reader.times, written, strict=True)]
    assert sorted(late)[len(late) // 2] < 0.05, late
    source.stop()
    reader.ended()
    assert not reader.errors
    with pytest.raises(EOFError):
        source.next_packet()


def test_idle_costs_no_cpu(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0))
    with open_file(path, follow=True) as source:
        source.next_packet()
        before = time.process_time()
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=1)
        assert time.process_time() - before < 0.1


def test_deleted(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0))
    with open_file(path, follow=True) as source:
        reader = Reader(source)
        reader.wait_for(1)
        with open(path, "ab", buffering=0) as file:
            file.write(record(1))
            os.unlink(path)
        assert reader.ended() == [0, 1]
        assert not reader.errors


def test_deleted_in_a_record(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0) + record(1)[:-1])
    with open_file(path, follow=True) as source:
        source.next_packet()
        os.unlink(path)
        with pytest.raises(TruncatedFileError):
            source.next_packet(timeout=5)


def test_renamed_is_followed_on(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0))
    with open_file(path, follow=True, timeout=5) as source:
        source.next_packet()
        path = path.rename(tmp_path / "b.pcap")
        grow(path, record(1))
        assert tag_of(source.next_payload()[0]) == 1


def test_cut(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0) + record(1))
    with open_file(path, follow=True, timeout=5) as source:
        source.next_packet()
        source.next_packet()
        os.truncate(path, 30)
        for _ in range(2):
            with pytest.raises(FileFormatError, match=r"short|cut") as raised:
                source.next_packet()
            assert raised.value.path == str(path)
            assert raised.value.packet_index == 2


def test_unblock_close_and_timeouts(tmp_path, background):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0)[:20])
    source = open_file(path, follow=True)
    read = background(source.next_packet)
    time.sleep(0.05)
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        read.result()
    grow(path, record(0)[20:])
    assert tag_of(source.next_payload(timeout=5)[0]) == 0
    read = background(source.next_packet)
    time.sleep(0.05)
    source.close()
    with pytest.raises(CaptureStopped):
        read.result()


def test_no_header_in_time(tmp_path):
    path = tmp_path / "a.pcap"
    path.touch()
    with pytest.raises(TimeoutError):
        PcapSource(path, follow=True, timeout=0.05)


def test_stop_in_a_record(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0) + record(1) + record(2)[:30])
    with open_file(path, follow=True) as source:
        source.stop()
        assert [tag_of(p.payload) for p in source] == [0, 1]
        with pytest.raises(EOFError):
            source.next_packet()


def test_stop_wakes(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header())
    with open_file(path, follow=True) as source:
        reader = Reader(source)
        time.sleep(0.05)
        start = time.monotonic()
        source.stop()
        reader.ended()
        assert time.monotonic() - start < 0.5


def test_stop_of_what_does_not_grow(tmp_path):
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzip.compress(pcap_header() + b"".join(record(i) for i in range(5000))))
    with open_file(path) as source:
        source.next_packet()
        source.stop()
        assert len(list(source)) == 4999
    with PcapSource(io.BytesIO(pcap_header() + record(0))) as source:
        source.stop()
        assert len(list(source)) == 1


def test_stop_of_a_fifo(tmp_path, fifo):
    fifo.write(pcap_header() + record(0) + record(1))
    with open_file(fifo.path) as source:
        reader = Reader(source)
        reader.wait_for(2)
        source.stop()
        assert reader.ended() == [0, 1]
        assert not reader.errors


def test_stop_of_a_busy_fifo(fifo):
    """What is written after the stop is not waited for, though there is always more."""
    fifo.write(pcap_header())
    ended = threading.Event()

    def write():
        while not ended.is_set():
            fifo.write(record(0) * 50)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with open_file(fifo.path) as source:
        source.next_packet()
        source.stop()
        reader = threading.Thread(target=lambda: list(source.batches()), daemon=True)
        reader.start()
        reader.join(5)
        assert not reader.is_alive()
        ended.set()
    rest = os.open(fifo.path, os.O_RDONLY | os.O_NONBLOCK)
    while writer.is_alive():  # it may wait for room
        with contextlib.suppress(BlockingIOError):
            os.read(rest, 1 << 16)
    os.close(rest)


@pytest.mark.parametrize("open_it", [open_file, lambda path: open_files([path])], ids=["one", "merged"])
def test_stop_hides_no_damage_of_what_does_not_grow(tmp_path, open_it):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap_header() + record(0) + record(1)[:-1])
    with open_it(path) as source:
        source.stop()
        assert tag_of(source.next_payload()[0]) == 0
        with pytest.raises(TruncatedFileError):
            source.next_payload()


def test_file_object(tmp_path):
    with pytest.raises(ValueError, match="path"):
        PcapSource(io.BytesIO(pcap_header()), follow=True)


def test_fifo_with_two_writers(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def put(data):
        with open(path, "wb") as file:
            file.write(data)

    threading.Thread(target=put, args=(pcap_header() + record(0),), daemon=True).start()
    with open_file(path, follow=True, timeout=5) as source:
        assert tag_of(source.next_payload()[0]) == 0
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.05)
        put(record(1) + record(2)[:7])
        assert tag_of(source.next_payload()[0]) == 1
        put(record(2)[7:])
        assert tag_of(source.next_payload()[0]) == 2
        source.stop()
        with pytest.raises(EOFError):
            source.next_packet()


def test_gzip_with_flushes(tmp_path):
    path = tmp_path / "a.pcap.gz"
    packer = zlib.compressobj(wbits=31)
    path.write_bytes(packer.compress(pcap_header()) + packer.flush(zlib.Z_SYNC_FLUSH))
    with open_file(path, follow=True, timeout=5) as source:
        for tag in range(5):
            grow(path, packer.compress(record(tag)) + packer.flush(zlib.Z_SYNC_FLUSH))
            assert tag_of(source.next_payload()[0]) == tag
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.05)
        source.stop()
        with pytest.raises(EOFError):
            source.next_packet()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_frame_after_frame(tmp_path, kind):
    if kind == "zstd":
        zstandard = pytest.importorskip("zstandard")
        pack = zstandard.ZstdCompressor().compress
    else:
        pack = gzip.compress
    path = tmp_path / "a.pcap"
    path.write_bytes(pack(pcap_header()))
    with open_file(path, follow=True, timeout=5) as source:
        for tag in range(5):
            data = pack(record(tag))
            grow(path, data[:9])
            grow(path, data[9:])
            assert tag_of(source.next_payload()[0]) == tag


# ---- sets


def test_set_that_is_written(tmp_path):
    with open_files(str(tmp_path / "cap-*.pcap"), follow=True) as source:
        reader = Reader(source)
        tag = 0
        for k in range(8):
            path = tmp_path / f"cap-{k}.pcap"
            path.write_bytes(pcap_header())
            for _ in range(3):
                grow(path, record(tag))
                tag += 1
                if k % 2:
                    time.sleep(0.01)
        reader.wait_for(tag)
        source.stop()
        assert reader.ended() == list(range(24))
        assert not reader.errors


def test_several_at_once(tmp_path):
    hidden = tmp_path / "elsewhere"
    hidden.mkdir()
    (tmp_path / "cap-0.pcap").write_bytes(pcap_header() + record(0))
    with open_files(str(tmp_path / "cap-*.pcap"), follow=True) as source:
        reader = Reader(source)
        reader.wait_for(1)
        for k in range(1, 6):
            path = hidden / f"cap-{k}.pcap"
            path.write_bytes(pcap_header() + record(k))
            time.sleep(0.01)
        for k in range(1, 6):
            os.rename(hidden / f"cap-{k}.pcap", tmp_path / f"cap-{k}.pcap")
        reader.wait_for(6)
        grow(tmp_path / "cap-5.pcap", record(6))
        reader.wait_for(7)
        source.stop()
        assert reader.ended() == list(range(7))
        assert not reader.errors


def test_idle_file_in_the_middle(tmp_path):
    for k, data in enumerate([record(0), b"", record(1)]):
        (tmp_path / f"cap-{k}.pcap").write_bytes(pcap_header() + data)
        time.sleep(0.01)
    with open_files(str(tmp_path / "cap-*.pcap"), follow=True) as source:
        reader = Reader(source)
        reader.wait_for(2)
        grow(tmp_path / "cap-2.pcap", record(2))
        reader.wait_for(3)
        source.stop()
        assert reader.ended() == [0, 1, 2]
        assert not reader.errors


def test_damaged_file_of_a_set(tmp_path):
    (tmp_path / "cap-0.pcap").write_bytes(pcap_header() + record(0) + record(1)[:-3])
    time.sleep(0.01)
    (tmp_path / "cap-1.pcap").write_bytes(pcap_header() + record(2))
    with open_files(str(tmp_path / "cap-*.pcap"), follow=True) as source:
        assert tag_of(source.next_payload(timeout=5)[0]) == 0
        with pytest.raises(TruncatedFileError) as raised:
            source.next_payload(timeout=5)
        assert raised.value.path == str(tmp_path / "cap-0.pcap")
        assert tag_of(source.next_payload(timeout=5)[0]) == 2


def test_rotation_by_tcpdump(tmp_path, need_tool, drain):
    tcpdump = need_tool("tcpdump")
    big = tmp_path / "big"
    count = 60_000
    with open(big, "wb") as file:
        file.write(pcap_header())
        for tag in range(count):
            file.write(pcap_record(FRAME[:14] + tag.to_bytes(4, "big") + bytes(60), BASE, tag))
    with open_files(str(tmp_path / "base*"), follow=True) as source:
        reader = Reader(source)
        subprocess.run(
            [tcpdump, "-Z", "root", "-r", big, "-C", "1", "-w", tmp_path / "base"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert len(list(tmp_path.glob("base*"))) > 4
        reader.wait_for(count, within=30)
        source.stop()
        assert reader.ended() == list(range(count))
        assert not reader.errors


def test_pattern_of_folders(tmp_path):
    with pytest.raises(ValueError, match="folder"):
        open_files(str(tmp_path / "*" / "a.pcap"), follow=True)


def test_close_and_unblock_of_a_set(tmp_path, background):
    source = open_files(str(tmp_path / "cap-*.pcap"), follow=True)
    with pytest.raises(TimeoutError):
        source.next_packet(timeout=0.02)
    read = background(source.next_packet)
    time.sleep(0.03)
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        read.result()
    (tmp_path / "cap-0.pcap").write_bytes(pcap_header() + record(0))
    assert tag_of(source.next_payload(timeout=5)[0]) == 0
    read = background(source.next_packet)
    time.sleep(0.03)
    source.close()
    with pytest.raises(CaptureStopped):
        read.result()


def test_descriptors(tmp_path):
    path = tmp_path / "cap-0.pcap"
    path.write_bytes(pcap_header() + record(0))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with open_files(str(tmp_path / "cap-*.pcap"), follow=True) as source:
            source.next_packet()
        with open_file(path, follow=True) as source:
            source.next_packet()
    del source
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_slimcap_has_them():
    assert {"MergedSource", "open_files"} <= set(slimcap.__all__)
