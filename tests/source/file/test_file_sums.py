"""`total_bytes` of batches from files, whose sums are made while they are decoded."""

from __future__ import annotations

import pytest

import slimcap
from support.samples import DATA

FILES = (
    "mixed.pcap",
    "mixed_be.pcap",
    "mixed.pcapng",
    "mixed.pcap.gz",
    "snap96.pcap",
    "sections.pcapng",
    "simple.pcapng",
)
OPTIONS = {
    "plain": {},
    "small_blocks": {"block_size": 200},
    "snaplen": {"snaplen": 20},
    "filter_of_some": {"filter": "greater 100"},
    "filter_of_all": {"filter": "greater 0"},
    "conditions": {"where": {"protocol": "udp"}},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", FILES)
def test_total_bytes_is_the_sum_of_the_rows(name, options):
    with slimcap.open_file(DATA / name, **OPTIONS[options]) as source:
        batches = list(source.batches())
    assert [batch.total_bytes for batch in batches] == [batch["total_len"].sum() for batch in batches]
    assert batches
    assert any(batch.total_bytes for batch in batches)


@pytest.mark.parametrize("name", FILES)
def test_total_bytes_of_parts_of_a_block(name):
    with slimcap.open_file(DATA / name) as source:
        batches = list(source.batches(max_packets=1))
    assert [batch.total_bytes for batch in batches] == [batch["total_len"][0] for batch in batches]


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed.pcapng"])
def test_total_bytes_of_files_that_are_joined(tmp_path, name):
    data = (DATA / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data + data)
    once, twice = slimcap.read(DATA / name), slimcap.read(path, concatenated=True)
    with slimcap.open_file(path, concatenated=True) as source:
        assert sum(batch.total_bytes for batch in source.batches()) == twice["total_len"].sum()
    assert twice["total_len"].sum() == 2 * once["total_len"].sum()
