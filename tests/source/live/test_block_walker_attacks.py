"""BlockWalker and reinsert_tags on blocks that no kernel writes: they never leave the block."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcap.source.live.block_walker import reinsert_tags
from support.blocks import (
    ARP,
    FIRST,
    IPV4,
    IPV6,
    MAC,
    PACKET_MIN,
    TAGGED,
    USER,
    VLAN_VALID,
    Sent,
    aligned,
    block_of,
    patch,
)
from support.walker import compare_with_reference, payloads_in, walked


@pytest.mark.parametrize("size", range(48))
def test_a_block_shorter_than_its_header_is_bad(size):
    rows, walker = walked(block_of([Sent()])[:size])
    assert (len(rows), walker.bad, walker.remaining) == (0, True, 0)


def test_a_block_truncated_at_any_byte_gives_the_packets_before():
    packets = [Sent(), Sent(IPV6), Sent(ARP)]
    block = block_of(packets)
    ends = list(itertools.accumulate((aligned(MAC + len(p.data)) for p in packets), initial=FIRST))
    for size in range(FIRST, 600):
        rows, walker = walked(block[:size])
        whole = sum(at + MAC + len(p.data) <= size for at, p in zip(ends, packets, strict=False))
        assert len(rows) == whole, f"truncated to {size} bytes"
        assert walker.bad == (whole < 3), f"truncated to {size} bytes"


@pytest.mark.parametrize(
    "value", [0, 1, 8, 40, 47, 49, 50, 52, 56, 4028, 4032, 4095, 4096, 4104, 1 << 31, 0xFFFFFFF8, 0xFFFFFFFF]
)
def test_a_wrong_offset_of_the_first_packet_is_bad(value):
    rows, walker = walked(patch(block_of([Sent()]), 16, "I", value))
    # An aligned offset inside of the block points to zeros: a header with tp_mac 0, which is invalid.
    assert (len(rows), walker.bad) == (0, True)


@pytest.mark.parametrize(
    "value", [1, 4, 7, 87, 113, 4095, 4096, 1 << 31, 0xFFFFFFF8, 0xFFFFFFFF, (1 << 32) - 48]
)
def test_a_wrong_offset_of_the_next_packet_is_bad(value):
    block = patch(block_of([Sent(), Sent(ARP)]), FIRST, "I", value)
    rows, walker = walked(block)
    assert payloads_in(block, rows) == [IPV4]
    assert (walker.bad, walker.remaining) == (True, 0)


@pytest.mark.parametrize("capacity", [1, 64])
def test_a_chain_that_ends_before_the_packet_count_is_bad(capacity):
    block = patch(block_of([Sent(), Sent(ARP)]), FIRST, "I", 0)
    rows, walker = walked(block, capacity)
    assert payloads_in(block, rows) == [IPV4]
    assert walker.bad


@pytest.mark.parametrize("count", [3, 4, 1000, 1 << 31, (1 << 32) - 1])
def test_a_packet_count_above_the_packets_is_bad(count):
    block = patch(block_of([Sent(), Sent(ARP)]), 12, "I", count)
    rows, walker = walked(block)
    assert payloads_in(block, rows) == [IPV4, ARP]
    assert walker.bad


def test_a_packet_count_below_the_packets_is_obeyed():
    rows, walker = walked(patch(block_of([Sent(), Sent(ARP)]), 12, "I", 1))
    assert (len(rows), walker.bad) == (1, False)


@pytest.mark.parametrize("value", [0, 1, 47, 48, 58, 67, 4049, 65535])
def test_a_wrong_offset_of_the_data_is_bad(value):
    block = patch(block_of([Sent(), Sent(ARP)]), FIRST + 24, "H", value)
    rows, walker = walked(block)
    assert (len(rows), walker.bad) == (0, True)


@pytest.mark.parametrize(
    "value", [4096 - 48 - MAC + 1, 4096, 1 << 31, 0xFFFFFFFF, 0xFFFFFFFF - MAC, (1 << 32) - 48 - MAC]
)
def test_data_past_the_end_of_the_block_is_bad(value):
    rows, walker = walked(patch(block_of([Sent(), Sent(ARP)]), FIRST + 12, "I", value))
    assert (len(rows), walker.bad) == (0, True)


def test_data_up_to_the_end_of_the_block_is_accepted():
    rows, walker = walked(patch(block_of([Sent()]), FIRST + 12, "I", 4096 - 48 - MAC))
    assert (rows["cap_len"].tolist(), walker.bad) == ([4096 - 48 - MAC], False)


# ---- compared with a walker in Python


# Offsets, lengths and counts: small ones, those around the parts of a block, and very large ones.
VALUES = [
    0,
    1,
    7,
    8,
    47,
    48,
    67,
    68,
    72,
    82,
    88,
    116,
    120,
    4000,
    4095,
    4096,
    65535,
    1 << 31,
    0xFFFFFFF8,
    0xFFFFFFFF,
]
BLOCK_SIZE = 640  # a little more than the packets need

patches = st.lists(
    st.tuples(st.integers(0, 170), st.sampled_from("BHI"), st.sampled_from(VALUES)), max_size=4
)


def patched(block, changes):
    """Apply changes: offset (in words for "I"), format and value of a number."""
    for offset, kind, value in changes:
        offset = offset * 4 if kind == "I" else offset
        width = struct.calcsize(kind)
        if offset + width <= len(block):
            patch(block, offset, kind, value & ((1 << 8 * width) - 1))
    return block


def good_block():
    return block_of([Sent(), Sent(IPV6), Sent(ARP), Sent(TAGGED, mac=78)])[:BLOCK_SIZE]


@given(patches, st.integers(0, BLOCK_SIZE), st.integers(1, 5))
def test_patched_blocks_give_what_a_reference_walker_finds(changes, size, capacity):
    compare_with_reference(patched(good_block()[:size], changes), capacity)


@given(st.binary(max_size=200), st.integers(1, 3))
def test_random_bytes_give_what_a_reference_walker_finds(data, capacity):
    compare_with_reference(data, capacity)


def test_every_patched_header_word_gives_what_a_reference_walker_finds():
    good = good_block()
    second = FIRST + aligned(MAC + len(IPV4))
    headers = (range(0, FIRST, 4), *(range(at, at + PACKET_MIN, 4) for at in (FIRST, second)))
    compared = 0
    for offset in itertools.chain(*headers):
        for value in VALUES:
            compare_with_reference(patch(bytearray(good), offset, "I", value), 3)
            compared += 1
    assert compared == (12 + 17 + 17) * len(VALUES)


@given(patches, st.integers(0, BLOCK_SIZE))
def test_reinsert_tags_never_leaves_a_patched_block(changes, size):
    """Nor does the walk afterwards."""
    stripped = [Sent(data, status=USER | VLAN_VALID) for data in (IPV4, IPV6, ARP, TAGGED)]
    block = patched(block_of(stripped)[:size], changes)
    reinsert_tags(block, 96)
    compare_with_reference(block, 3)
