"""Filters on files: block sizes, iteration, damage, snaplen."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from slimcap import (
    Batch,
    FileFormatError,
    FilterError,
    PcapSource,
    TruncatedFileError,
    concat,
    open_file,
    read,
)
from slimcap.filter import DROP, compile_expression
from support.batches import payloads_of
from support.builders.pcap import pcap_header, pcap_record


@pytest.fixture
def mixed(data_path: Path) -> Batch:
    return read(data_path / "mixed.pcap")


@pytest.mark.parametrize("block_size", [64, 100, 1000, 1 << 20])
def test_every_block_size_gives_the_same_packets(block_size: int, mixed: Batch, data_path: Path) -> None:
    wanted = mixed.filter("udp or vlan")
    with open_file(data_path / "mixed.pcap", filter="udp or vlan", block_size=block_size) as source:
        found = concat(source.batches())
        assert source.total_stats.packets_received == len(mixed)
        assert source.stats().packets_received == len(mixed)
        assert f"{len(mixed)} packets read" in repr(source)
    assert payloads_of(found) == payloads_of(wanted)
    assert found["timestamp"].tolist() == wanted["timestamp"].tolist()


def test_iteration_gives_the_packets_that_match(mixed: Batch, data_path: Path) -> None:
    wanted = mixed.filter("udp")["timestamp"].tolist()
    with open_file(data_path / "mixed.pcap", filter=compile_expression("udp", 1)) as source:
        assert [packet.timestamp for packet in source] == wanted


def test_a_match_is_found_after_more_packets_than_a_block_has_rows() -> None:
    """Records of 16 bytes, of which a block holds more than rows, and one that matches."""
    empty = pcap_record(b"")
    file = pcap_header() + empty * 100_000 + pcap_record(b"x")
    taken = read(io.BytesIO(file), filter="len = 1")
    assert bytes(taken.payload(0)) == b"x"
    assert len(taken) == 1
    assert len(read(io.BytesIO(file), filter=DROP)) == 0


def test_errors_of_damaged_files_are_the_same_with_a_filter(data_path: Path) -> None:
    for name in ("cut_data.pcap", "huge_caplen.pcap", "cut.pcap.gz"):
        errors = []
        for filter in (None, "udp", DROP):
            with open_file(data_path / "bad" / name, filter=filter) as source:
                with pytest.raises(FileFormatError) as caught:
                    list(source.batches())
                errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1] == errors[2]
    assert errors[0][0] is TruncatedFileError


def test_filter_does_not_change_the_end_of_a_sample_cut_at_every_byte(data_path: Path) -> None:
    data = (data_path / "ethernet_vlan.pcap").read_bytes()[:1500]
    cuts = range(24, len(data))
    assert len(cuts) > 1000
    for end in cuts:
        found = []
        for filter in (None, "vlan and ip"):
            source = PcapSource(io.BytesIO(data[:end]), filter=filter)
            batches = []
            try:
                batches.extend(source.batches())
            except TruncatedFileError as error:
                found.append(str(error))
            whole = concat(batches)
            if filter is None:
                wanted = whole.filter("vlan and ip") if len(whole) else whole
        assert whole["timestamp"].tolist() == wanted["timestamp"].tolist(), end
        assert len(set(found)) <= 1, end


def test_program_sees_the_packet_up_to_the_snaplen(data_path: Path) -> None:
    assert len(read(data_path / "mixed.pcap", filter="udp", snaplen=23)) == 0
    assert len(read(data_path / "mixed.pcap", filter="ip and udp", snaplen=24)) > 0
    assert len(read(data_path / "mixed.pcap", filter="greater 60", snaplen=1)) > 0


def test_invalid_filters_are_refused_on_opening(data_path: Path) -> None:
    with pytest.raises(FilterError, match="syntax error"):
        PcapSource(data_path / "mixed.pcap", filter="udp and")
    with pytest.raises(FilterError, match="rejects all"):
        PcapSource(data_path / "mixed.pcap", filter="ip and arp and ip6")
    with pytest.raises(FilterError, match="syntax error"):
        PcapSource(data_path / "unknown.pcap", filter="udp and")
    with pytest.raises(FilterError, match="1 to 4096"):
        PcapSource(data_path / "mixed.pcap", filter=[])
