"""Several files as one source, against mergecap and a model in Python."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import random
import shutil
import subprocess
import sys

import make_samples
import numpy as np
import pytest
from doubles import peer_environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_samples import pcap_header, pcap_record

import slimcap
from slimcap import FileFormatError, TruncatedFileError, open_file, open_files

FRAME = make_samples.ethernet(make_samples.packet4())
BASE = 1_700_000_000


def frame(tag: int, size: int = 60) -> bytes:
    """A packet that can be told from others."""
    return FRAME[:14] + tag.to_bytes(4, "big") + bytes(size - 18)


def write(path, times, tags=None, linktype=1, size=60):
    tags = range(len(times)) if tags is None else tags
    records = [
        pcap_record(frame(tag, size), BASE + t // 1000, t % 1000 * 1000)
        for t, tag in zip(times, tags, strict=False)
    ]
    path.write_bytes(pcap_header(linktype=linktype) + b"".join(records))
    return path


def stable_merge(files):
    """Of lists of (time, tag): the smallest head goes first, of the same time that of the earlier list."""
    at, merged = [0] * len(files), []
    while heads := [(f[i][0], n) for n, (f, i) in enumerate(zip(files, at, strict=True)) if i < len(f)]:
        n = min(heads)[1]
        merged.append(files[n][at[n]])
        at[n] += 1
    return merged


def tags_of(source):
    return [int.from_bytes(bytes(packet.payload[14:18]), "big") for packet in source]


@pytest.fixture
def mergecap(need_tool, tmp_path, drain):
    """Gives what mergecap makes of files, read by us."""

    def run(*paths):
        out = tmp_path / "merged.by.mergecap"
        subprocess.run(
            [need_tool("mergecap"), "-w", out, *paths],
            check=True,
            capture_output=True,
            timeout=60,
            env=peer_environment(),
        )
        with open_file(out) as source:
            return drain(source)

    return run


def mergeable(data_path):
    """Samples that mergecap writes with the same times and lengths: it rounds those in fractions of 2."""
    names = [
        "mixed.pcap",
        "mixed_be.pcap",
        "mixed_ns.pcap",
        "mixed_ns_be.pcap",
        "mixed.pcap.gz",
        "mixed.pcapng",
        "ethernet_vlan.pcap",
        "sll.pcap",
        "raw101.pcap",
        "transports.pcap",
        "tunnels.pcap",
    ]
    return [data_path / name for name in names]


def test_all_samples_against_mergecap(data_path, mergecap, drain):
    paths = mergeable(data_path)
    want = mergecap(*reversed(paths))  # of packets of the same time it takes the last file's
    assert want.error is None
    assert len(want.payloads) > 100
    with open_files(paths) as source:
        got = drain(source)
    assert got.error is None
    assert got.facts == want.facts


@pytest.mark.parametrize("block_size", [64, 100, 1000, 1 << 20])
@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_split_and_merged_is_the_original(tmp_path, sample_of, drain, k, block_size):
    sample = sample_of("mixed.pcap")
    rng = random.Random(k)
    parts = [bytearray(sample.data[:24]) for _ in range(k)]
    starts = sample.starts
    for a, b in itertools.pairwise(starts):
        parts[rng.randrange(k)] += sample.data[a:b]
    paths = []
    for i, part in enumerate(parts):
        paths.append(tmp_path / f"{i}.pcap")
        paths[-1].write_bytes(part)
    with open_files(paths, block_size=block_size) as source:
        got = drain(source)
    assert got.error is None
    ordered = sorted(row.timestamp for row in sample.rows) == [row.timestamp for row in sample.rows]
    if ordered and len({row.timestamp for row in sample.rows}) == len(sample.rows):
        assert got.facts == sample.facts
    assert sorted(got.facts) == sorted(sample.facts)


TIMES = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=6)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=TIMES, block_size=st.sampled_from([64, 200, 1 << 20]))
def test_any_files_against_the_model(tmp_path, times, block_size):
    tag, files, paths = 0, [], []
    for i, own in enumerate(times):
        files.append([(t, tag + n) for n, t in enumerate(own)])
        paths.append(write(tmp_path / f"{i}.pcap", own, range(tag, tag + len(own))))
        tag += len(own)
    want = [tag for _, tag in stable_merge(files)]
    with open_files(paths, block_size=block_size) as source:
        assert tags_of(source) == want
    with open_files(paths, block_size=block_size) as source:
        rows = [row for batch in source.batches() for row in batch["timestamp"].tolist()]
        assert rows == [(BASE * 1000 + t) * 10**6 for t, _ in stable_merge(files)]
    with open_files([io.BytesIO(path.read_bytes()) for path in paths], block_size=block_size) as source:
        assert tags_of(source) == want


def test_mixed_ways_to_read(tmp_path):
    a = write(tmp_path / "a.pcap", range(0, 400, 2), range(0, 400, 2))
    b = write(tmp_path / "b.pcap", range(1, 400, 2), range(1, 400, 2))
    kept = []
    with open_files([a, b], block_size=2000) as source:
        seen = []
        while True:
            try:
                payload, _, total = source.next_payload_zero_copy()
                kept.append(payload)
                packet = source.next_packet()
                batch = source.next_batch(3)
            except EOFError:
                break
            assert total == 60
            seen += [payload, packet.payload, *[batch.payload(i) for i in range(len(batch))]]
    del source
    tags = [int.from_bytes(bytes(one[14:18]), "big") for one in seen]
    assert tags == list(range(len(tags)))
    assert len(tags) >= 395
    assert [int.from_bytes(bytes(one[14:18]), "big") for one in kept[:2]] == [0, 5]


def test_views_outlive_the_source_and_stay(tmp_path):
    paths = [write(tmp_path / f"{k}.pcap", range(k, 3000, 3), range(k, 3000, 3)) for k in range(3)]
    source = open_files(paths, block_size=4096)
    batches = list(source.batches())
    source.close()
    del source
    tags = [int.from_bytes(bytes(b.payload(i)[14:18]), "big") for b in batches for i in range(len(b))]
    assert tags == list(range(3000))


def test_long_runs_are_lent_and_in_order(tmp_path):
    times = list(range(20000)) + list(range(40000, 60000))
    a = write(tmp_path / "a.pcap", times, range(40000))
    b = write(tmp_path / "b.pcap", range(20000, 40000), range(40000, 60000))
    with open_files([a, b]) as source:
        rows = np.concatenate([batch["timestamp"] for batch in source.batches()])
    assert len(rows) == 60000
    assert (np.diff(rows) >= 0).all()


def test_links_of_several_types(tmp_path):
    a = write(tmp_path / "a.pcap", [0, 2, 4])
    b = write(tmp_path / "b.pcap", [1, 3, 5], linktype=101)
    with open_files([a, b]) as source:
        batch = slimcap.concat(source.batches())
        links = source.links
    assert [batch.links[i].type for i in batch["interface"]] == [1, 101] * 3
    assert {link.type for link in links} == {1, 101}


def test_pcapng_interfaces(data_path, drain):
    paths = [data_path / "interfaces.pcapng", data_path / "mixed.pcap", data_path / "interfaces.pcapng"]
    alone = []
    for path in paths:
        with open_file(path) as source:
            for batch in source.batches():
                alone += [
                    (t, batch.links[i].name if path.suffix == ".pcapng" else None, batch.links[i].type)
                    for t, i in zip(batch["timestamp"].tolist(), batch["interface"].tolist(), strict=False)
                ]
    together = []
    with open_files(paths) as source:
        for batch in source.batches():
            together += [
                (t, batch.links[i].name, batch.links[i].type)
                for t, i in zip(batch["timestamp"].tolist(), batch["interface"].tolist(), strict=False)
            ]
    together = [(t, None if name == str(paths[1]) else name, kind) for t, name, kind in together]
    assert sorted(together, key=repr) == sorted(alone, key=repr)
    assert len(together) > 10


def test_comments(data_path):
    names = ["mixed.pcapng", "sections.pcapng", "simple.pcapng", "interfaces.pcapng", "mixed_ns.pcapng"]
    paths = [data_path / name for name in names]

    def comments_of(source):
        found, at = [], 0
        for batch in source.batches():
            times = batch["timestamp"].tolist()
            found += [(times[n - at], text) for n, text in source.comments.items()]
            at += len(batch)
        return found

    alone = []
    for path in paths:
        with open_file(path) as source:
            alone += comments_of(source)
    assert alone
    for block_size in (64, 300, 1 << 20):
        with open_files(paths, block_size=block_size) as source:
            assert sorted(comments_of(source)) == sorted(alone)


def test_empty_files_add_nothing(tmp_path, data_path):
    a = write(tmp_path / "a.pcap", [1, 2])
    with open_files([data_path / "empty.pcap", a, data_path / "empty.pcap"]) as source:
        assert tags_of(source) == [0, 1]
    with open_files([data_path / "empty.pcap"]) as source:
        assert tags_of(source) == []


def test_nothing_to_open(tmp_path):
    with pytest.raises(ValueError, match="file"):
        open_files([])
    with pytest.raises(FileNotFoundError) as raised:
        open_files([tmp_path / "missing.pcap"])
    assert raised.value.filename == str(tmp_path / "missing.pcap")
    good = write(tmp_path / "a.pcap", [1])
    with pytest.raises(FileNotFoundError) as raised:
        open_files([good, tmp_path / "missing.pcap"])
    assert raised.value.filename == str(tmp_path / "missing.pcap")


def test_pattern(tmp_path):
    for k in range(5):
        write(tmp_path / f"cap{k}.pcap", [10 - k], [k])
    with open_files(str(tmp_path / "cap*.pcap")) as source:
        assert tags_of(source) == [4, 3, 2, 1, 0]


def test_gzip(tmp_path):
    a = write(tmp_path / "a.pcap", range(0, 1000, 2), range(0, 1000, 2))
    b = write(tmp_path / "b.pcap", range(1, 1000, 2), range(1, 1000, 2))
    packed = tmp_path / "b.pcap.gz"
    packed.write_bytes(gzip.compress(b.read_bytes()))
    with open_files([a, packed]) as source:
        assert tags_of(source) == list(range(1000))


def test_every_cut_of_one_file(tmp_path):
    """All that comes before the cut in time, the error once, then the rest."""
    a = write(tmp_path / "a.pcap", [0, 2, 4], [0, 2, 4])
    b = write(tmp_path / "b.pcap", [1, 3, 5, 7], [1, 3, 5, 7])
    whole, cut = a.read_bytes(), tmp_path / "cut.pcap"
    record = 16 + 60
    tried = 0
    for size in range(24, len(whole)):
        cut.write_bytes(whole[:size])
        good = (size - 24) // record
        seen, errors = [], []
        with open_files([cut, b]) as source:
            while True:
                try:
                    seen.append(int.from_bytes(source.next_payload()[0][14:18], "big"))
                except EOFError:
                    break
                except TruncatedFileError as error:
                    errors.append((len(seen), error))
                assert len(errors) < 2
        want = sorted([*[0, 2, 4][:good], 1, 3, 5, 7])
        assert seen == want, size
        if (size - 24) % record:
            tried += 1
            [(before, error)] = errors
            last = [-1, 0, 2, 4][good]
            assert seen[:before] == [tag for tag in want if tag <= last]
            assert error.path == str(cut)
            assert error.offset == 24 + good * record
            assert error.packet_index == good
        else:
            assert not errors
    assert tried > 100


def test_bad_header_is_raised_with_its_path(tmp_path):
    a = write(tmp_path / "a.pcap", [0])
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture file at all, no")
    with pytest.raises(FileFormatError) as raised, open_files([a, bad]) as source:
        list(source)
    assert raised.value.path == str(bad)


def test_many_files_with_few_descriptors(tmp_path):
    for k in range(500):
        write(tmp_path / f"{k:03}.pcap", range(k * 100, k * 100 + 40), range(k * 40, k * 40 + 40))
    code = f"""if True:
        import glob, resource, slimcap
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        paths = sorted(glob.glob({str(tmp_path)!r} + "/*.pcap"), reverse=True)
        def rss():
            return int(open("/proc/self/statm").read().split()[1]) * 4096
        before, most, times, n = rss(), 0, [], 0
        with slimcap.open_files(paths) as source:
            for batch in source.batches():
                n += len(batch)
                times += batch["timestamp"].tolist()
                most = max(most, rss())
        assert n == 20000, n
        assert times == sorted(times)
        print(most - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what was freed for a while
        assert int(done.stdout) < 48 << 20


def test_overlapping_files_share_the_memory(tmp_path):
    paths = [write(tmp_path / f"{k:03}.pcap", range(k, 20000, 200), range(k, 20000, 200)) for k in range(200)]
    with open_files(paths) as source:
        assert tags_of(source) == list(range(20000))


def test_filter_snaplen_and_stats(tmp_path):
    a = write(tmp_path / "a.pcap", [0, 2, 4])
    b = write(tmp_path / "b.pcap", [1, 3, 5])
    with open_files([a, b], snaplen=20, filter="less 1000") as source:
        assert [len(p.payload) for p in source] == [20] * 6
        assert source.stats().packets_received == 6
    with open_files([a, b], filter="tcp port 1") as source:
        assert list(source) == []
        assert source.total_stats.packets_received == 6


def test_unblock_timeout_and_close_while_a_fifo_is_waited_for(tmp_path, fifo, background):
    a = write(tmp_path / "a.pcap", [0, 10], [0, 10])
    fifo.write(pcap_header() + pcap_record(frame(5), BASE, 5000))
    source = open_files([a, fifo.path], timeout=None)
    assert [int.from_bytes(source.next_payload()[0][14:18], "big") for _ in range(2)] == [0, 5]
    with pytest.raises(TimeoutError):
        source.next_payload(timeout=0.02)
    read = background(source.next_payload)
    source.unblock()
    with pytest.raises(slimcap.CaptureUnblocked):
        read.result()
    fifo.write(pcap_record(frame(7), BASE, 7000))
    assert source.next_payload()[0][17] == 7
    read = background(source.next_payload)
    source.close()
    with pytest.raises(slimcap.CaptureStopped):
        read.result()


def test_descriptors_are_closed(tmp_path):
    paths = [write(tmp_path / f"{k}.pcap", [k, k + 5]) for k in range(6)]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with open_files(paths) as source:
            source.next_packet()
        with open_files(paths) as source:
            list(source)
        open_files(paths)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_same_file_twice_and_an_old_one_renamed_meanwhile(tmp_path):
    a = write(tmp_path / "a.pcap", [0, 1], [0, 1])
    with open_files([a, a]) as source:
        assert tags_of(source) == [0, 0, 1, 1]
    late = write(tmp_path / "z.pcap", [9], [9])
    with open_files([a, late]) as source:
        source.next_packet()
        shutil.move(late, tmp_path / "gone.pcap")
        assert source.next_payload()[0][17] == 1
        with pytest.raises(FileNotFoundError) as raised:
            source.next_packet()
        assert str(late) in str(raised.value)
        with pytest.raises(EOFError):
            source.next_packet()


class Hesitant(io.RawIOBase):
    """A file object in non-blocking mode that has nothing every other time."""

    def __init__(self, data):
        self._file, self._calls = io.BytesIO(data), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self._calls += 1
        return None if self._calls > 5 and self._calls % 2 else self._file.readinto(memoryview(buffer)[:40])


def test_what_has_no_data_yet_is_not_given_up(tmp_path):
    a = write(tmp_path / "a.pcap", range(9), range(9))
    seen, blocked = [], 0
    with open_files([Hesitant(a.read_bytes())], block_size=64) as source:
        while True:
            try:
                seen.append(int.from_bytes(source.next_payload()[0][14:18], "big"))
            except BlockingIOError:
                blocked += 1
            except EOFError:
                break
    assert seen == list(range(9))
    assert blocked
