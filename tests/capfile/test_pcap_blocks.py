"""pcap files from reads and blocks of any size: always the same packets."""

from __future__ import annotations

import pytest

from slimcap import PcapSource, read
from support.batches import rows_of
from support.files import Trickle
from support.samples import GOOD

HUGE = "max_caplen.pcap.gz"  # with a packet of 262144 bytes


@pytest.mark.parametrize(
    ("name", "step"),
    [
        pytest.param(name, step, marks=[pytest.mark.slow] if name == HUGE and step < 4096 else [])
        for name in GOOD
        if not name.endswith(".gz") or name == HUGE
        for step in (1, 2, 3, 5, 7, 4096)
    ],
)
def test_reads_of_any_size_give_the_same_packets(sample_of, name, step, drain):
    """The samples are read uncompressed."""
    good = sample_of(name)
    with PcapSource(Trickle(good.data, step)) as source:
        drained = drain(source)
    assert drained.error is None
    assert drained.facts == good.facts
    assert drained.records["ip_offset"].tolist() == good.ip_offsets


@pytest.mark.parametrize("block_size", [64, 65, 100, 333, 1000, 1514 + 16, 4096, 1 << 16])
def test_blocks_of_any_size_give_the_same_packets(good, block_size, drain):
    whole = read(good.path)
    with PcapSource(good.path, block_size=block_size) as source:
        drained = drain(source)
    assert drained.error is None
    assert drained.facts == good.facts
    assert rows_of(drained.records) == rows_of(whole)


@pytest.mark.parametrize(("step", "block_size"), [(1, 64), (3, 65), (7, 100), (63, 64), (64, 64), (65, 4096)])
def test_reads_and_blocks_of_any_size_give_the_same_packets(sample_of, step, block_size, drain):
    sample = sample_of("mixed_modified.pcap")
    with PcapSource(Trickle(sample.data, step), block_size=block_size) as source:
        assert drain(source).facts == sample.facts


@pytest.mark.parametrize("block_size", [64, 100, 1000])
def test_kept_batches_do_not_change(good, block_size):
    """Later blocks must not overwrite the buffers of batches that are kept."""
    with PcapSource(good.path, block_size=block_size) as source:
        batches = list(source.batches())
    kept = [bytes(batch.payload(i)) for batch in batches for i in range(len(batch))]
    assert kept == [row.data for row in good.rows]
