"""bench/ways.py measures rings and files of known packets, each way to read them, and allocations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

import slimcap

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import programs
import ways
from ways import PACKET_LEN, SNAPLEN, WAYS, Ring

SMALL = Ring(4096, 8)

CountAllocations = Callable[..., tuple[Any, int]]


@pytest.fixture(scope="module")
def count_allocations(tmp_path_factory: pytest.TempPathFactory) -> CountAllocations:
    """The function of bench/c/allocations.pyx, which is compiled once."""
    sys.path.append(str(programs.build_cython("allocations", tmp_path_factory.mktemp("bench")).parent))
    counter: CountAllocations = import_module("allocations").count_allocations
    return counter


# ---- sources and ways to read them


def test_full_ring_repeats_its_packets() -> None:
    with ways.full_ring(SMALL) as source:
        # Header 48, sockaddr_ll, alignment: the packet at 82, 8-aligned after it.
        in_ring = (4096 - 48) // 136 * 8
        seen = [source.next_payload() for _ in range(3 * in_ring)]
        assert {len(payload) for payload, _, _ in seen} == {SNAPLEN}
        assert {total_len for _, _, total_len in seen} == {PACKET_LEN}
        assert len({payload for payload, _, _ in seen}) == in_ring
        assert seen[:in_ring] == seen[in_ring : 2 * in_ring] == seen[2 * in_ring :]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("count_allocations")
def test_each_way_returns_the_number_of_packets_read(way: str) -> None:
    with ways.full_ring(SMALL) as source:
        read = WAYS[way](source)
        before = source.next_ip_packet_zero_copy()[0].src_port
        assert read(1) >= 1
        read_packets = read(100)
        assert 100 <= read_packets <= 100 + 4096 * 8 // 136
        after = source.next_ip_packet_zero_copy()[0].src_port
        assert after != before
    with ways.full_ring(SMALL) as source:
        cost = ways.ring_cost(source, way, 0.001)
        assert 0 < cost.ns < 1e6
        assert cost.allocations >= 0


def test_every_method_is_measured() -> None:
    names = {name for name in dir(slimcap.RingSource) if name.startswith("next_")}
    assert len(names) >= 7
    assert names == {way.partition("(")[0] for way in WAYS if way.startswith("next_")}


def test_file_to_measure_holds_the_expected_packets(tmp_path: Path) -> None:
    path = tmp_path / "packets.pcap"
    ways.write_file(path, 5000)
    batch = slimcap.read(path)
    assert len(batch) == 5000
    assert set(batch["total_len"]) == {PACKET_LEN}
    assert len(set(batch["timestamp"])) == len(batch)
    assert str(batch.ip_layer(7)) == "10.0.0.7:1031 => 10.1.0.1:53 (proto: 17)"


def test_file_cost_reads_all_packets(tmp_path: Path, count_allocations: CountAllocations) -> None:
    path = tmp_path / "packets.pcap"
    ways.write_file(path, 5000)
    for way in ways.FILE_WAYS:
        assert 0 < ways.file_cost(path, way, 5000, 0.001).ns < 1e6
    with pytest.raises(AssertionError, match="read 5000 packets of 4999"):
        ways.file_cost(path, "next_batch()", 4999, 0.001)


# ---- allocations


def calls(fn: Any, count: int) -> None:
    for _ in repeat(None, count):
        fn()


def test_allocations_are_counted(count_allocations: CountAllocations) -> None:
    size = [1000]
    _, without = count_allocations(calls, lambda: None, 1000)
    result, found = count_allocations(calls, lambda: bytes(size[0]), 1000)
    assert result is None
    assert without < 10
    assert 1000 <= found < 1010
    # The items of two lists; lists themselves come from a free list.
    _, items = count_allocations(calls, lambda: [None] * size[0], 1000)
    assert 2000 <= items < 2010


def test_memory_allocated_while_counting_outlives_it(count_allocations: CountAllocations) -> None:
    before = [bytes(100) for _ in range(100)]

    def replace() -> list[bytes]:
        before.clear()
        return [bytes(1000) for _ in range(1000)]

    kept, _ = count_allocations(replace)
    kept.extend(kept)  # grown, and freed, without the hook
    del kept
    assert count_allocations(len, "abc")[0] == 3


def test_count_ends_when_the_call_raises(count_allocations: CountAllocations) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        count_allocations(fail)
    with pytest.raises(RuntimeError, match="counted already"):
        count_allocations(count_allocations, len, "")
    assert count_allocations(int, "12345678901")[0] == 12345678901


@pytest.mark.parametrize(
    "way", ["next_batch()", "for packet in source", "next_packet(buf)", "next_payload(buf)"]
)
def test_reading_allocates_nothing_per_packet(way: str, count_allocations: CountAllocations) -> None:
    with ways.full_ring(Ring(1 << 20, 2)) as source:
        read = WAYS[way](source)
        read(100)
        done, found = count_allocations(read, 50_000)
    assert found / done < 0.01
