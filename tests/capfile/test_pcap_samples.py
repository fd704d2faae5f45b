"""PcapSource on every sample: the packets are those that the builders made."""

from __future__ import annotations

import io

import numpy as np
import pytest

from slimcap import Link, PacketType, PcapSource, RecordFlag, read
from support.batches import payloads_of, rows_of
from support.builders.pcap import NANO, pcap_header, pcap_record
from support.capfiles import FRAME, same_rows

TWINS = [
    "mixed_be.pcap",
    "mixed_ns.pcap",
    "mixed_ns_be.pcap",
    "mixed_modified.pcap",
    "mixed.pcap.gz",
    "mixed_members.pcap.gz",
]


def test_records_and_payloads_are_those_of_the_sample(good):
    batch = read(good.path)
    with PcapSource(good.path) as source:
        first = source.next_batch() if good.rows else None
    assert payloads_of(batch) == [row.data for row in good.rows]
    assert batch["timestamp"].tolist() == [row.timestamp for row in good.rows]
    assert batch["total_len"].tolist() == [row.total_len for row in good.rows]
    assert batch["cap_len"].tolist() == [len(row.data) for row in good.rows]
    if first is not None:
        assert same_rows(first.records, good.rows[: len(first)])
        assert bytes(first.data) == good.data[: len(first.data)]


def test_ip_offsets_are_those_of_tshark(good):
    assert read(good.path)["ip_offset"].tolist() == good.ip_offsets
    assert len(good.ip_offsets) == len(good.rows)


def cooked_type(linktype, data):
    """Return the packet type in a Linux cooked header."""
    if linktype == 113 and len(data) >= 16:
        return int.from_bytes(data[:2], "big")
    if linktype == 276 and len(data) >= 20:
        return data[10]
    return PacketType.UNKNOWN


def test_packet_types_are_those_of_the_cooked_header(good):
    batch = read(good.path)
    assert batch["pkt_type"].tolist() == [cooked_type(good.linktype, row.data) for row in good.rows]


def test_cooked_samples_have_every_packet_type(sample_of):
    for name in ("sll.pcap", "sll2.pcap"):
        types = set(read(sample_of(name).path)["pkt_type"].tolist())
        assert types == {0, 1, 2, 3, 4}


def outermost_tag(linktype, data):
    """Return (TPID, TCI) of the tag after the link-layer header (IEEE 802.1Q), or None."""
    at = {1: (12, 14), 113: (14, 16), 276: (0, 20)}.get(linktype & 0xFFFF)
    if at is None or len(data) < at[1] + 4:
        return None
    tpid = int.from_bytes(data[at[0] : at[0] + 2], "big")
    return (
        (tpid, int.from_bytes(data[at[1] : at[1] + 2], "big")) if tpid in (0x8100, 0x88A8, 0x9100) else None
    )


def test_vlan_columns_and_flags_describe_the_outermost_tag(good):
    batch = read(good.path)
    tags = [outermost_tag(good.linktype, row.data) for row in good.rows]
    assert list(zip(batch["vlan_tpid"].tolist(), batch["vlan_tci"].tolist(), strict=True)) == [
        t or (0, 0) for t in tags
    ]
    flags = [
        (RecordFlag.VLAN if tag else 0) | (RecordFlag.TRUNCATED if len(row.data) < row.total_len else 0)
        for tag, row in zip(tags, good.rows, strict=True)
    ]
    assert batch["flags"].tolist() == flags


def test_vlan_samples_have_tags(sample_of):
    for name, tagged in (("ethernet_vlan.pcap", 16), ("sll.pcap", 3), ("sll2.pcap", 3), ("mixed.pcap", 26)):
        flags = read(sample_of(name).path)["flags"]
        assert np.count_nonzero(flags & RecordFlag.VLAN) == tagged, name


def test_source_has_the_properties_of_the_file_header(good):
    with PcapSource(good.path) as source:
        assert source.name == str(good.path)
        assert source.snaplen == good.snaplen
        assert source.version == (2, 4)
        assert source.byte_order == ("big" if good.big_endian else "little")
        assert source.resolution == (1 if good.magic == NANO else 1000)
        assert source.links == (Link(str(good.path), 0, good.linktype & 0xFFFF, named=False),)
        assert source.link == source.links[0]
        batches = list(source.batches())
        assert source.progress == (good.path.stat().st_size, good.path.stat().st_size)
    assert all(batch.links == source.links for batch in batches)
    assert all((batch["interface"] == 0).all() for batch in batches)


@pytest.mark.parametrize(
    ("linktype", "name"),
    [
        (0, "NULL"),
        (1, "ETHERNET"),
        (12, "RAW_BSD"),
        (113, "LINUX_SLL"),
        (276, "LINUX_SLL2"),
        (148, "USER1"),
        (500, "500"),
    ],
)
def test_links_have_the_name_of_their_type(linktype, name):
    with PcapSource(io.BytesIO(pcap_header(linktype=linktype))) as source:
        assert source.link.type_name == name


@pytest.mark.parametrize("twin", TWINS)
def test_twins_of_mixed_pcap_are_equal(sample_of, twin):
    mixed, other = read(sample_of("mixed.pcap").path), read(sample_of(twin).path)
    assert payloads_of(mixed) == [bytes(other.payload(i)) for i in range(len(other))]
    times = other["timestamp"] // 1000 * 1000
    assert times.tolist() == mixed["timestamp"].tolist()
    assert (times != other["timestamp"]).any() == ("_ns" in twin)
    assert rows_of(other, "timestamp") == rows_of(mixed, "timestamp")


def test_timestamps_are_exact_to_the_nanosecond():
    data = (
        pcap_header(magic=NANO)
        + pcap_record(FRAME, 0xFFFFFFFF, 999_999_999)
        + pcap_record(FRAME, 0, 0xFFFFFFFF)
    )
    assert read(io.BytesIO(data))["timestamp"].tolist() == [0xFFFFFFFF * 10**9 + 999_999_999, 0xFFFFFFFF]
