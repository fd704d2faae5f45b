"""BlockWalker on blocks as the kernel writes them."""

from __future__ import annotations

import numpy as np
import pytest

from slimcap import NO_IP, RECORD_DTYPE, RecordFlag
from slimcap.source.live.block_walker import BlockWalker, reinsert_tags
from support.blocks import (
    ARP,
    CSUM_NOT_READY,
    CSUM_VALID,
    FIRST,
    GSO,
    IPV4,
    IPV6,
    LOSING,
    MAC,
    TAGGED,
    TPID_VALID,
    USER,
    VLAN_VALID,
    Sent,
    aligned,
    block_of,
    patch,
)
from support.walker import payloads_in, walked

MIXED = [
    Sent(),
    Sent(IPV6, pkt_type=4),
    Sent(ARP, pkt_type=1),
    Sent(IPV4[:20], total=1500, pkt_type=3),
    Sent(IPV4[:10], total=34),
    Sent(TAGGED, mac=78, pkt_type=4),
    Sent(b"\x01", total=60),
]


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("base", [0, 4096, 1 << 40])
def test_rows_describe_the_packets_of_the_block(capacity, base):
    block = block_of(MIXED)
    rows, walker = walked(block, capacity, base)
    assert payloads_in(block, rows, base) == [packet.data for packet in MIXED]
    assert rows["total_len"].tolist() == [packet.total or len(packet.data) for packet in MIXED]
    assert rows["pkt_type"].tolist() == [packet.pkt_type for packet in MIXED]
    assert rows["ip_offset"].tolist() == [14, 14, NO_IP, 14, NO_IP, 18, NO_IP]
    assert set(rows["timestamp"].tolist()) == {1_700_000_000_123_456_789}
    assert set(rows["interface"].tolist()) == {0}
    flags = [0, 0, 0, RecordFlag.TRUNCATED, RecordFlag.TRUNCATED, RecordFlag.VLAN, RecordFlag.TRUNCATED]
    assert rows["flags"].tolist() == flags
    assert (rows["vlan_tci"][5], rows["vlan_tpid"][5]) == (0x2007, 0x8100)
    assert (walker.bad, walker.remaining, walker.status, walker.linktype) == (False, 0, USER, 1)


def test_padding_bytes_of_rows_are_zero():
    """Otherwise equal rows would differ, and rows would leak memory."""
    data = np.frombuffer(bytes(block_of(MIXED)), "u1")
    memory = np.full((len(MIXED), RECORD_DTYPE.itemsize), 0xEE, "u1")
    walker = BlockWalker(1)
    walker.start(data)
    assert walker.walk(data, memory.reshape(-1).view(RECORD_DTYPE)) == len(MIXED)
    spare = RECORD_DTYPE.fields["pkt_type"][1] + 1
    assert not memory[:, spare].any()


@pytest.mark.parametrize(
    ("status", "tci", "tpid", "flags", "seen"),
    [
        (0, 5, 0x8100, 0, (0, 0)),
        (TPID_VALID, 5, 0x8100, 0, (0, 0)),
        (VLAN_VALID | TPID_VALID, 0x6005, 0x8100, 3, (0x6005, 0x8100)),
        (VLAN_VALID | TPID_VALID, 5, 0x88A8, 3, (5, 0x88A8)),
        (VLAN_VALID | TPID_VALID, 0, 0x8100, 3, (0, 0x8100)),
        (VLAN_VALID, 5, 0x1234, 3, (5, 0x8100)),
        (CSUM_NOT_READY, 0, 0, RecordFlag.CHECKSUM_NOT_READY, (0, 0)),
        (CSUM_VALID, 0, 0, RecordFlag.CHECKSUM_VALID, (0, 0)),
        (GSO, 0, 0, RecordFlag.GSO, (0, 0)),
        (0xFFFFFFFF, 5, 0x88A8, 3 | 8 | 16 | 64, (5, 0x88A8)),
    ],
)
def test_status_bits_become_flags_and_vlan_columns(status, tci, tpid, flags, seen):
    rows, _ = walked(block_of([Sent(status=USER | status, tci=tci, tpid=tpid)]))
    assert rows["flags"].tolist() == [flags]
    assert (rows["vlan_tci"][0], rows["vlan_tpid"][0]) == seen
    assert rows["ip_offset"].tolist() == [14]


def test_an_inline_tag_is_the_inner_one_if_another_was_stripped():
    rows, _ = walked(block_of([Sent(TAGGED, status=USER | VLAN_VALID | TPID_VALID, tci=9, tpid=0x88A8)]))
    assert (rows["vlan_tci"][0], rows["vlan_tpid"][0], rows["ip_offset"][0]) == (9, 0x88A8, 18)
    assert rows["flags"].tolist() == [RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED]


@pytest.mark.parametrize(("linktype", "data", "at"), [(101, IPV4[14:], 0), (147, IPV4, NO_IP), (1, IPV4, 14)])
def test_ip_offset_depends_on_the_link_type(linktype, data, at):
    rows, walker = walked(block_of([Sent(data, mac=96)]), linktype=linktype)
    assert rows["ip_offset"].tolist() == [at]
    assert walker.linktype == linktype


def test_timestamps_after_2038_are_decoded():
    rows, _ = walked(
        block_of([Sent(seconds=0xFFFFFFFF, nanoseconds=999_999_999), Sent(seconds=0, nanoseconds=0)])
    )
    assert rows["timestamp"].tolist() == [0xFFFFFFFF * 10**9 + 999_999_999, 0]


