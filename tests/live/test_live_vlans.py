"""Live sources: VLAN tags, which the kernel takes out of received frames."""

from __future__ import annotations

from typing import Any

import pytest

from slimcap import (
    NO_IP,
    PacketType,
    RecordFlag,
)
from support.netns import Veth
from support.traffic import (
    OpenSource,
    arp,
    assert_silent,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
    udp6,
)


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
@pytest.mark.parametrize("tci", [5, 0, 0xE005, 0xFFF])
def test_tag_of_a_received_frame_is_stripped(veth: Veth, opened: OpenSource, tpid: int, tci: int) -> None:
    source = opened()
    plain = ethernet(udp())
    veth.send([tagged(plain, tci, tpid)])
    (got,) = collect(source, 1)
    assert got.data == plain
    assert (got.cap_len, got.total_len, got.ip_offset) == (len(plain), len(plain), 14)
    assert got.flags == RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED
    assert (got.vlan_tci, got.vlan_tpid) == (tci, tpid)


@pytest.mark.parametrize("outer", [0x8100, 0x88A8])
def test_outer_of_two_received_tags_is_stripped(veth: Veth, opened: OpenSource, outer: int) -> None:
    source = opened()
    inner = tagged(ethernet(udp()), 7)
    veth.send([tagged(inner, 100, outer)])
    (got,) = collect(source, 1)
    assert got.data == inner
    assert (got.ip_offset, got.vlan_tci, got.vlan_tpid) == (18, 100, outer)
    assert got.flags == RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_tags_of_a_sent_frame_stay_in_place(veth: Veth, opened: OpenSource, tpid: int) -> None:
    source = opened("left")
    frame = tagged(ethernet(udp()), 5, tpid)
    veth.send([frame, tagged(frame, 9, tpid)])
    one, two = collect(source, 2)
    assert payloads((one, two)) == [frame, tagged(frame, 9, tpid)]
    assert (one.ip_offset, two.ip_offset) == (18, 22)
    assert (one.vlan_tci, two.vlan_tci) == (5, 9)
    assert {got.pkt_type for got in (one, two)} == {PacketType.OUTGOING}
    assert {(got.flags, got.vlan_tpid) for got in (one, two)} == {(RecordFlag.VLAN, tpid)}


def test_vlan_expression_matches_stripped_tags(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="vlan 7")
    frames = [tagged(ethernet(udp(i)), 6 + i) for i in range(3)]
    veth.send(frames)
    assert [one.vlan_tci for one in collect(source, 1)] == [7]
    assert_silent(source)


# ---- ignore_vlans


@pytest.mark.parametrize("end", ["left", "right"])
@pytest.mark.parametrize("options", [{}, {"auto_filter": False}])
def test_ignore_vlans_drops_tagged_frames(
    veth: Veth, opened: OpenSource, end: str, options: dict[str, Any]
) -> None:
    source = opened(end, ignore_vlans=True, **options)
    plain = frames_of(2)
    veth.send([tagged(plain[0], 5), plain[0], tagged(plain[0], 0), tagged(plain[0], 5, 0x88A8), plain[1]])
    assert payloads(collect(source, 2)) == plain
    assert_silent(source)


def test_ignore_vlans_with_a_filter(veth: Veth, opened: OpenSource) -> None:
    source = opened(ignore_vlans=True, filter="udp")
    veth.send([tagged(ethernet(udp(1)), 5), arp(), ethernet(udp(2))])
    assert payloads(collect(source, 1)) == [ethernet(udp(2))]
    assert_silent(source)


# ---- reinsert_vlan


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_reinsert_vlan_puts_tags_back(veth: Veth, opened: OpenSource, tpid: int) -> None:
    source = opened(reinsert_vlan=True, auto_filter=False)
    assert source.reinsert_vlan
    frames = [
        tagged(ethernet(udp(1)), 5, tpid),
        ethernet(udp(2)),
        tagged(tagged(ethernet(udp(3)), 7), 100, tpid),
        tagged(ethernet(udp6(4), 0x86DD), 0, tpid),
        tagged(arp(5), 0xFFFF, tpid),
        tagged(ethernet(b"\0\0"), 6, tpid),
    ]
    veth.send(frames)
    got = collect(source, len(frames))
    assert payloads(got) == frames
    assert [one.total_len for one in got] == [one.cap_len for one in got] == [len(f) for f in frames]
    assert [one.ip_offset for one in got] == [18, 14, 22, 18, NO_IP, 18]
    assert [one.flags for one in got] == [1, 0, 1, 1, 1, 1]  # RecordFlag.VLAN, without VLAN_STRIPPED
    assert [one.vlan_tci for one in got] == [5, 0, 100, 0, 0xFFFF, 6]
    assert {one.vlan_tpid for one in got if one.flags} == {tpid}


@pytest.mark.parametrize("snaplen", [1, 11, 12, 13, 16, 18, 40])
def test_reinsert_vlan_within_the_snaplen(veth: Veth, opened: OpenSource, snaplen: int) -> None:
    """The tag of a packet shorter than two addresses cannot be put back."""
    source = opened(reinsert_vlan=True, auto_filter=False, snaplen=snaplen)
    frame = tagged(ethernet(udp(1)), 5)
    veth.send([frame])
    (got,) = collect(source, 1)
    if snaplen < 12:
        assert (got.data, got.total_len) == (frame[:snaplen], len(frame) - 4)
        assert got.flags == RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED | RecordFlag.TRUNCATED
    else:
        assert (got.data, got.total_len) == (frame[:snaplen], len(frame))
        assert got.flags & RecordFlag.TRUNCATED
        assert not got.flags & RecordFlag.VLAN_STRIPPED


def test_reinsert_vlan_leaves_sent_frames_alone(veth: Veth, opened: OpenSource) -> None:
    source = opened("left", reinsert_vlan=True)
    frame = tagged(ethernet(udp()), 5)
    veth.send([frame])
    assert payloads(collect(source, 1)) == [frame]
