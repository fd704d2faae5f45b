"""Rings of many small blocks: the blocks that are ready make one batch, in order, and are released together.

The mock ring has the kernel's blocks and the live ring's reader; what is expected is what was added.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import slimcap
from slimcap import Batch, RecordFlag, RingExhausted, SlimcapError
from slimcap.mock import MockRingSource
from support.batches import payloads_of

BLOCK = 4096
A_BATCH = 8
NUM = 8 * A_BATCH  # blocks: a batch has at most an eighth of the ring
PAYLOAD = 64
STEP = 152  # from packet to packet in a block: 82 + 64, 8-aligned
IN_BLOCK = (BLOCK - 48) // STEP


def mock(num_blocks: int = NUM, **options: object) -> MockRingSource:
    return MockRingSource(
        block_size=BLOCK,
        num_blocks=num_blocks,
        auto_filter=False,
        timeout=5,
        **options,  # type: ignore[arg-type]
    )


def fill(source: MockRingSource, blocks: int, first: int = 0) -> list[bytes]:
    """Fill whole blocks; return the payloads, all different."""
    count = blocks * IN_BLOCK
    frames = np.zeros((count, PAYLOAD), np.uint8)
    frames[:, :4] = np.arange(first, first + count, dtype=">u4").view(np.uint8).reshape(count, 4)
    rows = np.zeros(count, slimcap.RECORD_DTYPE)
    rows["timestamp"] = 1
    rows["offset"] = np.arange(count) * PAYLOAD
    rows["total_len"] = rows["cap_len"] = PAYLOAD
    assert source.add_batch(Batch(rows, frames.reshape(-1))) == count
    source.finalize_block()
    return [bytes(frame) for frame in frames]


@pytest.mark.parametrize(
    ("ready", "sizes"), [(1, [1]), (7, [7]), (8, [8]), (9, [8, 1]), (25, [8, 8, 8, 1]), (64, [8] * 8)]
)
def test_ready_blocks_make_a_batch(ready: int, sizes: list[int]) -> None:
    with mock() as source:
        added = fill(source, ready)
        batches = [source.next_batch() for _ in sizes]
        assert [len(batch) for batch in batches] == [size * IN_BLOCK for size in sizes]
        assert [batch.data.nbytes for batch in batches] == [size * BLOCK for size in sizes]
        assert [payload for batch in batches for payload in payloads_of(batch)] == added
        batches.clear()
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0)


def test_a_batch_ends_with_the_ring() -> None:
    with mock() as source:
        fill(source, NUM - 3)
        for _ in range(8):
            source.next_batch()
        added = fill(source, 5, first=1 << 20)
        batches = [source.next_batch(), source.next_batch()]
        assert [len(batch) for batch in batches] == [3 * IN_BLOCK, 2 * IN_BLOCK]
        assert [payload for batch in batches for payload in payloads_of(batch)] == added


@pytest.mark.parametrize(("num_blocks", "expected"), [(1, 1), (8, 1), (15, 1), (16, 2), (33, 4), (1024, 64)])
def test_a_batch_has_at_most_an_eighth_of_the_ring(num_blocks: int, expected: int) -> None:
    with mock(num_blocks) as source:
        fill(source, num_blocks)
        batch = source.next_batch()
        assert batch.data.nbytes == expected * BLOCK
        assert len(batch) == expected * IN_BLOCK


def test_a_large_block_is_a_batch_by_itself() -> None:
    with MockRingSource(block_size=1 << 18, num_blocks=64, auto_filter=False) as source:
        fill(source, 300)
        assert source.next_batch().data.nbytes == 1 << 18


def test_blocks_of_a_batch_are_released_together() -> None:
    with mock(16, ring_exhausted="raise") as source:
        added = fill(source, 16)
        assert not source.can_add_packets
        batch = source.next_batch()
        last = batch.payload(len(batch) - 1)
        del batch
        assert not source.can_add_packets  # a view of the second block keeps the first
        assert bytes(last) == added[2 * IN_BLOCK - 1]
        for _ in range(7):
            source.next_batch()
        with pytest.raises(RingExhausted, match="2 of 16 blocks are held by views"):
            source.next_batch(timeout=0)
        del last
        assert source.can_add_packets
        again = fill(source, 2, first=1 << 20)
        assert payloads_of(source.next_batch()) == again


def test_empty_blocks_are_released_with_their_batch() -> None:
    with mock() as source:
        for _ in range(3):
            assert source.add_empty_block()
        added = fill(source, 2)
        assert source.add_empty_block()
        added += fill(source, 1, first=1 << 20)
        batch = source.next_batch()
        assert payloads_of(batch) == added
        assert batch.data.nbytes == 7 * BLOCK
        for _ in range(20):
            assert source.add_empty_block()
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0)


def test_losing_flag_is_on_the_first_packet_of_the_block() -> None:
    with mock() as source:
        fill(source, 2)
        source.drop(5)
        fill(source, 2, first=1 << 20)
        flags = source.next_batch()["flags"] & RecordFlag.LOSING
        assert list(np.flatnonzero(flags)) == [2 * IN_BLOCK, 3 * IN_BLOCK]


def test_reinsert_vlan_applies_to_every_block() -> None:
    frame = bytes.fromhex("ffffffffffff 020000000001 8100 0007 0800") + bytes([0x45]) + bytes(45)
    with mock(reinsert_vlan=True) as source:
        for _ in range(5):
            source.add_packet(slimcap.Packet.from_payload(frame, pkt_type=slimcap.PacketType.BROADCAST))
            source.finalize_block()
        batch = source.next_batch()
        assert batch.data.nbytes == 5 * BLOCK
        assert payloads_of(batch) == [frame] * 5


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_packets_before_a_bad_block_are_delivered(bad: int) -> None:
    with mock() as source:
        fill(source, 1)
        first = source.next_batch()  # shows where the ring is in memory
        added = fill(source, A_BATCH, first=1 << 20)
        header = first.data.ctypes.data + (1 + bad) * BLOCK + 48 + 2 * STEP  # of the block's third packet
        ctypes.c_uint16.from_address(header + 24).value = 0xFFFF  # tp_mac
        assert payloads_of(source.next_batch()) == added[: bad * IN_BLOCK + 2]
        for _ in range(2):
            with pytest.raises(SlimcapError, match="malformed"):
                source.next_batch()


def test_single_packets_are_read_across_blocks() -> None:
    with mock() as source:
        added = fill(source, 20)
        source.done()
        assert [bytes(packet.payload) for packet in source] == added
