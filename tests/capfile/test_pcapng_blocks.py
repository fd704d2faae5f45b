"""pcapng files from reads and blocks of any size: always the same packets."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest

import slimcap
from slimcap import PcapSource, read
from support.batches import payloads_of, rows_of
from support.capfiles import BEGIN, FRAME, LONGEST, NG, PCAPNG_FILES, outcome_of, source_of
from support.files import Trickle


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 4096])
@pytest.mark.parametrize("name", PCAPNG_FILES)
def test_reads_of_any_size_give_the_same_packets(name, step, drain):
    expected, records = outcome_of(PCAPNG_FILES[name]), read(io.BytesIO(PCAPNG_FILES[name])).records
    with PcapSource(Trickle(PCAPNG_FILES[name], step)) as source:
        drained = drain(source)
    assert (drained.facts, drained.error) == expected
    assert rows_of(drained.records) == rows_of(records)


@pytest.mark.parametrize("block_size", [64, 65, 100, 333, 1000, 4096])
@pytest.mark.parametrize("name", PCAPNG_FILES)
def test_blocks_of_any_size_give_the_same_packets(name, block_size, drain):
    """Kept batches do not change, and the links of each batch start with those of the one before."""
    whole = read(io.BytesIO(PCAPNG_FILES[name]))
    with source_of(PCAPNG_FILES[name], block_size=block_size) as source:
        batches = list(source.batches())
    kept = [bytes(batch.payload(i)) for batch in batches for i in range(len(batch))]
    assert kept == payloads_of(whole)
    for before, after in pairwise(batches):
        assert after.links[: len(before.links)] == before.links
    if batches:
        assert slimcap.concat(batches).links == batches[-1].links


def test_block_larger_than_the_read_buffer_is_read(drain):
    big = NG.unknown(3_000_000)
    data = BEGIN + NG.packet(FRAME) + big + NG.packet(bytes(LONGEST)) + NG.packet(FRAME)
    for block_size in (64, 1 << 20):
        facts, error = outcome_of(data, block_size=block_size)
        assert ([len(payload) for _, _, payload in facts], error) == ([len(FRAME), LONGEST, len(FRAME)], None)
