"""pcap file headers, versions, lengths, and the options of PcapSource."""

from __future__ import annotations

import io
import struct

import pytest

from slimcap import NO_IP, FileFormatError, PcapSource, RecordFlag, TruncatedFileError, read
from support.batches import payloads_of, rows_of
from support.builders.captures import simple
from support.builders.pcap import MICRO, Packet, pcap_file, pcap_header, pcap_record
from support.capfiles import FRAME, LONGEST, LONGEST_DBUS

HEADER = pcap_header()
DBUS = 231


# ---- options


@pytest.mark.parametrize("snaplen", [1, 14, 15, 60, 96, LONGEST, LONGEST + 1, (1 << 32) - 1])
def test_snaplen_option_truncates_packets(sample_of, snaplen):
    sample = sample_of("mixed.pcap")
    batch = read(sample.path, snaplen=snaplen)
    assert payloads_of(batch) == [row.data[:snaplen] for row in sample.rows]
    assert batch["total_len"].tolist() == [row.total_len for row in sample.rows]
    cut = [len(row.data) > snaplen for row in sample.rows]
    assert (batch["flags"] & RecordFlag.TRUNCATED != 0).tolist() == cut
    expected = [
        at if at < min(snaplen, len(row.data)) else NO_IP
        for at, row in zip(sample.ip_offsets, sample.rows, strict=True)
    ]
    assert batch["ip_offset"].tolist() == expected


def test_snaplen_option_equals_a_capture_with_that_snaplen(sample_of):
    cut, captured = read(sample_of("mixed.pcap").path, snaplen=96), read(sample_of("snap96.pcap").path)
    assert rows_of(cut) == rows_of(captured)


@pytest.mark.parametrize("snaplen", [0, -1, 1 << 32])
def test_snaplen_out_of_range_raises(sample_of, snaplen):
    with pytest.raises(ValueError, match=f"not {snaplen}"):
        PcapSource(sample_of("mixed.pcap").path, snaplen=snaplen)


@pytest.mark.parametrize("block_size", [-1, 0, 63, (1 << 30) + 1])
def test_block_size_out_of_range_raises(sample_of, block_size):
    with pytest.raises(ValueError, match=f"not {block_size}"):
        PcapSource(sample_of("mixed.pcap").path, block_size=block_size)


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_timeout_out_of_range_raises(sample_of, timeout):
    with pytest.raises(ValueError, match="timeout"):
        PcapSource(sample_of("mixed.pcap").path, timeout=timeout)


@pytest.mark.parametrize("options", [{"snaplen": "x"}, {"block_size": "x"}, {"timeout": "x"}, {"color": 1}])
def test_options_of_another_type_raise(sample_of, options):
    with pytest.raises(TypeError):
        PcapSource(sample_of("mixed.pcap").path, **options)


# ---- file headers


@pytest.mark.parametrize(
    "above", [0x0400_0000, 0x1400_0000, 0x2400_0000, 0xF400_0000, 0x03FF_0000, 0x0800_0000]
)
def test_bits_above_the_link_type_are_masked(above):
    packets = simple()
    with PcapSource(io.BytesIO(pcap_file(packets, linktype=above | 1))) as source:
        assert source.link.type == 1
        assert source.next_batch()["ip_offset"].tolist() == [14] * len(packets)


@pytest.mark.parametrize("linktype", [2, 11, 300, 1234, 0xFFFF])
def test_packets_of_unknown_link_types_are_delivered(linktype):
    """wiretap refuses the file; libpcap delivers its packets."""
    with PcapSource(io.BytesIO(pcap_file(simple(), linktype=linktype))) as source:
        batch = source.next_batch()
    assert [link.type for link in batch.links] == [linktype]
    assert [bytes(packet.payload) for packet in batch] == [packet.data for packet in simple()]
    assert (batch["ip_offset"] == NO_IP).all()


@pytest.mark.parametrize("snaplen", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_snaplen_in_the_file_header_does_not_limit_packets(snaplen):
    header = struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, snaplen, 1)
    with PcapSource(io.BytesIO(header + pcap_record(FRAME))) as source:
        assert source.snaplen == snaplen
        assert source.next_payload()[0] == FRAME


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("version", "swapped"),
    [
        ((2, 0), True),
        ((2, 1), True),
        ((2, 2), True),
        ((543, 0), True),
        ((543, 1), False),
        ((2, 4), False),
        ((2, 5), False),
        ((2, 0xFFFF), False),
        ((3, 0), False),
        ((0xFFFF, 0xFFFF), False),
    ],
)
def test_order_of_lengths_depends_on_the_version(version, swapped, big_endian):
    first, second = (len(FRAME) + 100, len(FRAME)) if swapped else (len(FRAME), len(FRAME) + 100)
    record = pcap_record(FRAME, cap_len=first, orig_len=second, big_endian=big_endian)
    data = pcap_header(version=version, big_endian=big_endian) + record * 3
    with PcapSource(io.BytesIO(data)) as source:
        assert source.version == version
        batch = source.next_batch()
    assert batch["cap_len"].tolist() == [len(FRAME)] * 3
    assert batch["total_len"].tolist() == [len(FRAME) + 100] * 3
    assert bytes(batch.payload(2)) == FRAME


