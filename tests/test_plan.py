"""Plans: all tasks of a file give what the file gives, every cut is between packets, and cheap to find."""

from __future__ import annotations

import ctypes
import errno
import mmap
import multiprocessing
import os
import pickle
import random
import struct
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import make_samples
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_samples import MICRO, MODIFIED, NANO, PCAPNG, SAMPLES, Ng

import slimcap
from slimcap import FileFormatError, PcapSource, ReadTask, TruncatedFileError, plan
from slimcap.source.boundary import BlockBoundaries, RecordBoundaries
from slimcap.source.pcap import PcapDecoder

COLUMNS = [name for name in slimcap.RECORD_DTYPE.names if name != "offset"]
FILES = {name: make() for name, make in (SAMPLES | PCAPNG).items()}
MOST = 262144
START = struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, MOST, 1)


def gather(sources):
    """Rows, payloads, comments, links and the error of sources, one after the other; up to an error."""
    rows, payloads, comments, links, error = [], [], {}, (), None
    try:
        for open_source in sources:
            with open_source() as source:
                before = len(payloads)
                links = max(links, source.links, key=len)
                for batch in source.batches():
                    links = max(links, source.links, key=len)
                    rows += batch.records[COLUMNS].tolist()
                    payloads += [bytes(packet.payload) for packet in batch]
                    comments |= {before + number: text for number, text in source.comments.items()}
                links = max(links, source.links, key=len)
    except FileFormatError as raised:
        error = type(raised), raised.reason.partition(":")[0], raised.path, raised.offset
    return rows, payloads, comments, links, error


def refusal(call):
    """Why a file is refused, or None."""
    try:
        call()
    except FileFormatError as error:
        return type(error), str(error)
    return None


def check(path, chunk_bytes, **options):
    """The tasks of a file against all of it; gives the tasks."""
    if (refused := refusal(lambda: PcapSource(path, **options))) is not None:
        assert refusal(lambda: plan(path, chunk_bytes=chunk_bytes, **options)) == refused
        return []
    tasks = plan(path, chunk_bytes=chunk_bytes, **options)
    size = path.stat().st_size
    assert [task.start for task in tasks] == [0, *(task.stop for task in tasks[:-1])]
    assert tasks[-1].stop == size
    assert all(task.start < task.stop for task in tasks) or size == 0
    whole = gather([lambda: PcapSource(path, **options)])
    assert gather([task.open for task in tasks]) == whole
    return tasks


def records(data, header=16, order="<", swap=False):
    """Where the records of a classic pcap file start: the oracle, a walk from the first."""
    at, found = 24, []
    while at < len(data):
        found.append(at)
        at += header + struct.unpack_from(order + "I", data, at + (12 if swap else 8))[0]
    return found


def record(payload, order="<"):
    return struct.pack(order + "IIII", 1_700_000_000, 7, len(payload), len(payload)) + payload


# ---- samples


