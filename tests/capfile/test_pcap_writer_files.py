"""PcapWriter on file objects, descriptors, pipes and stdout, and from several threads."""

from __future__ import annotations

import gc
import gzip
import io
import os
import subprocess
import sys
import threading

import pytest

from slimcap import PcapWriter, read
from support.batches import batch_of, payloads_of
from support.writing import PCAP_HEADER, SMALL, SMALL_FILE, open_descriptors, record_of, small_batch, written


@pytest.fixture
def small():
    return small_batch()


# ---- file objects


def test_file_objects_stay_open(small, tmp_path):
    with gzip.open(tmp_path / "out.gz", "wb") as file:
        writer = PcapWriter(file)
        assert writer.name == str(tmp_path / "out.gz")
        writer.write_batch(small)
        writer.close()
        assert not file.closed
    assert payloads_of(read(tmp_path / "out.gz")) == SMALL


def test_raw_and_buffered_files_are_flushed(small, tmp_path):
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
    assert copies[0] == PCAP_HEADER
    assert b"".join(data[: max(1, len(data) // 2)] for data in copies) == PCAP_HEADER + SMALL_FILE[24:] * 3
    with pytest.raises(TypeError, match=r"read-only|modify"):
        kept[0][0] = 1


def test_descriptors_are_closed(tmp_path, small):
    before = open_descriptors()
    writer = PcapWriter(tmp_path / "out")
    assert open_descriptors() == before + 1
    writer.close()
    assert open_descriptors() == before
    writer = PcapWriter(tmp_path / "out")
    writer.write_packet(small[0])
    del writer  # writes what is left, as Python's own files do
    assert open_descriptors() == before
    assert (tmp_path / "out").read_bytes() == PCAP_HEADER + record_of(0, b"abc")


# ---- pipes


def test_pipe_gets_every_packet(background):
    read_end, write_end = os.pipe()
    batch = batch_of([bytes(1000)] * 3000, timestamp=0)

    def write():
        with open(write_end, "wb", buffering=0) as file, PcapWriter(file) as writer:
            writer.write_batch(batch)

    writing = background(write)
    with open(read_end, "rb", buffering=0) as file:
        data = file.readall()
    writing.result()
    assert data == PCAP_HEADER + record_of(0, bytes(1000)) * 3000


def test_fifo_is_written_by_its_name(tmp_path, background):
    os.mkfifo(tmp_path / "fifo")
    batch = batch_of([bytes(1000)] * 3000, timestamp=0)

    def write():
        with PcapWriter(tmp_path / "fifo") as writer:
            writer.write_batch(batch)

    writing = background(write)
    assert (tmp_path / "fifo").read_bytes() == PCAP_HEADER + record_of(0, bytes(1000)) * 3000
    writing.result()


# ---- threads


def test_second_thread_raises(small, background):
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
    """With the GIL held, this thread could not read the pipe, and the test would hang."""
    read_end, write_end = os.pipe()
    writer = PcapWriter(f"/dev/fd/{write_end}")
    os.close(write_end)
    writing = background(lambda: writer.write_batch(batch_of([bytes(1000)] * 3000, timestamp=0)))
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
    assert data == PCAP_HEADER + record_of(0, bytes(1000)) * 3000


# ---- signals and standard output


INTERRUPTED = """
import os, signal, sys, threading
import numpy as np
from slimcap import RECORD_DTYPE, Batch
from slimcap.capfile.pcap_writer import PcapWriter
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


def test_ctrl_c_while_a_pipe_is_full_loses_nothing():
    done = subprocess.run(
        [sys.executable, "-P", "-c", INTERRUPTED], capture_output=True, timeout=30, check=False
    )
    assert done.stdout.decode() == f"{24 + 1016 * 1000}\n", done.stderr


TO_STDOUT = """
import os, sys
from slimcap import read
from slimcap.capfile.pcap_writer import PcapWriter
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
def test_stdout_is_written_and_stays_open(mode, data_path):
    path = data_path / "mixed_ns.pcap"
    done = subprocess.run(
        [sys.executable, "-P", "-c", TO_STDOUT, str(path), mode], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"end")
    one = written(PcapWriter, read(path))
    assert done.stdout[:-3] == one[:24] + one[24:] * 200


def test_closed_stdout_raises():
    code = "import os; from slimcap.capfile.pcap_writer import PcapWriter; os.close(1); PcapWriter('-')"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, timeout=30, check=False)
    assert b"OSError: [Errno 9] fcntl: Bad file descriptor: '<stdout>'" in done.stderr
