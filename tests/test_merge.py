"""`open_files`: several files in order of time, against mergecap and against the rule written in Python."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import os
import random
import struct
import subprocess
import sys

import make_samples
import numpy as np
import pytest
from support.peers import peer_environment
from hypothesis import given, settings
from hypothesis import strategies as st
from make_samples import pcap_header, pcap_record

import slimcap
from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    FilterError,
    MergedSource,
    TruncatedFileError,
    open_file,
    open_files,
)

FRAME = make_samples.ethernet(make_samples.packet4())
BLOCK_SIZES = [64, 100, 300, 1000, 1 << 16, 1 << 20]


def packets(times, tag=0, linktype=1):
    """As `facts` tells them: packets at these nanoseconds, which say of what file they are, and which one."""
    named = [FRAME + bytes([tag]) + number.to_bytes(4, "big") for number in range(len(times))]
    return [(time, len(data), data, linktype) for time, data in zip(times, named, strict=True)]


def file_of(packets, linktype=1):
    records = [
        pcap_record(data, time // 10**9, time % 10**9, orig_len=total) for time, total, data, _ in packets
    ]
    return pcap_header(magic=make_samples.NANO, linktype=linktype) + b"".join(records)


def capture(times, tag=0, linktype=1):
    return file_of(packets(times, tag, linktype), linktype)


def write(path, *args):
    """A `capture` at this path."""
    path.write_bytes(capture(*args))
    return path


def facts(source):
    """All packets: (time, length, bytes, link type)."""
    return [
        (
            int(row["timestamp"]),
            int(row["total_len"]),
            bytes(batch.payload(index)),
            batch.links[row["interface"]].type,
        )
        for batch in source.batches()
        for index, row in enumerate(batch.records)
    ]


def facts_of(path, **options):
    """What a file has by itself."""
    with open_file(path, **options) as source:
        return facts(source)


def payloads(facts):
    return [data for _, _, data, _ in facts]


def merged(files):
    """The rule, in Python: the earliest of what comes next in each file, then the first file."""
    places = [0] * len(files)
    out = []
    while heads := [(files[k][at][0], k) for k, at in enumerate(places) if at < len(files[k])]:
        _, k = min(heads)
        out.append(files[k][places[k]])
        places[k] += 1
    return out


def until_the_end(source):
    """Packet after packet: the times, and each error with the number of packets before it."""
    times, errors = [], []
    while True:
        try:
            times.append(source.next_packet().timestamp)
        except EOFError:
            return times, errors
        except (OSError, FileFormatError) as error:
            errors.append((len(times), error))
            assert len(errors) < 100


def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def readable(data_path):
    """All samples that can be read to their end."""
    names = [
        path
        for path in sorted(data_path.iterdir())
        if path.is_file() and path.name.removesuffix(".gz").endswith((".pcap", ".pcapng"))
    ]
    assert len(names) > 40
    return names


# ---- the order


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_all_samples_together(readable, block_size):
    with open_files(readable, block_size=block_size) as source:
        assert facts(source) == merged([facts_of(path) for path in readable])


def test_as_mergecap(tmp_path, need_tool, drain, readable):
    """The same packets in the same order, but that at the same time it takes the last file first."""
    mergecap = need_tool("mergecap")
    # wiretap takes ticks of powers of 2 and times before 1970 for something else.
    odd = {"odd_times.pcap", "resolutions.pcapng", "sections.pcapng", "interfaces.pcapng"}
    files = [path for path in readable if path.name not in odd]
    theirs = tmp_path / "merged.pcapng"
    subprocess.run(
        [mergecap, "-F", "pcapng", "-w", theirs, *files], check=True, timeout=60, env=peer_environment()
    )
    with open_file(theirs) as source:
        wanted = drain(source)
    with open_files(files[::-1]) as source:
        ours = drain(source)
    assert ours.error is wanted.error is None
    assert len(ours.payloads) > 1000
    assert ours.facts == wanted.facts  # not the link types: it writes LINKTYPE_RAW as one number only


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_what_was_split_comes_together_again(tmp_path, count, block_size):
    """Packets of all sizes, some cut short; every other file compressed."""
    rng = random.Random(count * block_size)
    whole, parts = [], [[] for _ in range(count)]
    for number, time in enumerate(sorted(rng.sample(range(10**18, 10**18 + 10**6), 3000))):
        data = FRAME + number.to_bytes(4, "big") * rng.randint(1, 40)
        whole.append((time, len(data) + rng.randint(0, 2), data, 1))
        rng.choice(parts).append(whole[-1])
    for number, part in enumerate(parts):
        data = file_of(part)
        (tmp_path / f"part{number}").write_bytes(gzip.compress(data, 1) if number % 2 else data)
    with open_files(tmp_path / "part*", block_size=block_size) as source:
        assert facts(source) == whole
        assert source.total_stats.packets_received == len(whole)


def test_at_the_same_time_the_first_file_goes_first(tmp_path):
    paths = [write(tmp_path / f"{tag}.pcap", [7, 7, 8], tag) for tag in range(5)]
    for order in (paths, paths[::-1]):
        with open_files(order) as source:
            tags = [data[-5] for data in payloads(facts(source))]
        first = [int(path.stem) for path in order]
        assert tags == [tag for tag in first for _ in range(2)] + first


def test_the_same_file_twice(tmp_path):
    path = write(tmp_path / "a", [1, 2])
    with open_files([path, path]) as source:
        assert facts(source) == [packet for packet in packets([1, 2]) for _ in range(2)]


files_of_times = st.lists(st.lists(st.integers(0, 20), max_size=30), min_size=1, max_size=6)


@settings(max_examples=120, deadline=None)
@given(files_of_times, st.sampled_from([64, 200, 1 << 20]))
def test_any_files(tmp_path_factory, times, block_size):
    """Out of order within files, empty files, objects and paths."""
    folder = tmp_path_factory.mktemp("any")
    paths = [write(folder / str(tag), one, tag) for tag, one in enumerate(times)]
    wanted = merged([packets(one, tag) for tag, one in enumerate(times)])
    for files in (paths, [io.BytesIO(path.read_bytes()) for path in paths]):
        with open_files(files, block_size=block_size) as source:
            assert facts(source) == wanted
            assert source.total_stats.packets_received == len(wanted)
    with open_files(paths, block_size=block_size) as source:
        assert [bytes(packet.payload) for packet in source] == payloads(wanted)


def test_empty_files_add_nothing(tmp_path, data_path):
    empty = data_path / "empty.pcap"
    with open_files([empty, write(tmp_path / "a", [1, 2]), empty]) as source:
        assert facts(source) == packets([1, 2])
    with open_files([empty]) as source:
        assert facts(source) == []


# ---- each way to read


def test_each_way_to_read(tmp_path):
    files = [packets(range(300 - tag, 600, 3), tag) for tag in range(3)]
    for tag, file in enumerate(files):
        (tmp_path / f"{tag}.pcap").write_bytes(file_of(file))
    pattern = str(tmp_path / "*.pcap")
    wanted = payloads(merged(files))
    assert len(wanted) > 300
    with open_files(pattern) as source:
        assert payloads(facts(source)) == wanted
    with open_files(pattern) as source:
        assert [bytes(packet.payload) for packet in source] == wanted
    with open_files(pattern) as source:
        assert [source.next_payload()[0] for _ in wanted] == wanted
        with pytest.raises(EOFError):
            source.next_payload()
    with open_files(pattern) as source:
        buf = source.new_packet()
        assert [bytes(source.next_packet(buf).payload) for _ in wanted] == wanted
    with open_files(pattern) as source:
        views = [source.next_payload_zero_copy()[0] for _ in wanted]
        layers = source.links
    del source
    gc.collect()
    assert [bytes(view) for view in views] == wanted
    assert len(layers) == 3
    with open_files(pattern) as source:
        assert [source.next_ip_packet()[2] for _ in wanted] == [len(data) for data in wanted]
    with open_files(pattern) as source:
        batches = [source.next_batch(7) for _ in range(9)]
        assert max(len(batch) for batch in batches) == 7
        source.close()
        got = [bytes(batch.payload(index)) for batch in batches for index in range(len(batch))]
        assert got == wanted[: len(got)]


def test_one_way_to_read_after_the_other(tmp_path):
    files = [packets(range(tag, 400, 2), tag) for tag in range(2)]
    for tag, file in enumerate(files):
        (tmp_path / str(tag)).write_bytes(file_of(file))
    wanted = payloads(merged(files))
    seen = []
    with open_files(tmp_path / "*", block_size=2000) as source, contextlib.suppress(EOFError):
        while True:
            payload, _, total = source.next_payload_zero_copy()
            assert total == len(wanted[0])
            seen.append(payload)
            seen.append(source.next_packet().payload)
            batch = source.next_batch(3)
            seen += [batch.payload(index) for index in range(len(batch))]
    del source
    gc.collect()
    assert [bytes(payload) for payload in seen] == wanted


def test_batches_outlive_the_source(tmp_path):
    files = [packets(range(tag, 3000, 3), tag) for tag in range(3)]
    for tag, file in enumerate(files):
        (tmp_path / str(tag)).write_bytes(file_of(file))
    source = open_files(tmp_path / "*", block_size=4096)
    batches = list(source.batches())
    source.close()
    del source
    gc.collect()
    got = [bytes(batch.payload(index)) for batch in batches for index in range(len(batch))]
    assert got == payloads(merged(files))


@pytest.mark.parametrize("block_size", [1 << 16, 1 << 20])
def test_a_long_run_is_not_copied(tmp_path, block_size):
    write(tmp_path / "a", [*range(20_000), *range(40_000, 60_000)])
    write(tmp_path / "b", range(20_000, 40_000), 1)
    with open_files([tmp_path / "a", tmp_path / "b"], block_size=block_size) as source:
        batch = source.next_batch()
        assert len(batch.data) > batch["cap_len"].sum() + 16 * (len(batch) - 1)  # record headers are between
        times = np.concatenate([batch["timestamp"], *[batch["timestamp"] for batch in source.batches()]])
    assert times.tolist() == list(range(60_000))


def test_packets_larger_than_a_block(tmp_path):
    big = make_samples.ethernet(bytes(5000))
    for name in "ab":
        records = [pcap_record(big + name.encode(), second) for second in (1, 2, 3)]
        (tmp_path / name).write_bytes(pcap_header() + b"".join(records))
    with open_files([tmp_path / "a", tmp_path / "b"], block_size=64) as source:
        assert [data[-1:] for data in payloads(facts(source))] == [b"a", b"b"] * 3


# ---- interfaces, comments, counters, filters


def test_interfaces_are_numbered_anew(readable):
    with open_files(readable) as source:
        facts(source)
        assert [link.index for link in source.links] == list(range(len(source.links)))
        assert [info.link for info in source.interfaces] == list(source.links)


def test_links_of_several_types(tmp_path):
    files = [write(tmp_path / "a", [0, 2, 4], 0), write(tmp_path / "b", [1, 3, 5], 1, 101)]
    with open_files(files) as source:
        batch = slimcap.concat(source.batches())
        links = source.links
    assert [batch.links[index].type for index in batch["interface"]] == [1, 101] * 3
    assert {link.type for link in links} == {1, 101}


def test_each_packet_keeps_its_interface(data_path):
    names = ["interfaces.pcapng", "mixed.pcap", "interfaces.pcapng"]

    def interfaces(source):
        """(time, name of the interface, link type) of all packets."""
        return [
            (int(row["timestamp"]), link.name, link.type)
            for batch in source.batches()
            for row in batch.records
            for link in [batch.links[row["interface"]]]
        ]

    alone = []
    for name in names:
        with open_file(data_path / name) as source:
            alone.append(interfaces(source))
    with open_files([data_path / name for name in names]) as source:
        together = interfaces(source)
    assert together == merged(alone)
    assert len(together) > 10


def test_equal_interfaces_are_one(tmp_path, data_path):
    data = (data_path / "interfaces.pcapng").read_bytes()
    for name in "ab":
        (tmp_path / f"{name}.pcapng").write_bytes(data)
    with open_file(tmp_path / "a.pcapng") as source:
        facts(source)
        once = source.interfaces
        lost = source.total_stats.packets_dropped
    with open_files([tmp_path / "a.pcapng", tmp_path / "b.pcapng"]) as source:
        facts(source)
        twice = source.interfaces
        assert source.total_stats.packets_dropped == 2 * lost > 0
    named = [info for info in once if info.link.name != str(tmp_path / "a.pcapng")]
    assert named
    assert len(twice) == len(named) + 2 * (len(once) - len(named))
    for one in named:
        [two] = [info for info in twice if (info.link.name, info.link.type) == (one.link.name, one.link.type)]
        assert two.received == (None if one.received is None else 2 * one.received)


def test_more_interfaces_than_a_record_can_tell(tmp_path):
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    packet = struct.pack("<IIIIIIII", 6, 32, 0, 0, 0, 0, 0, 32)
    for name, first in (("a", 1), ("b", 40_001)):
        interfaces = [struct.pack("<IIHHII", 1, 20, 1, 0, first + n, 20) for n in range(40_000)]
        (tmp_path / name).write_bytes(section + b"".join(interfaces) + packet)
    files = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(FileFormatError, match=r"65,535 interfaces") as raised, open_files(files) as source:
        facts(source)
    assert raised.value.path == str(tmp_path / "b")


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_comments(data_path, block_size):
    names = ["mixed.pcap", "sections.pcapng", "simple.pcapng", "interfaces.pcapng", "mixed_ns.pcapng"]
    paths = [data_path / name for name in [*names, "sections.pcapng"]]

    def commented(source):
        at, found = 0, []
        for batch in source.batches():
            for number, text in source.comments.items():
                assert at <= number < at + len(batch)
                index = number - at
                found.append((int(batch["timestamp"][index]), bytes(batch.payload(index)), text))
            at += len(batch)
        return found

    alone = []
    for path in paths:
        with open_file(path) as source:
            alone += commented(source)
    assert len({text for _, _, text in alone}) > 3
    with open_files(paths, block_size=block_size) as source:
        assert sorted(commented(source)) == sorted(alone)


def test_filter(data_path):
    files = [data_path / name for name in ("mixed.pcap", "mixed.pcapng", "mixed.pcap.gz")]
    every = sum(len(facts_of(path)) for path in files)
    wanted = merged([facts_of(path, filter="udp", snaplen=60) for path in files])
    with open_files(files, filter="udp", snaplen=60) as source:
        assert facts(source) == wanted
        assert source.total_stats.packets_received == source.stats().packets_received == every
    assert max(len(data) for data in payloads(wanted)) == 60
    with open_files(files, filter="tcp port 1") as source:
        assert list(source) == []
        assert source.total_stats.packets_received == every
    with pytest.raises(FilterError):
        open_files(files, filter="no such thing")


def test_snaplen(tmp_path):
    files = [write(tmp_path / "a", [0, 2, 4]), write(tmp_path / "b", [1, 3, 5], 1)]
    with open_files(files, filter="less 1000", snaplen=20) as source:
        assert [(packet.timestamp, packet.payload) for packet in source] == [
            (n, FRAME[:20]) for n in range(6)
        ]


# ---- bad files


def test_a_bad_file_ends_after_what_comes_before(tmp_path):
    write(tmp_path / "good", [1, 3, 5, 7])
    (tmp_path / "bad").write_bytes(capture([2, 4, 6], 1)[:-1])
    with open_files([tmp_path / "good", tmp_path / "bad"]) as source:
        assert [source.next_packet().timestamp for _ in range(4)] == [1, 2, 3, 4]
        with pytest.raises(TruncatedFileError) as raised:
            source.next_packet()
        assert raised.value.path == str(tmp_path / "bad")
        assert raised.value.packet_index == 2
        assert raised.value.offset == len(capture([2, 4], 1))
        assert [fact[0] for fact in facts(source)] == [5, 7]
        with pytest.raises(EOFError):
            source.next_batch()


@pytest.mark.parametrize("place", [0, 1])
def test_cut_at_every_byte(tmp_path, place):
    """All that comes before the cut in time, the error once, then the rest."""
    cut, times = tmp_path / "cut", [0, 2, 4]
    files = [write(tmp_path / "good", [1, 3, 5, 7])]
    files.insert(place, cut)
    whole = capture(times, 1)
    ends = [len(capture(times[:count], 1)) for count in range(4)]
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        if size < ends[0]:
            with pytest.raises(TruncatedFileError, match=str(cut)):
                open_files(files)
            continue
        kept = sum(end <= size for end in ends[1:])
        wanted = sorted([*times[:kept], 1, 3, 5, 7])
        with open_files(files) as source:
            got, errors = until_the_end(source)
        assert got == wanted, size
        if size in ends:
            assert not errors
            continue
        [(before, error)] = errors
        assert before == sum(time <= max(times[:kept], default=-1) for time in wanted)
        assert isinstance(error, TruncatedFileError)
        assert (error.path, error.offset, error.packet_index) == (str(cut), ends[kept], kept)


def test_what_is_not_there(tmp_path, data_path):
    good, missing = data_path / "mixed.pcap", tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match="nothing"):
        open_files(tmp_path / "nothing*")
    for files in ([missing], [good, missing]):
        with pytest.raises(FileNotFoundError) as raised:
            open_files(files)
        assert raised.value.filename == str(missing)
    with pytest.raises(ValueError, match="no files"):
        open_files([])
    with pytest.raises(TypeError, match="list"):
        open_files(io.BytesIO(b""))
    with pytest.raises(TypeError, match="path or a binary file object"):
        open_files([7])
    with pytest.raises(ValueError, match="snaplen"):
        open_files([good], snaplen=0)


def test_what_is_no_capture_file(tmp_path, data_path):
    bad = tmp_path / "bad"
    bad.write_bytes(b"no capture file at all, no")
    with pytest.raises(FileFormatError) as raised:
        open_files([data_path / "mixed.pcap", bad])
    assert raised.value.path == str(bad)


@pytest.mark.parametrize("gone", [2, 3])
def test_a_file_that_goes_away(tmp_path, gone):
    files = [write(tmp_path / str(time), [time]) for time in (1, 2, 3)]
    with open_files(files) as source:
        (tmp_path / str(gone)).unlink()
        times, errors = until_the_end(source)
    assert times == [time for time in (1, 2, 3) if time != gone]
    [(before, error)] = errors
    assert before == gone - 1
    assert isinstance(error, FileNotFoundError)
    assert error.filename == str(tmp_path / str(gone))
    assert error.filename in str(error)


def test_opened_once(data_path):
    with open_files([data_path / "mixed.pcap"]) as source, pytest.raises(TypeError, match="once"):
        source.__init__([data_path / "mixed.pcap"])
    with pytest.raises(CaptureStopped):
        source.next_packet()
    never = MergedSource.__new__(MergedSource)
    assert "0 files" in repr(never)
    with pytest.raises(EOFError):
        never.next_packet()
    with pytest.raises(TypeError):
        slimcap.source.parts.FilesSource()


def test_slimcap_has_them():
    assert {"MergedSource", "open_files"} <= set(slimcap.__all__)


# ---- many files


MANY = """if True:
    import resource, sys, slimcap
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    def memory():
        return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
    with slimcap.open_files(sys.argv[1]) as source:
        before = most = memory()
        count, last = 0, -1
        for batch in source.batches():
            times = batch["timestamp"]
            assert times[0] > last and (times[1:] > times[:-1]).all()
            last = times[-1]
            count += len(batch)
            most = max(most, memory())
    print(count, len(source.links), most - before)
