"""A write to a descriptor that the kernel cuts short is continued with the bytes that are left."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest

from slimcap import PcapWriter
from support.batches import batch_of
from support.cli import run_slimcap
from support.writing import PCAP_HEADER, record_of

COUNT = 500  # packets of 1000 bytes: several times what a pipe holds
TICK = 0.02  # seconds between two signals


def test_write_that_a_signal_interrupts_is_continued(tmp_path, background):
    """write(2) into a full pipe returns what it has written so far if a signal arrives."""
    noise = random.Random(1)
    payloads = [noise.randbytes(1000) for _ in range(COUNT)]
    expected = PCAP_HEADER + b"".join(record_of(0, payload) for payload in payloads)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    interrupted = threading.Event()

    def read():
        with open(path, "rb") as file:
            head = file.read(len(PCAP_HEADER))
            assert interrupted.wait(30)
            return head + file.read()

    before = signal.signal(signal.SIGALRM, lambda *_: interrupted.set())
    try:
        reading = background(read)
        with PcapWriter(path) as writer:
            signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
            writer.write_batch(batch_of(payloads, timestamp=0))
            signal.setitimer(signal.ITIMER_REAL, 0)
        written = reading.result()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted.is_set()
    assert written == expected


@pytest.mark.slow  # starts the command
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_descriptors_are_written_where_they_are(name, tmp_path, data_path):
    whole = run_slimcap("convert", str(data_path / "mixed.pcap"), "-").stdout
    assert run_slimcap("convert", str(data_path / "mixed.pcap"), name).stdout == whole
    with open(tmp_path / "out", "wb+") as file:
        file.write(b"before")
        file.flush()
        done = run_slimcap(
            "convert", str(data_path / "mixed.pcap"), name, capture_output=False, stdout=file, stderr=-1
        )
        assert (done.returncode, done.stderr) == (0, b"")
        file.seek(0, 2)
        file.write(b"after")
    assert (tmp_path / "out").read_bytes() == b"before" + whole + b"after"
    assert len(whole) > 1000