@pytest.mark.parametrize("name", FILES)
def test_samples_in_parts_of_every_size(name, tmp_path):
    path = tmp_path / name.replace("/", "_")
    path.write_bytes(FILES[name])
    size = len(FILES[name])
    sizes = [1, 100, 1000, size // 3 + 1, size + 1] if size < 50_000 else [size // 7, size // 2 + 1]
    counts = [len(check(path, chunk)) for chunk in sizes]
    assert counts[0] >= counts[-1]
    assert counts[-1] <= 2
    if name in ("mixed.pcap", "mixed.pcapng", "sections.pcapng"):
        assert counts[0] > 5


@pytest.mark.parametrize(
    "name", ["simple.pcapng", "null_be.pcap", "mixed_modified.pcap", "bad/cut_data.pcap"]
)
def test_every_cut_of_a_small_file(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    cuts = set()
    for chunk in range(1, min(len(FILES[name]) + 2, 400)):
        cuts.update(task.start for task in check(path, chunk))
    assert len(cuts) > 2


@pytest.mark.parametrize("name", ["null.pcap", "sections.pcapng", "simple.pcapng"])
def test_files_cut_at_every_byte(name, tmp_path):
    path = tmp_path / "file"
    for size in range(min(len(FILES[name]), 700)):
        path.write_bytes(FILES[name][:size])
        check(path, 1)
        check(path, 150)


@pytest.mark.parametrize("options", [{"snaplen": 20}, {"filter": "udp"}, {"filter": "udp", "snaplen": 60}])
def test_options_go_with_the_task(options, data_path):
    path = data_path / "mixed.pcap"
    tasks = check(path, 2000, **options)
    assert len(tasks) > 3
    assert all(
        (task.snaplen, task.filter) == (options.get("snaplen"), options.get("filter")) for task in tasks
    )
    with tasks[1].open(filter=None, snaplen=14) as source:
        assert source.next_batch()["cap_len"].max() == 14


def test_interfaces_are_numbered_as_in_the_file(data_path):
    path = data_path / "sections.pcapng"
    tasks = plan(path, chunk_bytes=1)
    numbers = np.concatenate([task.read()["interface"] for task in tasks])
    assert (numbers == slimcap.read(path)["interface"]).all()
    assert numbers.max() > 1
    assert {task.read().links[0] for task in tasks} == {slimcap.read(path).links[0]}


# ---- boundaries


def boundaries(path):
    data = path.read_bytes()
    file = path.open("rb")
    return file, RecordBoundaries(file.fileno(), len(data), str(path), PcapDecoder(data[:24]))


def packets(kind, generator, size):
    """Payloads of about that many bytes in all."""
    total = 0
    while total < size:
        length = generator.choice([0, 0, 40, 60, 64, 570, 1514, 9000, generator.randrange(3000)])
        if kind == "zeros":
            payload = bytes(length)
        elif kind == "ones":
            payload = b"\xff" * length
        elif kind == "noise":
            payload = generator.randbytes(length)
        elif kind == "numbers":  # small numbers everywhere: almost every byte may be a record's
            payload = bytes(generator.choice([0, 0, 0, 1, 16, 60]) for _ in range(length))
        else:  # captures in packets, of either phase
            inner = b"".join(record(bytes(generator.randrange(90))) for _ in range(length // 60))
            payload = bytes(generator.randrange(17)) + inner
        total += len(payload) + 16
        yield payload


@pytest.mark.parametrize("kind", ["zeros", "ones", "noise", "numbers", "captures"])
@pytest.mark.parametrize("order", "<>")
def test_a_proven_place_is_a_true_one(kind, order, tmp_path):
    generator = random.Random(kind + order)
    header = struct.pack(order + "IHHiIII", MICRO, 2, 4, 0, 0, MOST, 1)
    data = header + b"".join(record(payload, order) for payload in packets(kind, generator, 1_500_000))
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
def test_flavours_are_proven_too(magic, version, tmp_path):
    generator = random.Random(3)
    extra = bytes(8) if magic == MODIFIED else b""
    parts = [struct.pack("<IHHiIII", magic, *version, 0, 0, MOST, 1)]
    for payload in packets("zeros", generator, 1_000_000):
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


def test_a_capture_file_in_one_packet_proves_nothing_wrong(tmp_path):
    """Packets of 256 KiB that are records from end to end: two ways, which never meet, or meet late."""
    inner = b"".join(record(bytes(44)) for _ in range(4000))
    for shift in range(0, 60, 7):
        payload = (bytes(shift) + inner)[: 60 * 4000]
        data = START + record(payload) * 60
        path = tmp_path / f"{shift}.pcap"
        path.write_bytes(data)
        true = set(records(data))
        file, finder = boundaries(path)
        with file:
            for wanted in range(24, len(data), 999_983):
                assert finder.prove(wanted) in {None, *true}
        check(path, 5 << 20)


def test_a_proof_that_goes_wrong_shows(tmp_path):
    """Headers against the format's rules, and in the packets records that keep them, and step over them."""
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


def test_damage_before_a_proven_place_shows(tmp_path):
    """The header that ends reading may lie close before the place: all of it is in the part before."""
    generator = random.Random(11)
    clean = START + b"".join(map(record, packets("noise", generator, 9_000_000)))
    starts = records(clean)
    path = tmp_path / "file.pcap"
    seen = set()
    for at in [starts[len(starts) // 9 * k] for k in range(1, 9)]:
        for claim in (MOST + 1, 0xFFFFFFFF, 1, 70_001):
            data = bytearray(clean)
            data[at + 8 : at + 12] = struct.pack("<I", claim)
            path.write_bytes(data)
            whole = gather([lambda: PcapSource(path)])
            assert gather([task.open for task in plan(path, chunk_bytes=4 << 20)]) == whole
            seen.add(whole[-1] is not None)
    assert True in seen


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(
    st.lists(st.binary(max_size=90) | st.integers(0, 300).map(bytes), max_size=30),
    st.sampled_from("<>"),
    st.integers(1, 500),
    st.integers(0, 400),
)
def test_any_file(tmp_path_factory, payloads, order, chunk, cut):
    path = tmp_path_factory.mktemp("any") / "file.pcap"
    header = struct.pack(order + "IHHiIII", MICRO, 2, 4, 0, 0, MOST, 1)
    data = header + b"".join(record(payload, order) for payload in payloads)
    path.write_bytes(data[: max(len(data) - cut, 24)])
    tasks = check(path, chunk)
    assert {task.start for task in tasks[1:]} <= set(records(data, order=order))


def test_a_place_beyond_4_gib(tmp_path):
    """A file with a hole, of zeros: records without bytes, which no way but the true one meets."""
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


def test_hardly_anything_of_a_large_file_is_read(tmp_path):
    """40 MiB in parts of 8: what is read to cut it is less than it takes to walk through it."""
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


def test_dbus_is_walked(tmp_path):
    data = struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, MOST, 231) + record(bytes(6 << 20)) * 3
    path = tmp_path / "dbus.pcap"
    path.write_bytes(data)
    assert [task.start for task in check(path, 5 << 20)] == [0, *records(data)[1:]]


# ---- pcapng


def test_large_blocks_are_passed_over(tmp_path):
    ng = Ng()
    data = ng.section() + ng.interface()
    for _ in range(3):
        data += ng.packet(bytes(60)) + ng.block(0xBAD, bytes(3 << 20))
    path = tmp_path / "file.pcapng"
    path.write_bytes(data)
    assert len(check(path, 1)) == 3
    with path.open("rb") as file:
        walk = BlockBoundaries(file.fileno(), len(data), str(path))
        assert [walk.walk(1 << 40) for _ in range(3)] == ["description", "description", None]


def test_many_descriptions_are_not_copied_to_many_tasks(tmp_path):
    ng = Ng()
    texts = ng.interface(options=[(3, b"x" * 60_000)])
    data = ng.section() + (texts + ng.packet(bytes(60))) * 40
    path = tmp_path / "file.pcapng"
    path.write_bytes(data)
    tasks = check(path, 1)
    assert 10 < len(tasks) < 40
    assert max(len(task.preamble) for task in tasks) <= 1 << 20


@pytest.mark.parametrize(
    "bad",
    [
        Ng().block(1, b"\1\0\0\0\0\0\0\0" + struct.pack("<HHI", 9, 1, 0x7F)),  # a resolution out of reach
        Ng().packet(bytes(60), interface=9),
        Ng().block(6, bytes(20), length=21),
        Ng(big_endian=True).section() + Ng().packet(bytes(60)),
        b"\0" * 40,
    ],
)
def test_damaged_pcapng(bad, tmp_path):
    ng = Ng()
    good = ng.packet(bytes(60)) * 5
    path = tmp_path / "file.pcapng"
    path.write_bytes(ng.section() + ng.interface() + good + bad + good)
    whole = gather([lambda: PcapSource(path)])
    assert whole[-1] is not None
    for chunk in (1, 100, 300):
        check(path, chunk)


# ---- files


def test_compressed_files_are_one_task(data_path):
    (task,) = plan(data_path / "mixed.pcap.gz", chunk_bytes=1)
    assert (task.compression, task.start) == ("gzip", 0)
    assert task.stop == (data_path / "mixed.pcap.gz").stat().st_size
    whole = slimcap.read(data_path / "mixed.pcap.gz")
    assert (task.read().records == whole.records).all()


def test_several_files_in_order(data_path):
    names = ["mixed.pcap", "mixed.pcap.gz", "mixed.pcapng", "empty.pcap"]
    tasks = plan([data_path / name for name in names], chunk_bytes=5000)
    assert list(dict.fromkeys(task.path for task in tasks)) == [str(data_path / name) for name in names]
    assert plan([]) == []
    assert len(tasks[-1].read()) == 0
    assert tasks[-1].read().links


def test_names_as_bytes(data_path):
    path = str(data_path / "mixed.pcap")
    assert plan(os.fsencode(path)) == plan(path)


def test_what_is_no_regular_file(fifo, tmp_path):
    for path in (fifo.path, tmp_path, "/dev/null"):
        with pytest.raises(ValueError, match="no regular file"):
            plan(path)
    with pytest.raises(FileNotFoundError):
        plan("-")
    with pytest.raises(FileNotFoundError):
        plan(tmp_path / "nothing")


def test_arguments(data_path):
    path = data_path / "mixed.pcap"
    with pytest.raises(ValueError, match="from 1 on"):
        plan(path, chunk_bytes=0)
    with pytest.raises(TypeError, match="pickled"):
        plan(path, filter=slimcap.filter.Machine([(6, 0, 0, 0xFFFF)]))
    with pytest.raises(slimcap.FilterError):
        plan(path, filter="no such thing")
    with pytest.raises(ValueError, match="snaplen"):
        plan(path, snaplen=0)
    with pytest.raises(TruncatedFileError):
        plan(data_path / "bad" / "cut_header.pcap")


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed.pcap.gz"])
def test_a_file_that_changed_is_refused(name, data_path, tmp_path):
    path = tmp_path / name
    path.write_bytes((data_path / name).read_bytes())
    task = plan(path, chunk_bytes=2000)[-1]
    assert len(task.read())
    with path.open("ab") as file:
        file.write(b"\0")
    for call in (task.open, task.read, lambda: next(task.batches())):
        with pytest.raises(OSError, match="changed after it was planned") as raised:
            call()
        assert (raised.value.errno, raised.value.filename) == (errno.ESTALE, str(path))


def test_a_file_that_is_cut_while_it_is_read(data_path, tmp_path):
    path = tmp_path / "mixed.pcap"
    path.write_bytes((data_path / "mixed.pcap").read_bytes())
    task = plan(path, chunk_bytes=5000)[1]
    with task.open(block_size=64) as source:
        source.next_packet()
        os.truncate(path, task.start)
        with pytest.raises(OSError, match="cut while it was read") as raised:
            list(source)
        assert raised.value.errno == errno.ESTALE


def test_no_descriptor_is_left(data_path, tmp_path):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    tasks = plan(data_path / "mixed.pcap", chunk_bytes=2000)
    before = descriptors()
    for task in tasks:
        task.read()
        task.open()
        next(task.batches())
        with pytest.raises(slimcap.FilterError):
            task.open(filter="no such thing")
    with pytest.raises(FileFormatError):
        plan(data_path / "bad" / "bad_magic.pcap")
    assert descriptors() == before


# ---- tasks


def test_tasks_are_values(data_path):
    task = plan(data_path / "mixed.pcap", chunk_bytes=5000)[1]
    assert pickle.loads(pickle.dumps(task)) == task
    program = [(6, 0, 0, 0xFFFF)]
    (filtered,) = plan(data_path / "mixed.pcap", filter=program)
    assert len(pickle.loads(pickle.dumps(filtered)).read()) == len(slimcap.read(data_path / "mixed.pcap"))
    assert hash(filtered) != hash(task)
    assert hash(task) == hash(pickle.loads(pickle.dumps(task)))
    with pytest.raises(AttributeError):
        task.start = 3
    size = (data_path / "mixed.pcap").stat().st_size
    part = f"bytes {task.start:,} to {task.stop:,} of {size:,}"
    assert repr(task) == f"<ReadTask {str(data_path / 'mixed.pcap')!r}: {part}>"
    with task.open() as source:
        assert source.name == task.path


def total(task: ReadTask) -> int:
    return sum(int(batch["total_len"].sum()) for batch in task.batches())


def test_processes_and_threads(data_path):
    path = data_path / "mixed.pcap"
    tasks = plan(path, chunk_bytes=5000)
    assert len(tasks) > 2
    expected = int(slimcap.read(path)["total_len"].sum())
    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(total, tasks)) == expected
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        parts = list(processes.map(ReadTask.read, tasks))
    whole = slimcap.concat(parts)
    assert (whole.records[COLUMNS] == slimcap.read(path).records[COLUMNS]).all()
    assert whole["timestamp"][0] >= make_samples.START


@pytest.fixture
def memory_with_a_hole():
    """16 MiB of a capture file at an address of this process, and where in it no page is."""
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


def test_a_read_that_failed_is_told_whatever_is_read_later(memory_with_a_hole):
    """Ways that end where nothing could be read prove nothing: here in the window, with more behind it."""
    start, size, hole = memory_with_a_hole
    with open("/proc/self/mem", "rb", buffering=0) as file:
        finder = RecordBoundaries(file.fileno(), start + size, "memory", PcapDecoder(START))
        assert finder.prove(start + hole + (1 << 20)) is not None
        with pytest.raises(OSError, match="pread") as raised:
            finder.prove(start + hole - (1 << 17))
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, "memory")
