"""Filters on pcapng files: compiled for the link type of each interface."""

from __future__ import annotations

import io

import pytest

from slimcap import FilterError, PcapSource, concat, read
from slimcap.filter import accept
from support.batches import numbered_comments, rows_of
from support.capfiles import BEGIN, FRAME, NG, source_of


@pytest.mark.parametrize("block_size", [64, 1000, 1 << 20])
def test_filter_is_compiled_for_the_link_type_of_each_interface(block_size, data_path):
    selective = 0
    expressions = {  # some match nothing on one of the link types
        "interfaces.pcapng": ("greater 100", "less 60", "len > 40"),
        "sections.pcapng": ("udp", "ip", "not ip", "ip6"),
        "mixed.pcapng": ("udp", "ip", "not ip", "greater 100"),
    }
    for name in expressions:
        whole = read(data_path / name)
        for expression in expressions[name]:
            wanted = whole.filter(expression)
            with PcapSource(data_path / name, filter=expression, block_size=block_size) as source:
                found = concat(source.batches())
                assert source.total_stats.packets_received == len(whole)
                assert source.links == whole.links
            assert rows_of(found) == rows_of(wanted)
            selective += 0 < len(found) < len(whole)
    assert selective > 6


def test_comments_follow_the_packets_that_match_a_filter():
    data = BEGIN
    for number in range(300):
        frame = FRAME + bytes(number % 2)
        data += NG.packet(frame, options=[(1, f"number {number}".encode())] if number % 3 == 0 else [])
    for block_size in (1000, 1 << 20):
        with source_of(data, filter=f"len = {len(FRAME)}", block_size=block_size) as source:
            found = numbered_comments(source)
        assert found == {number // 2: f"number {number}" for number in range(0, 300, 6)}


@pytest.mark.parametrize("block_size", [64, 1 << 20])
def test_filter_raises_at_the_first_packet_of_an_interface_it_does_not_compile_for(block_size):
    """Raises at the first packet of that interface; an interface without packets does not matter."""
    late = NG.interface(linktype=147) + 2 * NG.packet(FRAME)
    with source_of(BEGIN + 3 * NG.packet(FRAME) + late, filter="ip", block_size=block_size) as source:
        assert len(concat(source.batches())) == 5
    data = BEGIN + 3 * NG.packet(FRAME) + late + NG.packet(FRAME, interface=1) + NG.packet(FRAME)
    with source_of(data, filter="ip", block_size=block_size) as source:
        batches = []
        with pytest.raises(FilterError, match="DLT 147"):
            batches.extend(source.batches())
        assert sum(map(len, batches)) == 5
        with pytest.raises(FilterError, match="DLT 147"):
            source.next_packet()
    with pytest.raises(FilterError, match="DLT 147"):
        source_of(NG.section() + NG.interface(linktype=147), filter="ip")
    assert len(read(io.BytesIO(data), filter=accept())) == 7
