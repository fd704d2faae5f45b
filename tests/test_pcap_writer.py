"""PcapWriter: what it writes, byte for byte and as others read it; and what happens when writing fails."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import os
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, Link, Packet, PcapSource, concat, read
from slimcap.sink.pcap import PcapWriter

SECOND = 10**9
TIME_END = SECOND << 32
PIECE = 1 << 20
HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)


def record(timestamp, data, total=None):
    """A packet's record, as the file has it."""
    total = len(data) if total is None else total
    return struct.pack("=IIII", timestamp // SECOND, timestamp % SECOND, len(data), total) + data


def batch_of(payloads, timestamps=None, totals=None, interfaces=None, links=()):
    records = np.zeros(len(payloads), RECORD_DTYPE)
    lengths = [len(payload) for payload in payloads]
    records["cap_len"] = lengths
    records["total_len"] = lengths if totals is None else totals
    records["offset"] = np.cumsum([0, *lengths])[:-1]
    records["timestamp"] = np.arange(len(payloads)) * 1_234_567_891 if timestamps is None else timestamps
    records["interface"] = 0 if interfaces is None else interfaces
    return Batch(records, b"".join(payloads), links)


def payloads_of(batch):
    return [bytes(batch.payload(index)) for index in range(len(batch))]


def plain(batch):
    """Records as values, without where the bytes are."""
    return batch.records[[name for name in RECORD_DTYPE.names if name != "offset"]].tolist()


def written(*batches, **options):
    file = io.BytesIO()
    with PcapWriter(file, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    assert writer.packets_written == sum(map(len, batches))
    assert writer.bytes_written == len(file.getvalue())
    return file.getvalue()


SMALL = [b"abc", b"", bytes(range(60))]
TIMES = [0, 5 * SECOND + 7, TIME_END - 1]


@pytest.fixture
def small():
    return batch_of(SMALL, TIMES, [3, 0, 1500])


SMALL_FILE = HEADER + record(TIMES[0], SMALL[0]) + record(TIMES[1], b"") + record(TIMES[2], SMALL[2], 1500)


class Slow:
    """Takes a few bytes a write, 1, 2, … up to `most`; once `limit` bytes are there, `fail` is called."""

    def __init__(self, most=7, limit=None, fail=None):
        self.content = bytearray()
        self.most, self.limit, self.fail = most, limit, fail
        self.calls = self.flushed = 0

    def write(self, data):
        if self.limit is not None and len(self.content) >= self.limit:
            return self.fail()
        self.calls += 1
        part = bytes(data[: (self.calls - 1) % self.most + 1])
        if self.limit is not None:
            part = part[: self.limit - len(self.content)]
        self.content += part
        return len(part)

    def flush(self):
        self.flushed += 1


def no_space():
    raise OSError(errno.ENOSPC, "full")


# ---- what is written


def test_bytes_of_an_empty_file():
    assert written() == HEADER
    assert written(batch_of([])) == HEADER


def test_bytes_of_packets(small):
    assert written(small) == SMALL_FILE


def test_link_type_and_snaplen_are_in_the_header():
    data = written(link_type=276, snaplen=96)
    assert data == HEADER[:16] + struct.pack("=II", 96, 276)


def test_what_is_longer_than_the_snaplen_is_cut(small):
    data = written(small, snaplen=2)
    assert data[24:] == (
        record(TIMES[0], b"ab", 3) + record(TIMES[1], b"") + record(TIMES[2], bytes([0, 1]), 1500)
    )


@pytest.mark.parametrize("kind", [str, os.fsencode, Path], ids=["str", "bytes", "path"])
def test_paths(kind, tmp_path, small):
    path = tmp_path / "out.pcap"
    path.write_bytes(b"x" * 10_000)
    with PcapWriter(kind(path)) as writer:
        assert path.read_bytes() == HEADER
        assert writer.name == str(path)
        writer.write_batch(small)
        assert path.read_bytes() == SMALL_FILE
    assert path.read_bytes() == SMALL_FILE


def test_samples_survive(good, tmp_path):
    path = tmp_path / "out.pcap"
    with PcapSource(good.path) as source, PcapWriter(path, source.link.type) as writer:
        for batch in source.batches():
            writer.write_batch(batch)
    before, after = read(good.path), read(path)
    assert writer.packets_written == len(good.rows)
    assert writer.bytes_written == path.stat().st_size
    assert plain(after) == plain(before)
    assert payloads_of(after) == [row.data for row in good.rows]
    assert after.links[0].type == good.linktype & 0xFFFF


def test_samples_survive_packet_by_packet(good):
    file = io.BytesIO()
    with PcapSource(good.path) as source, PcapWriter(file, source.link.type) as writer:
        for packet in source:
            writer.write_packet(packet)
    assert file.getvalue() == written(read(good.path), link_type=good.linktype & 0xFFFF)


def test_masked_batches(data_path):
    batch = read(data_path / "mixed.pcap")
    odd = np.arange(len(batch)) % 2 == 1
    for rows in (odd, slice(None, None, -1), [3, 3, 0], slice(0, 0)):
        again = read(io.BytesIO(written(batch[rows])))
        assert plain(again) == plain(batch[rows])
        assert payloads_of(again) == payloads_of(batch[rows])


def test_many_pieces(data_path):
    batch = read(data_path / "mixed.pcap")
    many = concat([batch] * (3 * PIECE // len(batch.data) + 1))
    data = written(many, many)
    assert len(data) > 6 * PIECE
    again = read(io.BytesIO(data))
    assert plain(again) == plain(many) * 2
    assert payloads_of(again) == payloads_of(many) * 2


def test_where_a_piece_ends():
    """The last packet of a piece fills it, or is a few bytes too long."""
    room = PIECE - 16 - 16
    for first in range(room - 20, room + 3):
        payloads = [bytes(100), bytes(first - 116), b"x" * 3, b"y"]
        writes = []
        with PcapWriter(Recorder(writes), snaplen=PIECE) as writer:
            writer.write_batch(batch_of(payloads, [0, 1, 2, 3]))
        assert b"".join(writes[1:]) == b"".join(record(n, data) for n, data in enumerate(payloads))
        assert len(writes[1]) <= PIECE
        assert len(writes) == (2 if sum(map(len, payloads)) + 64 <= PIECE else 3)


class Recorder:
    def __init__(self, writes):
        self.writes = writes

    def write(self, data):
        self.writes.append(bytes(data))
        return len(data)


def test_one_write_a_batch(small):
    writes = []
    with PcapWriter(Recorder(writes)) as writer:
        for _ in range(3):
            writer.write_batch(small)
    assert [len(data) for data in writes] == [24] + [len(SMALL_FILE) - 24] * 3


@pytest.mark.parametrize("size", [PIECE - 17, PIECE - 16, PIECE - 15, PIECE, 5 * PIECE])
def test_packets_larger_than_the_buffer(size, small):
    huge = np.random.default_rng(1).bytes(size)
    batch = batch_of([b"abc", huge, b"x", huge])
    data = written(batch, small, snaplen=1 << 30)
    wanted = b"".join(record(n * 1_234_567_891, data) for n, data in enumerate(payloads_of(batch)))
    assert data[24:] == wanted + SMALL_FILE[24:]
    file = io.BytesIO()
    with PcapWriter(file, snaplen=1 << 30) as writer:
        for packet in batch:
            writer.write_packet(packet)
    assert file.getvalue()[24:] == wanted


def test_packets_of_any_kind(small):
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        writer.write_packet(small[0])
        writer.write_packet(small[1].copy())
        writer.write_packet(small[2])
        writer.write_packet(Packet.from_payload(b"", total_len=9, timestamp=SECOND))
        assert writer.packets_written == 4
        assert file.getvalue() == HEADER
        assert writer.bytes_written == len(SMALL_FILE) + 16
        writer.flush()
        assert file.getvalue() == SMALL_FILE + record(SECOND, b"", 9)


def test_batches_come_after_packets_that_wait(small):
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        writer.write_packet(Packet.from_payload(b"first", timestamp=SECOND))
        writer.write_batch(small)
        assert file.getvalue() == HEADER + record(SECOND, b"first") + SMALL_FILE[24:]


def test_packets_fill_the_buffer():
    writes = []
    packet = Packet.from_payload(bytes(1000))
    with PcapWriter(Recorder(writes)) as writer:
        for _ in range(3000):
            writer.write_packet(packet)
        assert [len(data) for data in writes] == [24] + [PIECE // 1016 * 1016] * 2
    assert b"".join(writes) == HEADER + record(0, bytes(1000)) * 3000


def test_a_released_batch(small):
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        small.release()
        with pytest.raises(ValueError, match="released"):
            writer.write_batch(small)
    assert file.getvalue() == HEADER


def test_the_batch_can_be_released_afterwards(small):
    written(small)
    small.release()


# ---- as others read it


@pytest.fixture
def mixed_out(data_path, tmp_path):
    path = tmp_path / "out.pcap"
    with PcapWriter(path) as writer:
        writer.write_batch(read(data_path / "mixed_ns.pcap"))
    return path


def output_of(*command):
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_tshark_reads_it(mixed_out, need_tool):
    batch = read(mixed_out)
    fields = ("-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len")
    lines = output_of(need_tool("tshark"), "-n", "-r", str(mixed_out), "-T", "fields", *fields).splitlines()
    assert len(batch) == len(lines) > 0
    for line, (time, _, total, captured, *_) in zip(lines, batch.records.tolist(), strict=True):
        seconds, fraction, *lengths = re.split(r"[.\t]", line)
        assert int(seconds) * SECOND + int(fraction.ljust(9, "0")) == time
        assert list(map(int, lengths)) == [total, captured]


def test_tcpdump_reads_it(mixed_out, need_tool):
    batch = read(mixed_out)
    options = ("-n", "-tt", "--nano", "-e", "-r", str(mixed_out))
    times = re.findall(r"^(\d+)\.(\d{9}) ", output_of(need_tool("tcpdump"), *options), re.M)
    assert [int(seconds) * SECOND + int(fraction) for seconds, fraction in times] == batch[
        "timestamp"
    ].tolist()
    assert len(times) > 0


def test_tcpdump_writes_the_same(mixed_out, tmp_path, need_tool):
    """libpcap writes what it read: it took every byte as it was meant."""
    copy = tmp_path / "copy.pcap"
    output_of(need_tool("tcpdump"), "-n", "--nano", "-r", str(mixed_out), "-w", str(copy))
    assert copy.read_bytes() == mixed_out.read_bytes()


# ---- what cannot be written


@pytest.mark.parametrize("time", [-1, TIME_END, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("at", [0, 1, 49_999])
def test_times_that_do_not_fit(time, at):
    times = np.zeros(50_000, np.int64)
    times[at] = time
    batch = batch_of([bytes(60)] * 50_000, times)
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        with pytest.raises(ValueError, match=rf"^packet {at} has the time {time} ns"):
            writer.write_batch(batch)
        with pytest.raises(ValueError, match=rf"the packet has the time {time} ns"):
            writer.write_packet(batch[at])
        assert writer.packets_written == 0
        writer.write_batch(batch[at + 1 :])
    assert file.getvalue() == HEADER + record(0, bytes(60)) * (50_000 - at - 1)


ETHERNET, RAW = Link("eth0", 0, 1), Link("tun0", 1, 101)


def test_links_of_another_type():
    file = io.BytesIO()
    with PcapWriter(file) as writer:
        with pytest.raises(ValueError, match=r"packet 0 is of 'tun0' with link type 101.*link type 1$"):
            writer.write_batch(batch_of(SMALL, links=(RAW,)))
        with pytest.raises(ValueError, match="packet 2 is of 'tun0'"):
            writer.write_batch(batch_of(SMALL, links=(ETHERNET, RAW), interfaces=[0, 0, 1]))
        assert file.getvalue() == HEADER
        # Only packets count: of links that are there, of links that are not, of any link of the right type.
        writer.write_batch(batch_of(SMALL, links=(ETHERNET, RAW)))
        writer.write_batch(batch_of(SMALL, links=(RAW, ETHERNET), interfaces=[1, 2, 65535]))
        writer.write_batch(batch_of(SMALL, links=(ETHERNET, ETHERNET), interfaces=[1, 0, 1]))
        writer.write_batch(batch_of([], links=(RAW,)))
        with pytest.raises(ValueError, match="packet 0 is of 'tun0'"):
            writer.write_batch(batch_of(SMALL, links=(RAW,)))
    assert writer.packets_written == 9


@pytest.mark.parametrize("link_type", [-1, 65536, 2**40])
def test_link_types_that_do_not_fit(link_type, tmp_path):
    with pytest.raises(ValueError, match="link_type is from 0 to 65535"):
        PcapWriter(tmp_path / "out", link_type)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("snaplen", [-1, 0, 1 << 31])
def test_snaplens_that_do_not_fit(snaplen, tmp_path):
    with pytest.raises(ValueError, match="snaplen is a number of bytes"):
        PcapWriter(tmp_path / "out", snaplen=snaplen)
    assert not (tmp_path / "out").exists()


def test_what_is_no_file(tmp_path):
    for file in (None, 1, object(), []):
        with pytest.raises(TypeError, match="a path or a binary file object is needed"):
            PcapWriter(file)
    with pytest.raises(TypeError):
        PcapWriter(io.StringIO())
    with pytest.raises(FileNotFoundError):
        PcapWriter(tmp_path / "nowhere" / "out")
    with pytest.raises(IsADirectoryError):
        PcapWriter(tmp_path)


def test_what_is_no_batch():
    with PcapWriter(io.BytesIO()) as writer:
        for wrong in (None, 1, SMALL):
            with pytest.raises(TypeError):
                writer.write_batch(wrong)
            with pytest.raises(TypeError):
                writer.write_packet(wrong)


def test_opened_once_and_never(small, tmp_path):
    with PcapWriter(tmp_path / "a") as writer:
        with pytest.raises(TypeError, match="opened once"):
            writer.__init__(tmp_path / "b")
        writer.write_batch(small)
    never = PcapWriter.__new__(PcapWriter)
    assert never.closed
    never.close()
    with pytest.raises(ValueError, match="closed"):
        never.write_batch(small)


# ---- file objects


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_short_writes(most, small):
    file = Slow(most)
    with PcapWriter(file) as writer:
        writer.write_batch(small)
        assert file.content == SMALL_FILE
    assert file.flushed == 1


def test_file_objects_stay_open(small, tmp_path):
    with gzip.open(tmp_path / "out.gz", "wb") as file:
        writer = PcapWriter(file)
        assert writer.name == str(tmp_path / "out.gz")
        writer.write_batch(small)
        writer.close()
        assert not file.closed
    assert payloads_of(read(tmp_path / "out.gz")) == SMALL


def test_raw_and_buffered_files(small, tmp_path):
    for buffering in (0, 10, -1):
        with open(tmp_path / "out", "wb", buffering=buffering) as file, PcapWriter(file) as writer:
            writer.write_batch(small)
            writer.flush()
            assert (tmp_path / "out").read_bytes() == SMALL_FILE


def test_views_that_the_file_keeps_do_not_change(small):
    kept = []

    class Keeper:
        def write(self, data):
            kept.append(data)
            return max(1, len(data) // 2)

    with PcapWriter(Keeper()) as writer:
        for _ in range(3):
            writer.write_batch(small)
    del writer
    gc.collect()
    copies = list(map(bytes, kept))
    assert copies[0] == HEADER
    assert b"".join(data[: max(1, len(data) // 2)] for data in copies) == HEADER + SMALL_FILE[24:] * 3
    with pytest.raises(TypeError, match=r"read-only|modify"):
        kept[0][0] = 1


@pytest.mark.parametrize("answer", [0, -1, 10_000])
def test_impossible_counts(answer):
    with pytest.raises(OSError, match=f"wrote {answer} bytes where 24 were given"):
        PcapWriter(Slow(limit=0, fail=lambda: answer))


def test_a_file_that_would_wait(small):
    with pytest.raises(BlockingIOError, match="non-blocking"):
        PcapWriter(Slow(limit=0, fail=lambda: None))
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with open(read_end, "rb", buffering=0) as reader, open(write_end, "wb", buffering=50) as file:
        writer = PcapWriter(file)
        batch = batch_of([bytes(60)] * 5000, [0] * 5000)
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
    assert data == HEADER + record(0, bytes(60)) * 5000


# ---- writes that fail


@pytest.mark.parametrize("limit", [24, 25, 40, 43, 60, 100])
def test_a_write_that_fails_is_made_up_for(limit, small):
    file = Slow(limit=limit, fail=no_space)
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


def test_packets_written_tells_how_far_a_failed_batch_came():
    batch = batch_of([bytes(1000)] * 3000, [0] * 3000)
    file = Slow(1 << 20, 500_000, no_space)
    file.calls = (1 << 20) - 1  # from the second write on: all that is given
    file.most = 1 << 30
    writer = PcapWriter(file)
    with pytest.raises(OSError, match="full"):
        writer.write_batch(batch)
    assert 0 < writer.packets_written < 3000
    file.limit = None
    writer.write_batch(batch[writer.packets_written :])
    writer.close()
    assert file.content == HEADER + record(0, bytes(1000)) * 3000


def test_a_failed_close_closes(small):
    file = Slow(limit=30, fail=no_space)
    with pytest.raises(OSError, match="full"), PcapWriter(file) as writer:
        writer.write_packet(small[0])
    assert writer.closed
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.flush()


def test_full_disk(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"write: .*'/dev/full'") as info:
        PcapWriter("/dev/full")
    assert info.value.errno == errno.ENOSPC
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_are_closed(tmp_path, small):
    before = len(os.listdir("/proc/self/fd"))
    writer = PcapWriter(tmp_path / "out")
    assert len(os.listdir("/proc/self/fd")) == before + 1
    writer.close()
    assert len(os.listdir("/proc/self/fd")) == before
    writer = PcapWriter(tmp_path / "out")
    writer.write_packet(small[0])
    del writer  # as Python's own files do, it writes what is left
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "out").read_bytes() == HEADER + record(0, b"abc")


def test_broken_pipe(small, fifo):
    reader = os.open(fifo.path, os.O_RDONLY | os.O_NONBLOCK)
    writer = PcapWriter(fifo.path)
    fifo.close()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        writer.write_batch(small)
    with pytest.raises(BrokenPipeError):
        writer.close()
    assert writer.closed


def test_closed(small, tmp_path):
    writer = PcapWriter(tmp_path / "out")
    assert not writer.closed
    writer.close()
    writer.close()
    assert writer.closed
    for call in (lambda: writer.write_batch(small), lambda: writer.write_packet(small[0]), writer.flush):
        with pytest.raises(ValueError, match="the writer is closed"):
            call()
    assert (writer.packets_written, writer.bytes_written) == (0, 24)


# ---- pipes, threads, standard output


def test_a_pipe_that_is_read_slowly(background):
    read_end, write_end = os.pipe()
    batch = batch_of([bytes(1000)] * 3000, [0] * 3000)

    def write():
        with open(write_end, "wb", buffering=0) as file, PcapWriter(file) as writer:
            writer.write_batch(batch)

    writing = background(write)
    with open(read_end, "rb", buffering=0) as file:
        data = file.readall()
    writing.result()
    assert data == HEADER + record(0, bytes(1000)) * 3000


def test_a_fifo_by_name(tmp_path, background):
    os.mkfifo(tmp_path / "fifo")
    batch = batch_of([bytes(1000)] * 3000, [0] * 3000)

    def write():
        with PcapWriter(tmp_path / "fifo") as writer:
            writer.write_batch(batch)

    writing = background(write)
    assert (tmp_path / "fifo").read_bytes() == HEADER + record(0, bytes(1000)) * 3000
    writing.result()


def test_one_thread_at_a_time(small, background):
    inside, go_on = threading.Event(), threading.Event()

    class Waits(io.BytesIO):
        def write(self, data):
            if len(data) > 24:
                inside.set()
                assert go_on.wait(10)
            return super().write(data)

    file = Waits()
    writer = PcapWriter(file)
    writing = background(lambda: writer.write_batch(small))
    assert inside.wait(10)
    calls = (lambda: writer.write_batch(small), lambda: writer.write_packet(small[0]))
    for call in (*calls, writer.flush, writer.close):
        with pytest.raises(RuntimeError, match="one at a time"):
            call()
    assert not writer.closed
    go_on.set()
    writing.result()
    writer.close()
    assert file.getvalue() == SMALL_FILE


def test_a_descriptor_is_written_without_the_gil(background):
    """Otherwise nobody could read the pipe, and this would hang."""
    read_end, write_end = os.pipe()
    writer = PcapWriter(f"/dev/fd/{write_end}")
    os.close(write_end)
    writing = background(lambda: writer.write_batch(batch_of([bytes(1000)] * 3000, [0] * 3000)))
    data = os.read(read_end, 24)
    while not data[24:]:
        data += os.read(read_end, 100)
    with pytest.raises(RuntimeError, match="one at a time"):
        writer.close()
    with open(read_end, "rb", buffering=0) as file:
        while len(data) < 24 + 3000 * 1016:
            data += file.read(1 << 20)
        writing.result()
        writer.close()
        assert file.read() == b""
    assert data == HEADER + record(0, bytes(1000)) * 3000


INTERRUPTED = """
import os, signal, sys, threading
import numpy as np
from slimcap import RECORD_DTYPE, Batch
from slimcap.sink.pcap import PcapWriter
records = np.zeros(1000, RECORD_DTYPE)
records["cap_len"] = 1000
read_end, write_end = os.pipe()
writer = PcapWriter(f"/dev/fd/{write_end}")
main = threading.get_ident()
threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
try:
    writer.write_batch(Batch(records, bytes(1000)))
except KeyboardInterrupt:
    size = 0
    def drain():
        global size
        while size < 24 + 1016 * 1000:
            size += len(os.read(read_end, 1 << 20))
    thread = threading.Thread(target=drain)
    thread.start()
    writer.close()
    thread.join(10)
    print(size)
"""


def test_ctrl_c_while_a_pipe_is_full():
    """And nothing is lost by it."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", INTERRUPTED], capture_output=True, timeout=30, check=False
    )
    assert done.stdout.decode() == f"{24 + 1016 * 1000}\n", done.stderr


TO_STDOUT = """
import os, sys
from slimcap import read
from slimcap.sink.pcap import PcapWriter
if sys.argv[2] == "nonblocking":
    os.set_blocking(1, False)
with PcapWriter("-") as writer:
    assert writer.name == "<stdout>"
    for _ in range(200):
        writer.write_batch(read(sys.argv[1]))
os.set_blocking(1, True)
os.write(1, b"end")
"""


@pytest.mark.parametrize("mode", ["blocking", "nonblocking"])
def test_standard_output(mode, data_path):
    path = data_path / "mixed_ns.pcap"
    done = subprocess.run(
        [sys.executable, "-P", "-c", TO_STDOUT, str(path), mode], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"end")
    one = written(read(path))
    assert done.stdout[:-3] == one[:24] + one[24:] * 200


def test_standard_output_that_is_closed():
    code = "import os; from slimcap.sink.pcap import PcapWriter; os.close(1); PcapWriter('-')"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, timeout=30, check=False)
    assert b"OSError: [Errno 9] fcntl: Bad file descriptor: '<stdout>'" in done.stderr
