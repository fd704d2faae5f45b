"""Boundaries of pcap records that are proven without a walk from the start of the file."""

from __future__ import annotations

import ctypes
import errno
import mmap
import random
import struct
from pathlib import Path

import numpy as np
import pytest

import make_samples
import slimcap
from make_samples import MICRO, MODIFIED, NANO
from slimcap import TruncatedFileError, plan
from slimcap.capfile.boundaries import RecordBoundaries
from slimcap.capfile.pcap_decoder import PcapDecoder
from support.plans import MOST, START, Checker, check, record, records


def boundaries(path):
    """Open a file; return it and its RecordBoundaries."""
    data = path.read_bytes()
    file = path.open("rb")
    return file, RecordBoundaries(file.fileno(), len(data), str(path), PcapDecoder(data[:24]))


def packets(kind, generator, size):
    """Yield payloads of a kind that take about `size` bytes as records."""
    total = 0
    while total < size:
        length = generator.choice([0, 0, 40, 60, 64, 570, 1514, 9000, generator.randrange(3000)])
        if kind == "zeros":
            payload = bytes(length)
        elif kind == "ones":
            payload = b"\xff" * length
        elif kind == "noise":
            payload = generator.randbytes(length)
        elif kind == "numbers":  # small numbers everywhere: a record may start at almost every byte
            payload = bytes(generator.choices([0, 0, 0, 1, 16, 60], k=length))
        else:  # pcap records in packets, at any alignment
            inner = b"".join(record(bytes(generator.randrange(90))) for _ in range(length // 60))
            payload = bytes(generator.randrange(17)) + inner
        total += len(payload) + 16
        yield payload


@pytest.mark.parametrize("kind", ["zeros", "ones", "noise", "numbers", "captures"])
@pytest.mark.parametrize("order", "<>")
def test_proven_place_is_the_start_of_a_record(kind, order, tmp_path):
    generator = random.Random(kind + order)
    size = 700_000 if kind == "numbers" else 1_200_000
    header = struct.pack(order + "IHHiIII", MICRO, 2, 4, 0, 0, MOST, 1)
    data = header + b"".join(record(payload, order) for payload in packets(kind, generator, size))
    path = tmp_path / "file.pcap"
    path.write_bytes(data)
    true = set(records(data, order=order))
    file, finder = boundaries(path)
    with file:
        places = [finder.prove(wanted) for wanted in range(24, len(data), 9973)]
        found = {place for place in places if place is not None}
        assert found <= true
        assert len(found) > 10 or kind in ("captures", "numbers")
        for wanted in range(25, len(data), 40_009):
            place = finder.find(24, wanted)
            assert place == min((start for start in true if start >= wanted), default=None)


@pytest.mark.parametrize("magic", [MICRO, NANO, MODIFIED])
@pytest.mark.parametrize("version", [(2, 2), (2, 3), (2, 4)])
def test_places_in_every_flavour_of_pcap_are_proven(magic, version, tmp_path):
    generator = random.Random(3)
    extra = bytes(8) if magic == MODIFIED else b""
    parts = [struct.pack("<IHHiIII", magic, *version, 0, 0, MOST, 1)]
    for payload in packets("zeros", generator, 700_000):
        lengths = len(payload), len(payload) + 9
        parts.append(
            struct.pack("<IIII", 5, 6, *(lengths if version > (2, 2) else lengths[::-1])) + extra + payload
        )
    data = b"".join(parts)
    path = tmp_path / "file.pcap"
    path.write_bytes(data)
    true = set(records(data, 16 + len(extra), swap=version == (2, 2)))
    file, finder = boundaries(path)
    with file:
        found = {finder.prove(wanted) for wanted in range(30, len(data) - 400_000, 7919)} - {None}
    assert found <= true
    assert len(found) > 3
    check(path, 200_000)


@pytest.mark.parametrize("shift", range(0, 60, 7))
def test_captures_inside_packets_prove_nothing_wrong(shift, tmp_path):
    """Packets of 240 KB that are records from end to end: two chains of records, which may never meet."""
    inner = b"".join(record(bytes(44)) for _ in range(4000))
    payload = (bytes(shift) + inner)[: 60 * 4000]
    data = START + record(payload) * 45
    path = tmp_path / "file.pcap"
    path.write_bytes(data)
    true = set(records(data))
    file, finder = boundaries(path)
    with file:
        for wanted in range(24, len(data), 999_983):
            assert finder.prove(wanted) in {None, *true}
    check(path, 5 << 20)


def test_wrong_proof_raises_when_the_task_before_is_read(tmp_path):
    """Headers that break the rules of the format; records in packets keep them and lead past those."""
    inner = struct.pack("<IIII", 1, 2, 40, 40) + b"\xff" * 40
    step = struct.pack("<IIII", 1, 2, 56, 56) + b"\xff" * 40  # its last 16 bytes are the next packet's header
    payload = inner * 20 + step
    odd = struct.pack("<IIII", 1, 4_000_000, len(payload), len(payload)) + payload
    data = START + odd * (9_000_000 // len(odd))
    path = tmp_path / "file.pcap"
    path.write_bytes(data)
    true = set(records(data))
    first, second, *_ = plan(path, chunk_bytes=5 << 20)
    assert second.start not in true
    with pytest.raises(TruncatedFileError, match="exact=True") as raised:
        first.read()
    assert raised.value.offset in true
    assert {task.start for task in plan(path, chunk_bytes=5 << 20, exact=True)[1:]} <= true
    tasks = plan(path, chunk_bytes=5 << 20, exact=True)
    assert len(tasks) == 2
    assert sum(len(task.read()) for task in tasks) == len(true)


@pytest.mark.parametrize("claim", [MOST + 1, 0xFFFFFFFF, 1, 70_001])
def test_damage_before_a_proven_place_is_in_the_part_before(claim, tmp_path):
    """A broken length ends reading as in the whole file, however close before the place it is."""
    generator = random.Random(11)
    clean = START + b"".join(map(record, packets("noise", generator, 9_000_000)))
    starts = records(clean)
    path = tmp_path / "file.pcap"
    faults = []
    for at in [starts[len(starts) // 9 * k] for k in (1, 3, 4, 5, 7)]:
        data = bytearray(clean)
        data[at + 8 : at + 12] = struct.pack("<I", claim)
        path.write_bytes(data)
        checker = Checker(path)
        checker.check(4 << 20)
        faults.append(checker.fault)
    assert any(faults)


@pytest.mark.slow
def test_places_beyond_4_gib_are_found(tmp_path):
    """In a sparse file: what is read of its hole are records of length 0."""
    path = tmp_path / "sparse.pcap"
    tail = b"".join(map(record, packets("noise", random.Random(4), 6 << 20)))
    hole = (5 << 30) // (MOST + 16) * (MOST + 16)
    with path.open("wb") as file:
        file.write(START)
        for at in range(24, hole, MOST + 16):
            file.seek(at)
            file.write(struct.pack("<IIII", 1, 2, MOST, MOST))
        end = at + MOST + 16
        file.seek(end)
        file.write(tail)
    with path.open("rb") as file:
        finder = RecordBoundaries(file.fileno(), path.stat().st_size, str(path), PcapDecoder(START))
        places = [finder.prove(end + wanted) for wanted in range(0, 3 << 20, 100_003)]
    assert {*places} <= {end - 24 + place for place in records(START + tail)}
    last = plan(path, chunk_bytes=2 << 30)[-1]
    assert last.start > 1 << 32
    whole = list(map(len, packets("noise", random.Random(4), 6 << 20)))
    with last.open() as source:
        lengths = np.concatenate([batch["cap_len"] for batch in source.batches()])
    assert lengths[-len(whole) :].tolist() == whole


@pytest.mark.slow
def test_plan_of_a_large_file_reads_little_of_it(tmp_path):
    """40 MiB in parts of 8: less is read to cut it than a walk through it would read."""
    path = tmp_path / "file.pcap"
    path.write_bytes(START + b"".join(map(record, packets("noise", random.Random(5), 40 << 20))))

    def read_so_far():
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(lines["rchar"])

    before = read_so_far()
    tasks = plan(path, chunk_bytes=8 << 20)
    assert len(tasks) >= 4
    assert read_so_far() - before < 16 << 20
    assert sum(len(task.read()) for task in tasks) == len(slimcap.read(path))


# ---- read errors


@pytest.fixture
def memory_with_a_hole():
    """Address and size of 16 MiB of a capture file in memory, and the offset of an unmapped page in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size, hole = 16 << 20, 6 << 20
    start = libc.mmap(
        None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    packet = make_samples.pcap_record(b"0123456789", 1)
    ctypes.memmove(start, packet * (size // len(packet)), size // len(packet) * len(packet))
    assert libc.munmap(start + hole, mmap.PAGESIZE) == 0
    yield start, size, hole
    libc.munmap(start, hole)
    libc.munmap(start + hole + mmap.PAGESIZE, size - hole - mmap.PAGESIZE)


def test_read_error_in_the_window_is_raised(memory_with_a_hole):
    """Chains of records that end where reading failed prove nothing."""
    start, size, hole = memory_with_a_hole
    with open("/proc/self/mem", "rb", buffering=0) as file:
        finder = RecordBoundaries(file.fileno(), start + size, "memory", PcapDecoder(START))
        assert finder.prove(start + hole + (1 << 20)) is not None
        with pytest.raises(OSError, match="pread") as raised:
            finder.prove(start + hole - (1 << 17))
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, "memory")
