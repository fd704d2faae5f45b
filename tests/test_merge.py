"""`open_files`: several files in order of time, against mergecap and against the rule written in Python."""

from __future__ import annotations

import contextlib
import gc
import io
import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import make_samples
import numpy as np
import pytest
from doubles import peer_environment
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

DATA = Path(__file__).parent / "data"
FRAME = make_samples.ethernet(make_samples.packet4())
BLOCK_SIZES = [64, 1000, 1 << 16, 1 << 20]


def capture(times, tag=0, header=None):
    """A file of packets at these nanoseconds, which say which file they are of, and which packet."""
    name = [FRAME + bytes([tag]) + number.to_bytes(4, "big") for number in range(len(times))]
    records = [pcap_record(data, time // 10**9, time % 10**9) for data, time in zip(name, times, strict=True)]
    return (header or pcap_header(magic=make_samples.NANO)) + b"".join(records)


def facts_of(path):
    """What a file has by itself: (time, length, bytes, name of the link type)."""
    with open_file(path) as source:
        return facts(source)


def facts(source):
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


def merged(files):
    """The rule, in Python: the earliest of what comes next in each file, then the first file."""
    places = [0] * len(files)
    out = []
    while heads := [(files[k][at][0], k) for k, at in enumerate(places) if at < len(files[k])]:
        _, k = min(heads)
        out.append(files[k][places[k]])
        places[k] += 1
    return out


@pytest.fixture(scope="module")
def readable():
    """All samples that can be read to their end."""
    names = [
        path
        for path in sorted(DATA.iterdir())
        if path.is_file() and path.name.removesuffix(".gz").endswith((".pcap", ".pcapng"))
    ]
    assert len(names) > 40
    return names


# ---- the order


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_all_samples_together(readable, block_size):
    with open_files(readable, block_size=block_size) as source:
        assert facts(source) == merged([facts_of(path) for path in readable])


def test_as_mergecap(tmp_path, need_tool, readable):
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
        wanted = facts(source)
    with open_files(files[::-1]) as source:
        ours = facts(source)
    assert len(ours) == len(wanted) > 1000
    # It writes LINKTYPE_RAW as one number only.
    assert [fact[:3] for fact in ours] == [fact[:3] for fact in wanted]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_what_was_split_comes_together_again(tmp_path, count, block_size):
    random.seed(count * block_size)
    times = sorted(random.sample(range(10**18, 10**18 + 10**6), 3000))
    names = [FRAME + number.to_bytes(4, "big") * random.randint(1, 40) for number in range(len(times))]
    records = [
        pcap_record(data, time // 10**9, time % 10**9) for data, time in zip(names, times, strict=True)
    ]
    parts = [[pcap_header(magic=make_samples.NANO)] for _ in range(count)]
    for record in records:
        random.choice(parts).append(record)
    for number, part in enumerate(parts):
        (tmp_path / f"part{number}.pcap").write_bytes(b"".join(part))
    with open_files(tmp_path / "part*.pcap", block_size=block_size) as source:
        assert [fact[2] for fact in facts(source)] == names
        assert source.total_stats.packets_received == len(names)


def test_at_the_same_time_the_first_file_goes_first(tmp_path):
    paths = []
    for tag in range(5):
        paths.append(tmp_path / f"{tag}.pcap")
        paths[-1].write_bytes(capture([7, 7, 8], tag))
    for order in (paths, paths[::-1]):
        with open_files(order) as source:
            tags = [fact[2][-5] for fact in facts(source)]
        first = [int(path.stem) for path in order]
        assert tags == [tag for tag in first for _ in range(2)] + first


files_of_times = st.lists(st.lists(st.integers(0, 20), max_size=30), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(files_of_times, st.sampled_from([64, 200, 1 << 20]), st.booleans())
def test_any_files(tmp_path_factory, times, block_size, objects):
    """Out of order within files, empty files, objects and paths."""
    folder = tmp_path_factory.mktemp("any")
    made = [capture(one, tag) for tag, one in enumerate(times)]
    for tag, data in enumerate(made):
        (folder / str(tag)).write_bytes(data)
    paths = [folder / str(tag) for tag in range(len(made))]
    wanted = merged([facts_of(path) for path in paths])
    with open_files(
        [io.BytesIO(data) for data in made] if objects else paths, block_size=block_size
    ) as source:
        assert facts(source) == wanted
        assert source.total_stats.packets_received == len(wanted)


# ---- each way to read


def test_each_way_to_read(tmp_path):
    for tag in range(3):
        (tmp_path / f"{tag}.pcap").write_bytes(capture(range(tag, 300, 3), tag))
    pattern = str(tmp_path / "*.pcap")
    with open_files(pattern) as source:
        wanted = [fact[2] for fact in facts(source)]
    assert len(wanted) == 300
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


def test_a_long_run_is_not_copied(tmp_path):
    (tmp_path / "a").write_bytes(capture(range(20_000)))
    (tmp_path / "b").write_bytes(capture([30_000], 1))
    with open_files([tmp_path / "a", tmp_path / "b"], block_size=1 << 16) as source:
        batch = source.next_batch()
        assert len(batch.data) > batch["cap_len"].sum() + 16 * (len(batch) - 1)  # record headers are between


def test_packets_larger_than_a_block(tmp_path):
    big = make_samples.ethernet(bytes(5000))
    for name in "ab":
        records = [pcap_record(big + name.encode(), second) for second in (1, 2, 3)]
        (tmp_path / name).write_bytes(pcap_header() + b"".join(records))
    with open_files([tmp_path / "a", tmp_path / "b"], block_size=64) as source:
        assert [fact[2][-1:] for fact in facts(source)] == [b"a", b"b"] * 3


# ---- interfaces, comments, counters, filters


def test_interfaces_are_numbered_anew(readable):
    with open_files(readable) as source:
        facts(source)
        assert [link.index for link in source.links] == list(range(len(source.links)))
        assert [info.link for info in source.interfaces] == list(source.links)


def test_equal_interfaces_are_one(tmp_path):
    data = (DATA / "interfaces.pcapng").read_bytes()
    for name in "ab":
        (tmp_path / f"{name}.pcapng").write_bytes(data)
    with open_file(tmp_path / "a.pcapng") as source:
        facts(source)
        once = source.interfaces
    with open_files([tmp_path / "a.pcapng", tmp_path / "b.pcapng"]) as source:
        facts(source)
        twice = source.interfaces
        dropped = source.total_stats.packets_dropped
    named = [info for info in once if info.link.name != str(tmp_path / "a.pcapng")]
    assert named
    assert len(twice) == len(named) + 2 * (len(once) - len(named))
    for one in named:
        [two] = [info for info in twice if (info.link.name, info.link.type) == (one.link.name, one.link.type)]
        assert two.received == (None if one.received is None else 2 * one.received)
    with open_file(tmp_path / "a.pcapng") as source:
        facts(source)
        assert dropped == 2 * source.total_stats.packets_dropped > 0


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
def test_comments(tmp_path, block_size):
    path = DATA / "sections.pcapng"

    def commented(source):
        at, found = 0, []
        for batch in source.batches():
            for number, text in source.comments.items():
                assert at <= number < at + len(batch)
                found.append((bytes(batch.payload(number - at)), text))
            at += len(batch)
        return found

    with open_file(path) as source:
        once = commented(source)
    assert once
    (tmp_path / "other.pcap").write_bytes((DATA / "mixed.pcap").read_bytes())
    with open_files([tmp_path / "other.pcap", path, path], block_size=block_size) as source:
        assert sorted(commented(source)) == sorted(once * 2)


def test_filter(readable):
    files = [DATA / "mixed.pcap", DATA / "mixed.pcapng", DATA / "mixed.pcap.gz"]
    wanted = []
    for path in files:
        with open_file(path, filter="udp", snaplen=60) as source:
            wanted.append(facts(source))
    with open_files(files, filter="udp", snaplen=60) as source:
        assert facts(source) == merged(wanted)
        assert source.total_stats.packets_received == sum(len(facts_of(path)) for path in files)
    with pytest.raises(FilterError):
        open_files(files, filter="no such thing")


# ---- bad files


def test_a_bad_file_ends_after_what_comes_before(tmp_path):
    (tmp_path / "good").write_bytes(capture([1, 3, 5, 7], 0))
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


def test_cut_at_every_byte(tmp_path):
    (tmp_path / "good").write_bytes(capture([1, 3, 5], 0))
    whole = capture([2, 4], 1)
    bad = tmp_path / "bad"
    for size in range(len(whole)):
        bad.write_bytes(whole[:size])
        if size < 24:
            with pytest.raises(TruncatedFileError, match=str(bad)):
                open_files([tmp_path / "good", bad])
            continue
        got, errors = [], 0
        with open_files([tmp_path / "good", bad]) as source:
            while True:
                try:
                    got.append(source.next_packet().timestamp)
                except TruncatedFileError:
                    errors += 1
                except EOFError:
                    break
        ends = [24, len(capture([2], 1))]
        assert got == sorted([1, 3, 5] + [2] * (size >= ends[1]))
        assert errors == (size not in ends)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        open_files(tmp_path / "nothing*")
    with pytest.raises(FileNotFoundError) as raised:
        open_files([DATA / "mixed.pcap", tmp_path / "missing"])
    assert raised.value.filename == str(tmp_path / "missing")
    with pytest.raises(ValueError, match="no files"):
        open_files([])
    with pytest.raises(TypeError, match="list"):
        open_files(io.BytesIO(b""))
    with pytest.raises(TypeError, match="path or a binary file object"):
        open_files([7])
    with pytest.raises(ValueError, match="snaplen"):
        open_files([DATA / "mixed.pcap"], snaplen=0)


def test_a_file_that_goes_away(tmp_path):
    for name, time in (("a", 1), ("b", 2), ("c", 3)):
        (tmp_path / name).write_bytes(capture([time]))
    with open_files([tmp_path / name for name in "abc"]) as source:
        (tmp_path / "b").unlink()
        assert source.next_packet().timestamp == 1
        with pytest.raises(FileNotFoundError) as raised:
            source.next_packet()
        assert raised.value.filename == str(tmp_path / "b")
        assert source.next_packet().timestamp == 3


def test_opened_once(tmp_path):
    with open_files([DATA / "mixed.pcap"]) as source, pytest.raises(TypeError, match="once"):
        source.__init__([DATA / "mixed.pcap"])
    with pytest.raises(CaptureStopped):
        source.next_packet()
    never = MergedSource.__new__(MergedSource)
    assert "0 files" in repr(never)
    with pytest.raises(EOFError):
        never.next_packet()
    with pytest.raises(TypeError):
        slimcap.source.parts.FilesSource()


# ---- many files


MANY = """if True:
    import resource, sys, slimcap
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with slimcap.open_files(sys.argv[1]) as source:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        count, last = 0, -1
        for batch in source.batches():
            times = batch["timestamp"]
            assert times[0] > last and (times[1:] > times[:-1]).all()
            last = times[-1]
            count += len(batch)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(count, len(source.links), after - before)
"""


def test_many_files_take_the_memory_of_a_few(tmp_path):
    for number in range(500):
        (tmp_path / f"{number}.pcap").write_bytes(capture(range(number * 100, number * 100 + 100)))
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "*.pcap")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    count, links, growth = map(int, done.stdout.split())
    assert (count, links) == (50_000, 500)
    assert growth < 20_000  # KiB


# ---- waiting


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


def test_nothing_is_left_open(tmp_path):
    before = set(Path("/proc/self/fd").iterdir())
    source = open_files([DATA / "mixed.pcap", DATA / "mixed.pcap.gz", DATA / "mixed.pcapng"])
    source.next_packet()
    source.close()
    with pytest.raises(TruncatedFileError):
        open_files([DATA / "mixed.pcap", "/dev/null"])
    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)
    assert np.isfinite(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
