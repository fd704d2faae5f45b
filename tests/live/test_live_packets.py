"""Live sources: packets as they were sent, by each reader and to the end.

Tests with the fixture `opened` run for RingSource and SocketSource."""

from __future__ import annotations

import os

import pytest

from slimcap import (
    CaptureStopped,
    PacketType,
    RecordFlag,
    Stats,
)
from support.netns import Veth
from support.readers import ALL_READERS, Reader, Reading
from support.traffic import (
    ALL,
    GROUP,
    LEFT,
    OTHER,
    RIGHT,
    LiveSource,
    OpenSource,
    arp,
    assert_silent,
    collect,
    ethernet,
    frames_of,
    payloads,
    udp,
    udp6,
)


def read_one(reader: Reader, source: LiveSource) -> Reading:
    return reader(source) if reader.name == "iteration" else reader(source, timeout=10)


@pytest.mark.parametrize(
    "reader", [one for one in ALL_READERS.values() if not one.ip_layer], ids=lambda one: one.name
)
def test_each_reader_returns_the_packets(veth: Veth, opened: OpenSource, reader: Reader) -> None:
    source = opened()
    frames = frames_of(30)
    veth.send(frames[:20])
    got = []
    for i in range(30):
        if i == 20:
            veth.send(frames[20:])
        data, kind, total = read_one(reader, source)
        got.append((bytes(data), kind, total))
        del data
    assert got == [(frame, 0, len(frame)) for frame in frames]


@pytest.mark.parametrize(
    "reader", [one for one in ALL_READERS.values() if one.ip_layer], ids=lambda one: one.name
)
def test_each_reader_of_ip_layers_skips_packets_without_one(
    veth: Veth, opened: OpenSource, reader: Reader
) -> None:
    source = opened(auto_filter=False)
    frames = [arp(), *frames_of(3), arp(), ethernet(udp6(), 0x86DD)]
    veth.send(frames)
    got = []
    for _ in range(4):
        layer, kind, total = read_one(reader, source)
        got.append((bytes(layer), kind, total))
        del layer
    assert got == [(f[14:], 0, len(f)) for f in frames if f[12:14] != b"\x08\x06"]


def test_buffers_are_filled_in_place(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    frames = frames_of(3)
    veth.send(frames)
    packet, buffer = source.new_packet(), bytearray(2000)
    assert source.next_packet(packet, timeout=10) is packet
    assert (bytes(packet.payload), packet.type, packet.total_len) == (frames[0], 0, len(frames[0]))
    assert source.next_payload(buffer, timeout=10)[0] == frames[1]
    assert bytes(source.next_ip_packet(buffer, timeout=10)[0]) == frames[2][14:]


# ---- packets


def test_packet_types_follow_the_destination(veth: Veth, opened: OpenSource) -> None:
    source = opened(auto_filter=False)
    veth.send(ethernet(udp(), dst=dst) for dst in (RIGHT, ALL, GROUP, OTHER))
    veth.namespace.send("right", [ethernet(udp(), dst=LEFT, src=RIGHT)])
    assert [PacketType(one.pkt_type) for one in collect(source, 5)] == [0, 1, 2, 3, 4]


def test_promiscuous_sources_get_frames_for_others(veth: Veth, opened: OpenSource) -> None:
    source = opened(promiscuous=True)
    veth.send([ethernet(udp(), dst=OTHER)])
    assert [one.pkt_type for one in collect(source, 1)] == [PacketType.OTHER_HOST]


def test_snaplen_truncates_and_flags(veth: Veth, opened: OpenSource) -> None:
    source = opened(snaplen=40)
    frames = [ethernet(udp(0, 500)), ethernet(udp(1, 0))[:40], ethernet(udp(2, 0))[:39]]
    veth.send(frames)
    got = collect(source, 3)
    assert payloads(got) == [frame[:40] for frame in frames]
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    assert [one.flags for one in got] == [RecordFlag.TRUNCATED, 0, 0]
    assert source.new_packet().capacity >= 40


def test_snaplen_by_a_function_of_the_link_type(veth: Veth, opened: OpenSource) -> None:
    source = opened(snaplen=lambda link_type: 20 + link_type)
    veth.send(frames_of(1))
    assert [one.cap_len for one in collect(source, 1)] == [21]


def test_large_packets_arrive_whole(veth: Veth, opened: OpenSource) -> None:
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 60000")
    source = opened()
    frames = [ethernet(udp(0, 59_000)), ethernet(udp(1))]
    veth.send(frames)
    assert payloads(collect(source, 2)) == frames


def test_sent_packets_are_outgoing(veth: Veth, opened: OpenSource) -> None:
    source = opened("left")
    frames = frames_of(10)
    veth.send(frames)
    got = collect(source, 10)
    assert payloads(got) == frames
    assert {one.pkt_type for one in got} == {PacketType.OUTGOING}


def test_packets_from_before_or_of_other_interfaces_are_not_captured(veth: Veth, opened: OpenSource) -> None:
    tun = veth.namespace.tun("tun")
    veth.send(frames_of(50))
    source = opened()
    os.write(tun, udp(1))
    wanted = ethernet(udp(777))
    veth.send([wanted])
    os.write(tun, udp(2))
    assert payloads(collect(source, 1)) == [wanted]
    assert_silent(source)
    assert source.total_stats == Stats(1, 0, 0)


def test_two_sources_get_the_same_packets(veth: Veth, opened: OpenSource) -> None:
    sources = opened(), opened(filter="udp")
    frames = frames_of(20)
    veth.send(frames)
    for source in sources:
        assert payloads(collect(source, 20)) == frames


# ---- iteration


def test_iteration_ends_with_close(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    frames = frames_of(5)
    veth.send(frames)
    got = []
    for packet in source:
        got.append(bytes(packet.payload))
        if len(got) == 5:
            source.close()
    assert got == frames
    for again in (source.next_packet, source.next_batch, source.next_payload_zero_copy):
        with pytest.raises(CaptureStopped):
            again()


def test_batches_end_with_close(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.send(frames_of(5))
    count = 0
    for batch in source.batches(2, timeout=10):
        assert 1 <= len(batch) <= 2
        count += len(batch)
        if count == 5:
            source.close()
    assert count == 5


# ---- counters


def test_stats_count_since_the_last_call(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    assert source.stats() == Stats(0, 0, 0)
    veth.send(frames_of(10))
    collect(source, 10)
    assert source.stats() == Stats(10, 0, 0)
    assert source.stats() == Stats(0, 0, 0)
    veth.send([*frames_of(5), arp()])
    collect(source, 5)
    assert source.total_stats == Stats(15, 0, 0)
    assert source.stats() == Stats(5, 0, 0)
    veth.send(frames_of(2))
    source.close()
    assert source.total_stats == Stats(17, 0, 0)
    assert source.stats() == Stats(2, 0, 0)
