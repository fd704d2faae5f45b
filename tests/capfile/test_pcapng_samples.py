"""pcapng samples: the same packets as in their classic twins, and their metadata."""

from __future__ import annotations

import io

import pytest

from slimcap import NO_IP, PacketType, PcapSource, RecordFlag, Stats, read
from support.batches import numbered_comments, payloads_of, rows_of
from support.builders.conversations import packet4
from support.builders.links import sll
from support.builders.pcapng import Ng
from support.capfiles import BEGIN, FRAME, LONGEST, NG, PCAPNG_TWINS, source_of


@pytest.mark.parametrize("twin", PCAPNG_TWINS)
def test_packets_equal_those_of_classic_pcap(twin, data_path):
    classic = read(data_path / ("mixed_ns.pcap" if "_ns" in twin else "mixed.pcap"))
    ours = read(data_path / twin)
    assert rows_of(ours) == rows_of(classic)
    assert ours.copy().data.tobytes() == classic.copy().data.tobytes()


# ---- interfaces

MAX_INTERFACES = 1 << 18


def test_interfaces_are_links(data_path):
    with PcapSource(data_path / "interfaces.pcapng") as source:
        assert source.link.name == "eth0"
        before = source.links
        batch = source.next_batch()
        assert source.links[: len(before)] == before
        assert batch.links == source.links
    assert [(link.name, link.type, link.description) for link in batch.links] == [
        ("eth0", 1, "uplink"),
        ("tun0", 101, ""),
        ("all of them", 113, "all of them"),
        (str(data_path / "interfaces.pcapng"), 1, ""),
        ("late", 229, ""),
    ]
    assert [link.named for link in batch.links] == [True, True, False, False, True]
    assert [link.index for link in batch.links] == list(range(5))
    assert sorted(set(batch["interface"].tolist())) == list(range(5))


def test_ip_offsets_depend_on_the_link_type_of_each_packet(data_path):
    batch = read(data_path / "interfaces.pcapng")
    starts = {0: 14, 1: 0, 2: 16, 3: 18, 4: 0}
    assert batch["ip_offset"].tolist() == [starts[number] for number in batch["interface"].tolist()]
    assert {batch.ip_layer(i).type for i in range(len(batch))} == {4, 6}
    tagged = batch["interface"] == 3
    assert (batch["flags"] & RecordFlag.VLAN != 0).tolist() == tagged.tolist()


def test_source_has_the_properties_of_the_section(data_path):
    with PcapSource(data_path / "mixed_be.pcapng") as source:
        assert (source.version, source.byte_order, source.resolution) == ((1, 0), "big", 1000)
        assert source.snaplen == 262144
        assert source.new_packet().capacity == 262144
        size = (data_path / "mixed_be.pcapng").stat().st_size
        assert source.progress == (size, size)
        assert repr(source).endswith("ETHERNET, 0 packets read>")
    with PcapSource(data_path / "mixed_ns.pcapng") as source:
        assert source.resolution == 1
    with PcapSource(data_path / "empty.pcapng") as source:
        assert (source.links, source.link) == ((), None)
        assert "no interface" in repr(source)
        with pytest.raises(EOFError):
            source.next_packet()
    assert len(read(data_path / "empty.pcapng")) == 0


def test_interface_numbers_continue_in_the_next_section(data_path):
    batch = read(data_path / "sections.pcapng")
    assert [link.name for link in batch.links] == ["eth0", "tun0", "eth1", "tun1", "eth3", "tun3"]
    assert batch["interface"].tolist() == list(range(6))
    assert [link.type for link in batch.links] == [1, 101] * 3


def test_more_sections_and_interfaces_than_16_bits_number_are_read(drain):
    data = (NG.section() + NG.interface() * 2 + NG.packet(FRAME, 1, 1)) * 40_000
    with source_of(data) as source:
        drained = drain(source)
    assert drained.records["interface"].tolist() == list(range(1, 80_000, 2))


@pytest.mark.slow
def test_too_many_interfaces_raise_after_the_packets_before_them(drain):
    data = NG.section() + NG.interface() * MAX_INTERFACES
    data += NG.packet(FRAME, 1, MAX_INTERFACES - 1) + NG.interface() + NG.packet(FRAME, 2, MAX_INTERFACES)
    with source_of(data) as source:
        drained = drain(source)
    assert drained.records["interface"].tolist() == [MAX_INTERFACES - 1]
    assert "more than 262,144 interfaces" in drained.error.reason


# ---- flags


FLAGS = [
    (0, PacketType.UNKNOWN),
    (1, PacketType.THIS_HOST),
    (2, PacketType.OUTGOING),
    (1 | 1 << 2, PacketType.THIS_HOST),
    (1 | 2 << 2, PacketType.MULTICAST),
    (1 | 3 << 2, PacketType.BROADCAST),
    (1 | 4 << 2, PacketType.OTHER_HOST),
    (2 | 3 << 2, PacketType.OUTGOING),
    (3 << 2, PacketType.BROADCAST),
    (7 << 2, PacketType.UNKNOWN),
    (0xFFFF_FFE0, PacketType.UNKNOWN),
]


