"""Filters on pcapng files: compiled for the link type of each interface."""

from __future__ import annotations

import io

import pytest

from slimcap import FilterError, PcapSource, concat, read
from slimcap.filter import accept, compile_expression, matcher
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
def test_packets_of_an_interface_that_libpcap_cannot_filter_do_not_match(block_size):
    """The order of the interfaces does not matter, and one without packets is not reported."""
    for first, second in ((1, 147), (147, 1)):
        data = NG.section() + NG.interface(linktype=first) + NG.interface(linktype=second)
        other = 0 if first == 147 else 1
        plain = 2 * NG.packet(FRAME, interface=1 - other)
        strange = NG.packet(FRAME, interface=other)
        with source_of(data + plain, filter="ip", block_size=block_size) as source:
            assert len(concat(source.batches())) == 2
            assert source.unfilterable == {}
        with source_of(
            data + strange + plain + strange + plain, filter="ip", block_size=block_size
        ) as source:
            found = concat(source.batches())
            assert found["interface"].tolist() == [1 - other] * 4
            assert source.unfilterable == {147: "DLT 147 link-layer type filtering not implemented"}
            assert source.total_stats.packets_received == 6
        assert len(read(io.BytesIO(data + strange + plain), filter=accept())) == 3


def test_expression_is_valid_if_it_is_for_any_link_type():
    data = NG.section() + NG.interface() + NG.packet(FRAME) + NG.interface(linktype=105)
    management = bytes([0x80]) + bytes(40)
    data += NG.packet(management, interface=1)
    with source_of(data, filter="wlan type mgt") as source:
        assert concat(source.batches())["interface"].tolist() == [1]
        assert source.unfilterable == {1: "802.11 link-layer types supported only on 802.11"}
    for linktype in (1, 105, 147):
        with pytest.raises(FilterError, match="syntax error"):
            source_of(NG.section() + NG.interface(linktype=linktype), filter="ip and")
    with pytest.raises(FilterError, match="rejects all"):
        source_of(data, filter="ip and arp and ip6")


def test_lookup_that_fails_for_a_later_link_type_is_an_error_after_the_packets_before(monkeypatch):
    def failing(expression, link_type, **options):
        if link_type == 101:
            raise FilterError("filter 'udp port 7': unknown host 'gone.example'")
        return compile_expression(expression, link_type, **options)

    matcher._compiled.cache_clear()
    monkeypatch.setattr(matcher, "compile_expression", failing)
    data = BEGIN + 3 * NG.packet(FRAME) + NG.interface(linktype=101) + NG.packet(FRAME, interface=1)
    with source_of(data + NG.packet(FRAME), filter="ip", block_size=1 << 20) as source:
        assert len(source.next_batch()) == 3
        for _ in range(2):
            with pytest.raises(FilterError, match="unknown host"):
                source.next_batch()
        assert source.unfilterable == {}
    matcher._compiled.cache_clear()