@pytest.mark.parametrize("big_endian", [False, True])
def test_version_2_3_has_lengths_in_either_order(big_endian):
    data = pcap_header(version=(2, 3), big_endian=big_endian)
    for lengths in ((len(FRAME), 2000), (2000, len(FRAME)), (len(FRAME), len(FRAME))):
        data += pcap_record(FRAME, cap_len=lengths[0], orig_len=lengths[1], big_endian=big_endian)
    batch = read(io.BytesIO(data))
    assert batch["cap_len"].tolist() == [len(FRAME)] * 3
    assert batch["total_len"].tolist() == [2000, 2000, len(FRAME)]


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("version", [(0, 0), (1, 0), (1, 4), (1, 0xFFFF)])
def test_versions_below_2_raise(version, big_endian):
    with pytest.raises(FileFormatError, match=f"version {version[0]}.{version[1]}") as raised:
        PcapSource(io.BytesIO(pcap_header(version=version, big_endian=big_endian)))
    assert not isinstance(raised.value, TruncatedFileError)
    assert (raised.value.offset, raised.value.packet_index) == (0, 0)


# ---- lengths


@pytest.mark.parametrize("linktype", [1, 101, 147])
def test_longest_packet_is_delivered_and_a_longer_one_raises(linktype, drain):
    data = (
        pcap_header(linktype=linktype)
        + pcap_record(bytes(LONGEST))
        + pcap_record(FRAME)
        + pcap_record(bytes(LONGEST + 1))
    )
    with PcapSource(io.BytesIO(data)) as source:
        drained = drain(source)
    assert drained.records["cap_len"].tolist() == [LONGEST, len(FRAME)]
    assert type(drained.error) is FileFormatError
    assert str(LONGEST + 1) in drained.error.reason
    assert drained.error.offset == 24 + 16 + LONGEST + 16 + len(FRAME)
    assert drained.error.packet_index == 2


def test_longest_dbus_packet_is_delivered_and_a_longer_one_raises(drain):
    data = (
        pcap_header(linktype=DBUS)
        + pcap_record(bytes(LONGEST + 1))
        + pcap_record(b"", cap_len=LONGEST_DBUS + 1)
    )
    with PcapSource(io.BytesIO(data)) as source:
        drained = drain(source)
    assert drained.records["cap_len"].tolist() == [LONGEST + 1]
    assert type(drained.error) is FileFormatError
    assert str(LONGEST_DBUS + 1) in drained.error.reason
    with PcapSource(
        io.BytesIO(pcap_header(linktype=DBUS) + pcap_record(bytes(9), cap_len=LONGEST_DBUS))
    ) as source:
        assert isinstance(drain(source).error, TruncatedFileError)


# NO_IP is 65535, which could be a place in a packet of 70,000 bytes.
LONG_WITHOUT_IP = pcap_file([Packet(bytes(70_000)), Packet(FRAME)], linktype=147)


def test_no_ip_is_not_taken_for_an_offset_in_a_batch():
    batch = read(io.BytesIO(LONG_WITHOUT_IP))
    assert batch["ip_offset"].tolist() == [NO_IP, NO_IP]
    assert [len(batch.ip_layer(i)) for i in range(2)] == [0, 0]
    assert [len(packet.ip_layer) for packet in batch] == [0, 0]


@pytest.mark.parametrize("method", ["next_ip_packet", "next_ip_packet_zero_copy"])
@pytest.mark.parametrize("block_size", [64, 1 << 20])
def test_no_ip_is_not_taken_for_an_offset_in_a_source(block_size, method):
    with PcapSource(io.BytesIO(LONG_WITHOUT_IP), block_size=block_size) as source, pytest.raises(EOFError):
        getattr(source, method)()


def test_lengths_on_the_wire_are_never_less_than_captured():
    data = HEADER + pcap_record(FRAME, orig_len=0) + pcap_record(FRAME, orig_len=len(FRAME) - 1)
    batch = read(io.BytesIO(data))
    assert batch["total_len"].tolist() == [len(FRAME)] * 2
    assert (batch["flags"] & RecordFlag.TRUNCATED == 0).all()