@pytest.mark.parametrize("big_endian", [False, True])
def test_flags_give_the_packet_type(big_endian):
    ng = Ng(big_endian=big_endian)
    data = ng.section() + ng.interface()
    for flags, _ in FLAGS:
        data += ng.packet(FRAME, options=[ng.flags(flags)])
    assert read(io.BytesIO(data))["pkt_type"].tolist() == [kind for _, kind in FLAGS]


def test_flags_without_a_direction_keep_the_type_of_a_cooked_header():
    data = NG.section() + NG.interface(113)
    for flags in (0, 2):
        data += NG.packet(sll(packet4(), kind=1), options=[NG.flags(flags)])
    assert read(io.BytesIO(data))["pkt_type"].tolist() == [PacketType.BROADCAST, PacketType.OUTGOING]


# ---- drop counters


@pytest.mark.parametrize("big_endian", [False, True])
def test_drop_counters_report_the_larger_of_packets_and_statistics(big_endian):
    """Counts in packets add up, counts in statistics are totals; the larger of the two is reported."""
    ng = Ng(big_endian=big_endian)
    data = ng.section() + ng.interface() + ng.interface() + ng.packet(FRAME, options=[ng.count(4, 5)])
    data += ng.old_packet(FRAME, 0, 0, 3) + ng.old_packet(FRAME, 0, 0, 0xFFFF)
    data += ng.statistics(0, [ng.count(5, 1)]) + ng.statistics(0, [ng.count(4, 99)])
    data += ng.statistics(1, [ng.count(5, 10), ng.count(7, 4)]) + ng.statistics(
        1, [ng.count(5, 7), ng.count(7, 8)]
    )
    with source_of(data) as source:
        list(source)
        assert source.total_stats == Stats(3, 8 + 15, 0)
        assert source.stats() == Stats(3, 23, 0)
        assert source.stats() == Stats(0, 0, 0)


def test_drop_counters_saturate():
    most = (1 << 64) - 1
    packet = NG.packet(FRAME, options=[NG.count(4, most)])
    data = BEGIN + packet * 2 + NG.statistics(0, [NG.count(5, most), NG.count(7, most)])
    with source_of(data) as source:
        assert len(list(source)) == 2
        assert source.total_stats.packets_dropped == most


# ---- comments


def test_comments_belong_to_their_batch():
    data = BEGIN
    for number in range(100):
        data += NG.packet(FRAME, options=[(1, f"number {number}".encode())] if number % 3 == 0 else [])
    with source_of(data, block_size=1000) as source:
        found = numbered_comments(source)
    assert found == {number: f"number {number}" for number in range(0, 100, 3)}


def test_comments_are_decoded_from_any_bytes():
    data = BEGIN + NG.packet(FRAME, options=[(1, b"\xff\xfe nul\0"), (1, b""), (1, b"x" * 65535)])
    with source_of(data) as source:
        assert source.next_batch().comments == {0: "\ufffd\ufffd nul\n\n" + "x" * 65535}


# ---- lengths


def test_longest_dbus_packet_is_delivered(drain):
    data = (
        NG.section()
        + NG.interface(231)
        + NG.packet(bytes(LONGEST + 1))
        + NG.packet(b"", cap_len=(128 << 20) + 1)
    )
    with source_of(data) as source:
        assert source.new_packet().capacity == 128 << 20
        drained = drain(source)
    assert drained.records["cap_len"].tolist() == [LONGEST + 1]
    assert "captured" in drained.error.reason


@pytest.mark.parametrize("snaplen", [1, 14, 60, 262144, (1 << 32) - 1])
def test_snaplen_option_truncates_packets(snaplen, data_path):
    whole = read(data_path / "interfaces.pcapng")
    cut = read(data_path / "interfaces.pcapng", snaplen=snaplen)
    assert payloads_of(cut) == [bytes(whole.payload(i))[:snaplen] for i in range(len(whole))]
    assert cut["total_len"].tolist() == whole["total_len"].tolist()
    assert ((cut["ip_offset"] < cut["cap_len"]) | (cut["ip_offset"] == NO_IP)).all()
    with PcapSource(data_path / "interfaces.pcapng", snaplen=snaplen) as source:
        assert source.new_packet().capacity == max(
            148, min(snaplen, LONGEST)
        )  # 148: what a packet has capacity for


# ---- a file that grows


def test_fifo_delivers_packets_as_they_are_written(fifo):
    fifo.write(BEGIN)
    with PcapSource(fifo.path) as source:
        assert source.link is not None
        for number in range(3):
            with pytest.raises(TimeoutError):
                source.next_packet(timeout=0)
            fifo.write(NG.packet(FRAME, number))
            packet = source.next_packet(timeout=5)
            assert (packet.timestamp, bytes(packet.payload)) == (number * 1000, FRAME)
        fifo.close_soon()
        with pytest.raises(EOFError):
            source.next_packet(timeout=10)
