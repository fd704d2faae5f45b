"""What `slimcap bench` measures: rings and files of known packets, each way to read them, allocations."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

import slimcap
from slimcap.cli.measure import methods
from slimcap.cli.measure.allocations import count_allocations
from slimcap.cli.measure.methods import PACKET_LEN, SNAPLEN, WAYS, Ring

SMALL = Ring(4096, 8)


# ---- sources and ways to read them


def test_full_ring_repeats_its_packets() -> None:
    with methods.full_ring(SMALL) as source:
        in_ring = (
            (4096 - 48) // 136 * 8
        )  # header 48, sockaddr_ll, alignment: the packet at 82, 8-aligned after it
        seen = [source.next_payload() for _ in range(3 * in_ring)]
        assert {len(payload) for payload, _, _ in seen} == {SNAPLEN}
        assert {total_len for _, _, total_len in seen} == {PACKET_LEN}
        assert len({payload for payload, _, _ in seen}) == in_ring
        assert seen[:in_ring] == seen[in_ring : 2 * in_ring] == seen[2 * in_ring :]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_returns_the_number_of_packets_read(way: str) -> None:
    with methods.full_ring(SMALL) as source:
        read = WAYS[way](source)
        before = source.next_ip_packet_zero_copy()[0].src_port
        assert read(1) >= 1
        read_packets = read(100)
        assert 100 <= read_packets <= 100 + 4096 * 8 // 136
        after = source.next_ip_packet_zero_copy()[0].src_port
        assert after != before
    with methods.full_ring(SMALL) as source:
        cost = methods.ring_cost(source, way, 0.001)
        assert 0 < cost.ns < 1e6
        assert cost.allocations >= 0


def test_every_method_is_measured() -> None:
    names = {name for name in dir(slimcap.RingSource) if name.startswith("next_")}
    assert len(names) >= 7
    assert names == {way.partition("(")[0] for way in WAYS if way.startswith("next_")}


def test_file_to_measure_holds_the_expected_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "FILE_PACKETS", 5000)
    path = tmp_path / "packets.pcap"
    methods.write_file(path)
    batch = slimcap.read(path)
    assert len(batch) == methods.FILE_PACKETS
    assert set(batch["total_len"]) == {PACKET_LEN}
    assert len(set(batch["timestamp"])) == len(batch)
    assert str(batch.ip_layer(7)) == "10.0.0.7:1031 => 10.1.0.1:53 (proto: 17)"


# ---- allocations


def calls(fn: Any, count: int) -> None:
    for _ in repeat(None, count):
        fn()


def test_allocations_are_counted() -> None:
    size = [1000]
    _, without = count_allocations(calls, lambda: None, 1000)
    result, found = count_allocations(calls, lambda: bytes(size[0]), 1000)
    assert result is None
    assert without < 10
    assert 1000 <= found < 1010
    _, items = count_allocations(
        calls, lambda: [None] * size[0], 1000
    )  # two lists' items; lists are off a free list
    assert 2000 <= items < 2010


def test_memory_allocated_while_counting_outlives_it() -> None:
    before = [bytes(100) for _ in range(100)]
    kept, _ = count_allocations(lambda: before.clear() or [bytes(1000) for _ in range(1000)])
    kept.extend(kept)  # grown, and freed, without the hook
    del kept
    assert count_allocations(len, "abc")[0] == 3


def test_count_ends_when_the_call_raises() -> None:
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
def test_reading_allocates_nothing_per_packet(way: str) -> None:
    with methods.full_ring(Ring(1 << 20, 2)) as source:
        read = WAYS[way](source)
        read(100)
        done, found = count_allocations(read, 50_000)
    assert found / done < 0.01