"""


def test_many_files_take_the_memory_of_a_few(tmp_path):
    """And few descriptors; the names are not in the order of time."""
    for number in range(500):
        write(tmp_path / f"{number}.pcap", range(number * 1000, number * 1000 + 800))
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "*.pcap")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    count, links, growth = map(int, done.stdout.split())
    assert (count, links) == (400_000, 500)
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what was freed for a while
        assert growth < 20_000 << 10


def test_many_files_that_overlap(tmp_path):
    for number in range(200):
        write(tmp_path / f"{number:03}", range(number, 20_000, 200), number)
    with open_files(tmp_path / "*") as source:
        assert [(time, data[-5]) for time, _, data, _ in facts(source)] == [
            (n, n % 200) for n in range(20_000)
        ]


# ---- waiting


class Hesitant(io.RawIOBase):
    """A file object in non-blocking mode that has nothing every other time."""

    def __init__(self, data):
        self._file, self._calls = io.BytesIO(data), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self._calls += 1
        return None if self._calls > 5 and self._calls % 2 else self._file.readinto(memoryview(buffer)[:40])


def test_what_has_no_data_yet_is_not_given_up():
    with open_files([Hesitant(capture(range(9)))], block_size=64) as source:
        times, errors = until_the_end(source)
    assert times == list(range(9))
    assert {type(error) for _, error in errors} == {BlockingIOError}


def test_a_fifo_among_files(fifo, background):
    fifo.write(capture([], 1))
    data = capture([2, 4], 1)[24:]
    with open_files([io.BytesIO(capture([1, 3, 5], 0)), fifo.path], timeout=10) as source:
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0.02)
        fifo.write(data[: len(data) // 2])
        assert [source.next_packet().timestamp for _ in range(2)] == [1, 2]
        waits = background(source.next_packet)  # 3 is there, but the FIFO's next may be earlier
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            waits.result()
        fifo.write(data[len(data) // 2 :])
        fifo.close_soon()
        assert [packet.timestamp for packet in source] == [3, 4, 5]


@pytest.mark.parametrize("end", ["close", "stop"])
def test_the_end_of_waiting(fifo, background, end):
    fifo.write(capture([2], 1) + b"half")
    source = open_files([io.BytesIO(capture([1, 3], 0)), fifo.path])
    assert [source.next_packet().timestamp for _ in range(2)] == [1, 2]
    waits = background(lambda: [packet.timestamp for packet in source])
    getattr(source, end)()
    assert waits.result(1) == ([] if end == "close" else [3])
    with contextlib.suppress(CaptureStopped):
        source.close()


def test_timeout_and_close_of_one_call(tmp_path, fifo, background):
    fifo.write(capture([2], 1))
    source = open_files([write(tmp_path / "a", [1, 3]), fifo.path], timeout=None)
    assert [source.next_packet().timestamp for _ in range(2)] == [1, 2]
    with pytest.raises(TimeoutError):
        source.next_payload(timeout=0.02)
    waits = background(source.next_payload)
    source.close()
    with pytest.raises(CaptureStopped):
        waits.result()


def test_nothing_is_left_open(data_path):
    files = [data_path / name for name in ("mixed.pcap", "mixed.pcap.gz", "mixed.pcapng")]
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
    assert descriptors() == before