def test_a_packet_longer_than_64_kilobytes_is_decoded():
    data = IPV4 + bytes(198_000)
    rows, _ = walked(block_of([Sent(data, total=400_000)], size=1 << 18))
    assert (rows["cap_len"].tolist(), rows["total_len"].tolist()) == ([len(data)], [400_000])


def test_a_total_len_below_cap_len_is_raised_to_it():
    rows, _ = walked(block_of([Sent(total=3)]))
    assert (rows["total_len"].tolist(), rows["flags"].tolist()) == ([len(IPV4)], [0])


def test_a_packet_without_captured_bytes_has_no_ip_offset():
    rows, walker = walked(block_of([Sent(b"", total=60)]))
    assert (rows["cap_len"].tolist(), rows["ip_offset"].tolist(), walker.bad) == ([0], [NO_IP], False)


def test_an_empty_block_has_no_rows():
    rows, walker = walked(block_of([], status=USER | LOSING))
    assert (len(rows), walker.bad, walker.remaining, walker.status) == (0, False, 0, USER | LOSING)


def test_a_packet_may_end_with_the_block_but_not_after_it():
    size = FIRST + MAC + len(IPV4)
    block = block_of([Sent()])[:size]
    assert len(walked(block)[0]) == 1
    rows, walker = walked(block[:-1])
    assert (len(rows), walker.bad) == (0, True)


# ---- the walker


def test_position_is_the_offset_of_the_next_packet():
    """It is 0 after the last packet."""
    data = np.frombuffer(bytes(block_of([Sent(), Sent()])), "u1")
    walker = BlockWalker(1)
    assert walker.position == 0
    walker.start(data)
    rows = np.zeros(1, RECORD_DTYPE)
    seen = [(walker.position, walker.remaining)]
    for _ in range(3):
        walker.walk(data, rows)
        seen.append((walker.position, walker.remaining))
    assert seen == [(48, 2), (48 + aligned(MAC + len(IPV4)), 1), (0, 0), (0, 0)]


def test_start_resets_the_walker():
    good = np.frombuffer(bytes(block_of([Sent()])), "u1")
    bad = np.frombuffer(bytes(patch(block_of([Sent()]), FIRST + 24, "H", 0)), "u1")
    walker, rows = BlockWalker(1), np.zeros(4, RECORD_DTYPE)
    for block, count in ((bad, 0), (good, 1), (bad, 0), (good, 1)):
        walker.start(block)
        assert not walker.bad
        assert walker.walk(block, rows) == count
        assert walker.bad == (count == 0)
        assert walker.remaining == 0


def test_walk_without_space_for_rows_consumes_nothing():
    data = np.frombuffer(bytes(block_of([Sent()])), "u1")
    walker = BlockWalker(1)
    walker.start(data)
    assert walker.walk(data, np.zeros(0, RECORD_DTYPE)) == 0
    assert (walker.remaining, walker.bad) == (1, False)
    assert walker.walk(data, np.zeros(5, RECORD_DTYPE)) == 1


# ---- stripped VLAN tags


def test_reinsert_tags_writes_stripped_tags_into_the_packets():
    seen = [
        Sent(IPV4, status=USER | VLAN_VALID | TPID_VALID, tci=5, tpid=0x88A8),
        Sent(IPV6, status=USER | VLAN_VALID | CSUM_VALID, tci=0xE007),
        Sent(ARP, total=90),
        Sent(IPV4[:20], total=60, status=USER | VLAN_VALID, tci=0),
        Sent(IPV4[:11], total=60, status=USER | VLAN_VALID, tci=6),
        Sent(TAGGED, status=USER | VLAN_VALID | TPID_VALID, tci=8, tpid=0x88A8),
    ]
    block = block_of(seen)
    reinsert_tags(block, 1000)
    rows, walker = walked(block)
    tags = {0: b"\x88\xa8\0\5", 1: b"\x81\0\xe0\7", 3: b"\x81\0\0\0", 5: b"\x88\xa8\0\x08"}
    wanted = [
        packet.data[:12] + tags[i] + packet.data[12:] if i in tags else packet.data
        for i, packet in enumerate(seen)
    ]
    assert payloads_in(block, rows) == wanted
    assert rows["total_len"].tolist() == [len(IPV4) + 4, len(IPV6) + 4, 90, 64, 60, len(TAGGED) + 4]
    assert rows["ip_offset"].tolist() == [18, 18, NO_IP, 18, NO_IP, 22]
    assert rows["vlan_tci"].tolist() == [5, 0xE007, 0, 0, 6, 8]
    assert rows["vlan_tpid"].tolist() == [0x88A8, 0x8100, 0, 0x8100, 0x8100, 0x88A8]
    stripped = [bool(flags & RecordFlag.VLAN_STRIPPED) for flags in rows["flags"].tolist()]
    assert stripped == [False, False, False, False, True, False]
    assert rows["flags"][1] == RecordFlag.VLAN | RecordFlag.CHECKSUM_VALID
    assert not walker.bad
    again = bytes(block)
    reinsert_tags(block, 1000)
    assert block == again


@pytest.mark.parametrize("snaplen", [1, 34, 36, 38, 0xFFFFFFFF])
def test_reinsert_tags_truncates_to_the_snaplen(snaplen):
    block = block_of([Sent(IPV4, status=USER | VLAN_VALID, tci=5)])
    reinsert_tags(block, snaplen)
    rows, _ = walked(block)
    # The captured bytes are never truncated, only the tag is.
    assert rows["cap_len"].tolist() == [min(max(snaplen, 34), 38)]
    assert rows["total_len"].tolist() == [38]
