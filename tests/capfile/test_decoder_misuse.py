"""Decoders and boundary finders that were never made, or are made twice, and data that changes under them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from make_samples import pcap_header, pcap_record
from slimcap import RECORD_DTYPE
from slimcap.capfile.boundaries import BlockBoundaries, RecordBoundaries
from slimcap.capfile.pcap_decoder import PcapDecoder

HEADER = pcap_header()


@pytest.fixture
def fd():
    with tempfile.TemporaryFile() as file:
        file.write(HEADER + pcap_record(b"x" * 60) * 100_000)
        file.flush()
        yield file.fileno()


@pytest.mark.parametrize(
    "call",
    [
        lambda: RecordBoundaries.__new__(RecordBoundaries).find(24, 64 << 20),
        lambda: RecordBoundaries.__new__(RecordBoundaries).find(1, 2, True),
        lambda: RecordBoundaries.__new__(RecordBoundaries).prove(24),
        lambda: BlockBoundaries.__new__(BlockBoundaries).walk(0),
        lambda: RecordBoundaries(0, 1 << 30, "x", PcapDecoder.__new__(PcapDecoder)),
        lambda: PcapDecoder.__new__(PcapDecoder).decode(bytes(99), np.zeros(1, RECORD_DTYPE)),
    ],
    ids=["find", "walk", "prove", "blocks", "decoder", "decode"],
)
def test_what_was_never_made_raises(call):
    with pytest.raises(ValueError, match="never made"):
        call()


def test_finders_and_decoders_are_made_once(fd):
    decoder = PcapDecoder(HEADER)
    size = os.fstat(fd).st_size
    records, blocks = RecordBoundaries(fd, size, "x", decoder), BlockBoundaries(fd, size, "x")
    with pytest.raises(TypeError, match="once"):
        decoder.__init__(HEADER)
    with pytest.raises(TypeError, match="once"):
        records.__init__(fd, 1000, "y", decoder)
    with pytest.raises(TypeError, match="once"):
        blocks.__init__(fd, 1000, "y")
    assert records.find(24, 1000) == 24 + 13 * 76


@pytest.mark.parametrize("start", [0, 1 << 40, 2**64 - 8, 2**64 - 1])
@pytest.mark.parametrize("wanted", [1 << 40, 2**64 - 8, 2**64 - 1])
def test_offsets_beyond_the_file_find_nothing(fd, start, wanted):
    boundaries = RecordBoundaries(fd, os.fstat(fd).st_size, "x", PcapDecoder(HEADER))
    assert boundaries.find(24, 1000) == 24 + 13 * 76  # the buffer has bytes from here on
    assert boundaries.find(start, wanted) is None
    assert boundaries.prove(wanted) is None


def option_blocks(count: int) -> bytes:
    section = struct.pack("=IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    return section + struct.pack("=IIII", 0xABC, 16, 0, 16) * count


CHANGING = """
import ctypes, itertools, mmap, sys, threading, time
import numpy as np
from slimcap import RECORD_DTYPE
from slimcap.capfile.pcapng_decoder import PcapngDecoder
from capfile.test_decoder_misuse import option_blocks

content = option_blocks(200)
size = -len(content) % 4096 + len(content)
memory = mmap.mmap(-1, size + 4096)
whole = np.frombuffer(memory, "u1")
data = whole[size - len(content):size]
data[:] = np.frombuffer(content, "u1")
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + size), 4096, 0) == 0
lengths = data[28:].view("u4").reshape(-1, 4)[:, 1]
sys.setswitchinterval(1e-6)
end = time.monotonic() + 2

def change():
    for length in itertools.cycle((0x7000000, 16)):
        lengths[:] = length  # once in each round: only after it can another thread run
        if time.monotonic() >= end:
            break

threading.Thread(target=change, daemon=True).start()
rows = np.zeros(10, RECORD_DTYPE)
while time.monotonic() < end:
    decoder = PcapngDecoder()
    decoder.decode(data, rows)
    assert decoder.position <= len(data), decoder.position
"""


def test_the_length_of_a_block_that_another_thread_changes_is_read_once():
    """The bytes end where the memory does."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests), str(tests / "data")])
    subprocess.run(
        [sys.executable, "-c", CHANGING], check=True, timeout=60, env={**os.environ, "PYTHONPATH": paths}
    )
