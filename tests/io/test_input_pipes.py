"""Standard input, FIFOs and pipes: packets are given as soon as they are written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import PcapSource, TruncatedFileError, open_file, read
from support.compression import PLAIN, every_kind, near
from support.threads import in_child

FRAME = make_samples.ethernet(make_samples.packet4())
RECORD = pcap_record(FRAME)


# ---- standard input


def read_stdin():
    """Read standard input to its end; return the number of packets and the progress."""
    with open_file("-", timeout=20) as source:
        assert source.name == "<stdin>"
        return sum(len(batch) for batch in source.batches()), source.progress


def test_stdin_can_be_a_file(sample, stdin_from):
    with open(sample.path, "rb") as file:
        stdin_from(file.fileno())
        assert read_stdin() == (195, (len(sample.data), len(sample.data)))


def test_stdin_stays_open_when_its_source_is_closed(sample, stdin_from):
    with open(sample.path, "rb") as file:
        stdin_from(file.fileno())
        before = len(os.listdir("/proc/self/fd"))
        source = open_file("-")
        source.close()
        del source
        assert len(os.listdir("/proc/self/fd")) == before
        assert os.path.sameopenfile(0, file.fileno())


def test_stdin_is_read_from_its_current_offset(sample, tmp_path, stdin_from):
    path = tmp_path / "offset.pcap"
    path.write_bytes(b"x" * 100 + sample.data)
    with open(path, "rb") as file:
        os.lseek(file.fileno(), 100, os.SEEK_SET)
        stdin_from(file.fileno())
        assert read_stdin() == (195, (len(sample.data) + 100, len(sample.data) + 100))


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed.pcap.gz"])
def test_stdin_can_be_a_pipe(sample_of, name, stdin_from, background):
    data = sample_of(name).path.read_bytes()
    read_end, write_end = os.pipe()
    stdin_from(read_end)
    os.close(read_end)

    def write():
        with open(write_end, "wb") as pipe:
            pipe.write(data)

    writing = background(write)
    assert read_stdin() == (195, (len(data), None))
    writing.result()


@every_kind
def test_stdin_can_be_compressed(kind, stdin_from):
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as pipe:
        pipe.write(kind.pack(PLAIN))  # fits into the pipe
    stdin_from(read_end)
    os.close(read_end)
    assert len(read("-")) == 12


COUNT = "import slimcap; print(len(slimcap.read('-')))"


@pytest.mark.slow
def test_stdin_of_a_new_process_is_read(sample):
    with open(sample.path, "rb") as file:
        command = [sys.executable, "-c", COUNT]
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "195\n"


def test_closed_stdin_raises_os_error():
    def open_closed():
        os.close(0)
        try:
            open_file("-")
        except OSError as error:
            return type(error).__name__, error.filename
        return "opened"

    assert in_child(open_closed) == str(("OSError", "<stdin>"))


# ---- FIFOs


def test_fifo_gives_each_packet_as_soon_as_it_is_whole(fifo):
    fifo.write(pcap_header())
    with PcapSource(fifo.path) as source:
        assert source.progress == (24, None)
        sizes = [1, 15, 16, 17, 60, len(RECORD) - 1]
        for size in sizes:
            fifo.write(RECORD[:size])
            with pytest.raises(TimeoutError):
                source.next_packet(timeout=0)
            fifo.write(RECORD[size:])
            assert bytes(source.next_packet(timeout=0).payload) == FRAME
            fifo.write(RECORD * 2 + RECORD[:size])
            assert len(source.next_batch(timeout=0)) == 2
            fifo.write(RECORD[size:])
            assert source.next_payload_zero_copy(timeout=0)[0] == FRAME


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed_ns_be.pcap", "mixed_members.pcap.gz"])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_fifo_can_be_written_in_pieces_of_any_size(fifo, sample_of, background, drain, name, step):
    sample = sample_of(name)
    data = sample.path.read_bytes()
    opened = threading.Event()  # a FIFO without a writer cannot be opened without waiting for one

    def write():
        for at in range(0, len(data), step):
            fifo.write(data[at : at + step])
        opened.wait(10)
        fifo.close()

    writing = background(write)
    with PcapSource(fifo.path, timeout=10) as source:
        opened.set()
        assert drain(source).facts == sample.facts
        assert source.progress == (len(data), None)
    writing.result()


@pytest.mark.parametrize("size", [*range(0, 24, 5), 23])
def test_fifo_that_ends_in_the_file_header_is_truncated(fifo, size):
    fifo.write(pcap_header()[:size])
    fifo.close_soon()
    with pytest.raises(TruncatedFileError) as raised:
        PcapSource(fifo.path, timeout=10)
    assert raised.value.offset == size


@pytest.mark.parametrize("size", [*near(2), *near(16), len(RECORD) - 1])
def test_fifo_that_ends_in_a_packet_is_truncated(fifo, drain, size):
    fifo.write(pcap_header() + RECORD + RECORD[:size])
    with PcapSource(fifo.path, timeout=10) as source:
        fifo.close()
        drained = drain(source)
    assert len(drained.payloads) == 1
    assert type(drained.error) is TruncatedFileError
    assert drained.error.offset == 24 + len(RECORD)


def test_fifo_gives_a_packet_larger_than_a_pipe(fifo, background):
    data = bytes(range(256)) * 1024
    writing = background(lambda: [fifo.write(piece) for piece in (pcap_header(), pcap_record(data))])
    with PcapSource(fifo.path, timeout=10) as source:
        assert source.next_payload()[0] == data
    writing.result()
