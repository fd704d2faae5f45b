"""Packets and batches that are added to a mock, and how they are read."""

from __future__ import annotations

import time

import pytest

from slimcap import NO_IP, Batch, CaptureStopped, PacketType, RecordFlag, Stats, open_file
from slimcap.mock import build_go_packet, build_packet
from support.batches import START, batch_of
from support.mocks import drained, hand_over, packet
from support.traffic import (
    ALL,
    GROUP,
    OTHER,
    RIGHT,
    arp,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
    udp6,
)


def test_packets_are_read_as_they_were_added(opened):
    mock = opened(auto_filter=False)
    frames = [*frames_of(5), arp(), ethernet(udp6(), 0x86DD), ethernet(b"\0"), b"\1", ethernet(udp(1, 2000))]
    for i, frame in enumerate(frames):
        assert mock.add_packet(packet(frame, i % 5, START + i, len(frame) + i))
    hand_over(mock)
    got = collect(mock, len(frames))
    assert payloads(got) == frames
    assert [one.pkt_type for one in got] == [i % 5 for i in range(len(frames))]
    assert [one.timestamp for one in got] == [START + i for i in range(len(frames))]
    assert [one.total_len - one.cap_len for one in got] == list(range(len(frames)))
    assert [bool(one.flags & RecordFlag.TRUNCATED) for one in got] == [i > 0 for i in range(len(frames))]
    assert [one.ip_offset for one in got] == [14] * 5 + [NO_IP, 14, 14, NO_IP, 14]
    assert mock.total_stats == Stats(len(frames), 0, 0)


