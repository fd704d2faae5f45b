"""VLAN tags and flags of packets that are added to a mock."""

from __future__ import annotations

import pytest

from slimcap import RecordFlag
from support.batches import batch_of
from support.mocks import hand_over, packet
from support.traffic import collect, ethernet, frames_of, tagged, udp


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
@pytest.mark.parametrize("tci", [0, 5, 0xEFFF])
def test_vlan_tags_of_incoming_packets_are_stripped(opened, tci, tpid):
    """The kernel leaves the tags of outgoing packets in place."""
    plain = ethernet(udp(1))
    frame = tagged(plain, tci, tpid)
    for options in ({}, {"reinsert_vlan": True}, {"ignore_vlans": True}):
        mock = opened(**options)
        count = mock.add_batch(batch_of([frame, frame], pkt_type=[0, 4]))
        if options == {"ignore_vlans": True}:
            assert count == 0
            continue
        hand_over(mock)
        came, went = collect(mock, 2)
        stripped = not options
        assert came.data == (plain if stripped else frame)
        assert went.data == frame
        assert came.total_len == len(came.data)
        assert (came.vlan_tci, came.vlan_tpid) == (went.vlan_tci, went.vlan_tpid) == (tci, tpid)
        assert bool(came.flags & RecordFlag.VLAN_STRIPPED) == stripped
        assert went.flags & (RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED) == RecordFlag.VLAN


def test_an_incoming_packet_too_short_for_its_tag_is_dropped(opened):
    """skb_vlan_untag() drops it before any socket sees it, unless it was only truncated by the capture."""
    mock = opened(auto_filter=False)
    whole = tagged(ethernet(udp(1)), 5)
    for cut in range(14, 24):
        assert mock.add_packet(packet(whole[:cut], 0)) == (cut >= 20)
        assert mock.add_packet(packet(whole[:cut], 4))
        assert mock.add_packet(packet(whole[:cut], 0, total_len=len(whole)))


def test_flags_of_a_batch_are_kept(opened):
    """A batch of a live capture: its tags stay stripped, and its checksum flags are kept."""
    flags = [
        RecordFlag.CHECKSUM_VALID,
        RecordFlag.CHECKSUM_NOT_READY,
        RecordFlag.GSO | RecordFlag.CHECKSUM_NOT_READY,
        RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED,
    ]
    mock = opened()
    mock.add_batch(batch_of(frames_of(4), flags=flags, vlan_tci=[0, 0, 0, 7], vlan_tpid=[0, 0, 0, 0x88A8]))
    hand_over(mock)
    got = collect(mock, 4)
    assert [one.flags for one in got] == flags
    assert (got[3].vlan_tci, got[3].vlan_tpid) == (7, 0x88A8)
