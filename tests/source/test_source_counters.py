"""Counters of sources: `stats`, since the last call, and `total_stats`."""

from __future__ import annotations

import pytest

from make_samples import pcap_record
from slimcap import PcapSource, Stats
from support.numbered import NOT_IP, numbered


def test_stats_count_packets_since_the_last_call(sample_of):
    with PcapSource(sample_of("mixed.pcap").path, block_size=4096) as source:
        assert source.stats() == source.total_stats == Stats(0, 0, 0)
        for _ in range(7):
            source.next_packet()
        assert source.total_stats == Stats(7, 0, 0)
        assert source.stats() == Stats(7, 0, 0)
        assert source.stats() == Stats(0, 0, 0)
        got = len(source.next_batch())
        assert source.stats() == Stats(got, 0, 0)
        assert source.total_stats == Stats(7 + got, 0, 0)
        left = len(list(source))
        assert source.stats() == Stats(left, 0, 0)
        assert source.total_stats == Stats(195, 0, 0)
    assert source.total_stats == Stats(195, 0, 0)


def test_stats_count_only_packets_that_were_handed_out(sample_of):
    with PcapSource(sample_of("mixed.pcap").path) as source:
        source.next_batch(10)
    assert source.total_stats == Stats(10, 0, 0)
    assert source.stats().packets_received == 10


def test_stats_count_packets_that_next_ip_packet_skips(file_of):
    with PcapSource(file_of(pcap_record(NOT_IP) * 3 + numbered(1) + pcap_record(NOT_IP))) as source:
        source.next_ip_packet()
        assert source.stats().packets_received == 4
        with pytest.raises(EOFError):
            source.next_ip_packet_zero_copy()
        assert source.total_stats.packets_received == 5