def test_add_batch_equals_adding_each_packet(opened):
    frames = [*frames_of(50), arp(), tagged(ethernet(udp(1)), 5), ethernet(udp6(), 0x86DD)]
    batch = batch_of(frames, pkt_type=[i % 5 for i in range(len(frames))])
    one_by_one, at_once = opened(auto_filter=False), opened(auto_filter=False)
    for view in batch:
        assert one_by_one.add_packet(view)
    assert at_once.add_batch(batch) == len(frames)
    hand_over(one_by_one)
    hand_over(at_once)
    mine, theirs = collect(one_by_one, len(frames)), collect(at_once, len(frames))
    assert payloads(mine) == payloads(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.record.tolist() == b.record.tolist()


def test_packet_types_are_kept(opened):
    mock = opened()
    for pkt_type, dst in enumerate((RIGHT, ALL, GROUP, OTHER)):
        mock.add_packet(packet(ethernet(udp(), dst=dst), pkt_type))
    hand_over(mock)
    assert [PacketType(one.pkt_type) for one in collect(mock, 4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("timestamp", [0, -1, -(2**63)])
def test_a_packet_without_a_timestamp_gets_the_current_time(opened, timestamp):
    mock = opened()
    before = time.time_ns()
    mock.add_packet(packet(frames_of(1)[0], timestamp=timestamp))
    hand_over(mock)
    assert before <= collect(mock, 1)[0].timestamp <= time.time_ns()


@pytest.mark.parametrize(("src", "dst"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
@pytest.mark.parametrize("vlan", [None, 7])
def test_a_built_packet_passes_the_default_filter(opened, src, dst, vlan):
    built = build_packet(src, dst, 1234, 53, payload=b"x", timestamp=START, vlan=vlan, total_len=100)
    mock = opened()
    assert mock.add_packet(built)
    hand_over(mock)
    got = mock.next_packet()
    assert (got.timestamp, got.type, got.ip_layer) == (START, PacketType.THIS_HOST, built.ip_layer)
    assert (got.ip_layer.src, got.ip_layer.dst, got.ip_layer.dst_port) == (src, dst, 53)
    assert got.ip_layer[-1:] == b"x"
    tag_len = 0 if vlan is None else 4  # the tag is stripped, as by the kernel
    assert (got.vlan_tci, got.total_len, built.total_len) == (vlan or 0, 100 - tag_len, 100)
    assert RecordFlag.TRUNCATED in got.flags


def test_a_packet_of_build_go_packet_has_no_ethertype(opened):
    """The default filter accepts only IP packets, which it knows by their EtherType."""
    built = build_go_packet("1.2.3.4", "5.6.7.8", 5, 80, 6, b"x" * 9, PacketType.OTHER_HOST, 256)
    assert not opened().add_packet(built)
    mock = opened(auto_filter=False)
    assert mock.add_packet(built)
    hand_over(mock)
    got = mock.next_packet()
    assert (bytes(got.payload), got.type, got.total_len) == (bytes(built.payload), 3, 256)


def test_add_packet_from_adds_the_next_packet_of_another_source(opened, sample_of):
    sample = sample_of("mixed.pcap")
    mock = opened(auto_filter=False)
    with open_file(sample.path) as file:
        came = [mock.add_packet_from(file) for _ in sample.rows]
        with pytest.raises(EOFError):
            mock.add_packet_from(file)
    assert came == [len(row.data) > 0 for row in sample.rows]
    with pytest.raises(CaptureStopped):
        mock.add_packet_from(file)
    other = opened(timeout=None)
    with pytest.raises(TimeoutError, match="no packet"):
        mock.add_packet_from(other, timeout=0.01)
    mock.done()
    assert len(drained(mock)) == sum(came)


# ---- nothing to add


def test_a_released_batch_raises_value_error(opened):
    batch = batch_of(frames_of(1))
    batch.release()
    with pytest.raises(ValueError, match="released"):
        opened().add_batch(batch)


@pytest.mark.parametrize("what", [None, b"", 7, "packet"])
def test_adding_another_type_raises_type_error(opened, what):
    mock = opened()
    for add in (mock.add_packet, mock.add_batch):
        with pytest.raises(TypeError):
            add(what)


def test_an_empty_packet_is_not_added(opened):
    mock = opened(auto_filter=False)
    assert not mock.add_packet(mock.new_packet())
    assert not mock.add_packet(packet(b""))
    assert mock.add_batch(batch_of([])) == 0
    assert mock.total_stats == Stats(0, 0, 0)


# ---- rows that contradict themselves


@pytest.mark.parametrize(
    "columns",
    [
        {"offset": 10**6},
        {"offset": 2**64 - 1},
        {"cap_len": 2**32 - 1},
        {"cap_len": 10_000},
        {"offset": 2**64 - 1, "cap_len": 2**32 - 1, "total_len": 2**32 - 1},
    ],
    ids=str,
)
def test_rows_outside_of_the_data_are_skipped_or_refused(opened, columns):
    frames = frames_of(3)
    batch = batch_of(frames)
    records = batch.records.copy()
    for name, value in columns.items():
        records[name][1] = value
    try:
        batch = Batch(records, batch.data)
    except ValueError:
        return  # refused by Batch
    mock = opened(auto_filter=False)
    assert mock.add_batch(batch) == 2
    hand_over(mock)
    assert payloads(collect(mock, 2)) == [frames[0], frames[2]]


@pytest.mark.parametrize("reinsert_vlan", [False, True])
@pytest.mark.parametrize("pkt_type", [0, 4, 255])
@pytest.mark.parametrize("flags", [0, RecordFlag.VLAN_STRIPPED, 0xFFFFFFFF])
def test_total_len_is_never_less_than_cap_len(opened, flags, pkt_type, reinsert_vlan):
    """Neither the length on the wire nor the flags of a batch are trusted."""
    mock = opened(auto_filter=False, reinsert_vlan=reinsert_vlan)
    whole = tagged(tagged(ethernet(udp(1)), 5), 6)
    frames = [whole[:cut] for cut in range(1, len(whole))]
    for total in (0, 1, 19, 2**31, 2**32 - 1):
        batch = batch_of(
            frames, total_len=total, flags=flags, pkt_type=pkt_type, vlan_tci=7, vlan_tpid=0x8100
        )
        count = mock.add_batch(batch)
        assert len(frames) - 6 <= count <= len(frames)  # less those too short for their tag
        hand_over(mock)
        for one in collect(mock, count):
            assert one.cap_len <= one.total_len
            assert one.cap_len == len(one.data) <= len(whole) + 4
            assert one.total_len <= len(whole) + 4 or one.total_len >= total - 4


@pytest.mark.parametrize("timestamp", [2**63 - 1, 2**32 * 10**9, 10**18, 1])
def test_timestamps_beyond_32_bits_of_seconds_wrap(opened, timestamp):
    """Seconds in a ring have 32 bits."""
    mock = opened()
    mock.add_packet(packet(frames_of(1)[0], timestamp=timestamp))
    hand_over(mock)
    got = collect(mock, 1)[0].timestamp
    assert got % 2**32 * 10**9 == timestamp % 2**32 * 10**9 or got == timestamp % (2**32 * 10**9)


def test_packets_are_truncated_to_262144_bytes(opened):
    mock = opened(auto_filter=False)
    mock.add_batch(batch_of([ethernet(bytes(300_000)), tagged(ethernet(bytes(300_000)), 5)]))
    hand_over(mock)
    got = collect(mock, 2)
    assert all(262_000 <= one.cap_len <= 262_144 for one in got)
    assert [one.total_len for one in got] == [300_014, 300_014]
