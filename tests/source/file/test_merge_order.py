"""`open_files`: packets of several files in order of time, compared with mergecap and a merge in Python."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import (
    open_file,
    open_files,
)
from support.merging import (
    BLOCK_SIZES,
    FRAME,
    facts,
    facts_of,
    file_of,
    merged,
    packets,
    payloads,
    write,
)
from support.peers import run_peer


@pytest.fixture(scope="module")
def readable(data_path):
    """The samples that can be read to their end."""
    names = [
        path
        for path in sorted(data_path.iterdir())
        if path.is_file() and path.name.removesuffix(".gz").endswith((".pcap", ".pcapng"))
    ]
    assert len(names) > 40
    return names


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_all_samples_are_merged_by_time(readable, block_size):
    with open_files(readable, block_size=block_size) as source:
        assert facts(source) == merged([facts_of(path) for path in readable])


def test_order_is_that_of_mergecap(need_tool, drain, readable):
    """But of packets at the same time, mergecap gives those of the last file first."""
    mergecap = need_tool("mergecap")
    # wiretap reads ticks of powers of 2 and times before 1970 differently.
    odd = {"odd_times.pcap", "resolutions.pcapng", "sections.pcapng", "interfaces.pcapng"}
    files = [path for path in readable if path.name not in odd]
    theirs = run_peer(mergecap, "-F", "pcapng", "-w", "-", *files, reads=files).stdout
    with open_file(io.BytesIO(theirs)) as source:
        wanted = drain(source)
    with open_files(files[::-1]) as source:
        ours = drain(source)
    assert ours.error is wanted.error is None
    assert len(ours.payloads) > 1000
    assert ours.facts == wanted.facts  # not the link types: it writes LINKTYPE_RAW as one number only


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_capture_split_into_files_is_put_together_again(tmp_path, count, block_size):
    """Packets of all sizes, some cut short; every other file compressed."""
    rng = random.Random(count * block_size)
    whole, parts = [], [[] for _ in range(count)]
    for number, time in enumerate(sorted(rng.sample(range(10**18, 10**18 + 10**6), 1200))):
        data = FRAME + number.to_bytes(4, "big") * rng.randint(1, 40)
        whole.append((time, len(data) + rng.randint(0, 2), data, 1))
        rng.choice(parts).append(whole[-1])
    for number, part in enumerate(parts):
        data = file_of(part)
        (tmp_path / f"part{number}").write_bytes(gzip.compress(data, 1) if number % 2 else data)
    with open_files(tmp_path / "part*", block_size=block_size) as source:
        assert facts(source) == whole
        assert source.total_stats.packets_received == len(whole)


def test_packets_at_the_same_time_come_in_the_order_of_the_files(tmp_path):
    paths = [write(tmp_path / f"{tag}.pcap", [7, 7, 8], tag) for tag in range(5)]
    for order in (paths, paths[::-1]):
        with open_files(order) as source:
            tags = [data[-5] for data in payloads(facts(source))]
        first = [int(path.stem) for path in order]
        assert tags == [tag for tag in first for _ in range(2)] + first


def test_same_file_can_be_given_twice(tmp_path):
    path = write(tmp_path / "a", [1, 2])
    with open_files([path, path]) as source:
        assert facts(source) == [packet for packet in packets([1, 2]) for _ in range(2)]


files_of_times = st.lists(st.lists(st.integers(0, 20), max_size=30), min_size=1, max_size=6)


@given(files_of_times, st.sampled_from([64, 200, 1 << 20]))
def test_any_files_are_merged_by_the_rule(tmp_path_factory, times, block_size):
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
    for files in ([empty], [empty] * 3):
        with open_files(files) as source:
            assert facts(source) == []


# ---- ways to read


def test_every_method_gives_the_merged_packets(tmp_path):
    files = [packets(range(300 - tag, 620, 3), tag) for tag in range(3)]
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


def test_methods_can_be_mixed(tmp_path):
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
def test_long_run_of_one_file_is_not_copied(tmp_path, block_size):
    write(tmp_path / "a", [*range(20_000), *range(40_000, 60_000)])
    write(tmp_path / "b", range(20_000, 40_000), 1)
    with open_files([tmp_path / "a", tmp_path / "b"], block_size=block_size) as source:
        batch = source.next_batch()
        assert len(batch.data) > batch["cap_len"].sum() + 16 * (len(batch) - 1)  # record headers are between
        times = np.concatenate([batch["timestamp"], *[batch["timestamp"] for batch in source.batches()]])
    assert times.tolist() == list(range(60_000))


def test_packets_larger_than_a_block_are_merged(tmp_path):
    big = make_samples.ethernet(bytes(5000))
    for name in "ab":
        records = [pcap_record(big + name.encode(), second) for second in (1, 2, 3)]
        (tmp_path / name).write_bytes(pcap_header() + b"".join(records))
    with open_files([tmp_path / "a", tmp_path / "b"], block_size=64) as source:
        assert [data[-1:] for data in payloads(facts(source))] == [b"a", b"b"] * 3
