"""IXIA's variant of pcap: four more bytes of file header, the size of all records."""

from __future__ import annotations

import pytest

from slimcap import TruncatedFileError
from support.builders.mixed import mixed
from support.builders.pcap import IXIA_HW, IXIA_SW, pcap_file
from support.capfiles import outcome_of
from support.dissections import dissect

PACKETS = mixed()[:20]

flavours = pytest.mark.parametrize("magic", [IXIA_HW, IXIA_SW])
byte_orders = pytest.mark.parametrize("big_endian", [False, True])


def ixia_file(magic, big_endian):
    plain = pcap_file(PACKETS, magic=magic, big_endian=big_endian)
    return plain[:24] + (len(plain) - 24).to_bytes(4, "big" if big_endian else "little") + plain[24:]


@flavours
@byte_orders
def test_packets_are_delivered_in_both_byte_orders(magic, big_endian):
    facts, error = outcome_of(ixia_file(magic, big_endian))
    assert error is None
    assert facts == [(packet.time // 1000 * 1000, len(packet.data), packet.data) for packet in PACKETS]


@flavours
@byte_orders
def test_cut_in_the_file_header_raises(magic, big_endian):
    data = ixia_file(magic, big_endian)
    for cut in range(4, 28):
        assert type(outcome_of(data[:cut])[1]) is TruncatedFileError, f"cut at byte {cut}"


def test_tshark_reads_the_same(tmp_path, need_tool):
    files = [ixia_file(magic, big_endian) for magic in (IXIA_HW, IXIA_SW) for big_endian in (False, True)]
    paths = [tmp_path / f"ixia{number}.pcap" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    dissected = dissect(need_tool("tshark"), need_tool("mergecap"), paths, tmp_path)
    for path, data in zip(paths, files, strict=True):
        facts, _ = outcome_of(data)
        seen = [(packet.timestamp, packet.total_len) for packet in dissected[path.name]]
        assert seen == [fact[:2] for fact in facts]
        assert len(seen) == len(PACKETS)
