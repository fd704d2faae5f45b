"""BlockWalker: blocks as the kernel writes them, and blocks as nobody should."""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcap import NO_IP, RECORD_DTYPE, RecordFlag
from slimcap.source.tpacket import BlockWalker, reinsert_tags

BLOCK_HEADER = struct.Struct("=IIIIIIQIIII")  # struct tpacket_block_desc
PACKET_HEADER = struct.Struct("=IIIIIIHHIIHH8x")  # struct tpacket3_hdr
ADDRESS = struct.Struct("=HHiHBB8s")  # struct sockaddr_ll
FIRST, MAC = 48, 82  # where the first packet is, and from there the first byte of an Ethernet frame
PACKET_MIN = PACKET_HEADER.size + ADDRESS.size

# linux/if_packet.h, TP_STATUS_
USER, LOSING, CSUM_NOT_READY, VLAN_VALID, TPID_VALID, CSUM_VALID, GSO = 1, 4, 8, 16, 64, 128, 256

MACS = bytes(range(12))
IPV4 = MACS + b"\x08\x00" + bytes.fromhex("4500001400000000401100000102030405060708")
IPV6 = MACS + b"\x86\xdd\x60" + bytes(39)
ARP = MACS + b"\x08\x06" + bytes(28)
TAGGED = MACS + b"\x81\x00\x20\x07" + IPV4[12:]

quick = settings(derandomize=True, database=None, deadline=None)


class Sent(NamedTuple):
    data: bytes = IPV4
    total: int | None = None
    status: int = USER
    mac: int = MAC
    tci: int = 0
    tpid: int = 0
    pkt_type: int = 0
    seconds: int = 1_700_000_000
    nanoseconds: int = 123_456_789


def aligned(n):
    return (n + 7) & ~7


def block_of(packets, size=4096, status=USER):
    """What prb_fill_curr_block() and tpacket_rcv() leave behind."""
    block = bytearray(size)
    at = FIRST
    for i, packet in enumerate(packets):
        room = aligned(packet.mac + len(packet.data))
        total = len(packet.data) if packet.total is None else packet.total
        PACKET_HEADER.pack_into(
            block, at, room if i < len(packets) - 1 else 0, packet.seconds, packet.nanoseconds,
            len(packet.data), total, packet.status, packet.mac, packet.mac + 14, 0xABCD, packet.tci,
            packet.tpid, 0,
        )  # fmt: skip
        ADDRESS.pack_into(block, at + 48, 17, 8, 3, 1, packet.pkt_type, 6, MACS[6:])
        block[at + packet.mac : at + packet.mac + len(packet.data)] = packet.data
        at += room
    assert at <= size
    BLOCK_HEADER.pack_into(block, 0, 1, 48, status, len(packets), FIRST, at, 1, 0, 0, 0, 0)
    return block


def patch(block, at, kind, value):
    struct.pack_into("=" + kind, block, at, value)
    return block


def walked(block, room=64, base=0, linktype=1, most=500):
    """All rows, however many calls they take, and the walker. Stops after `most` rows."""
    data = np.frombuffer(bytes(block), "u1")
    walker = BlockWalker(linktype)
    walker.start(data)
    found = np.zeros(0, RECORD_DTYPE)
    while len(found) < most:
        rows = np.zeros(room + 1, RECORD_DTYPE)
        rows.view("u1")[:] = 0xEE
        count = walker.walk(data, rows[:room], base)
        assert 0 <= count <= room
        assert (rows[count:].view("u1") == 0xEE).all(), "wrote past the rows it counts"
        if count == 0:
            break
        found = np.concatenate([found, rows[:count]])
    assert_in_bounds(found, len(data), base)
    return found, walker


def assert_in_bounds(rows, size, base=0):
    at = rows["offset"] - np.uint64(base)
    assert (at >= FIRST + PACKET_MIN).all()
    assert (at <= size).all()
    assert (rows["cap_len"] <= size - at).all()
    assert (rows["cap_len"] <= rows["total_len"]).all()
    assert ((rows["ip_offset"] < rows["cap_len"]) | (rows["ip_offset"] == NO_IP)).all()


def payloads(block, rows, base=0):
    return [bytes(block[at - base : at - base + n]) for at, n in rows[["offset", "cap_len"]].tolist()]


# ---- what the kernel writes


MIXED = [
    Sent(),
    Sent(IPV6, pkt_type=4),
    Sent(ARP, pkt_type=1),
    Sent(IPV4[:20], total=1500, pkt_type=3),
    Sent(IPV4[:10], total=34),
    Sent(TAGGED, mac=78, pkt_type=4),
    Sent(b"\x01", total=60),
]


@pytest.mark.parametrize("room", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("base", [0, 4096, 1 << 40])
def test_rows_are_what_was_written(room, base):
    block = block_of(MIXED)
    rows, walker = walked(block, room, base)
    assert payloads(block, rows, base) == [packet.data for packet in MIXED]
    assert rows["total_len"].tolist() == [packet.total or len(packet.data) for packet in MIXED]
    assert rows["pkt_type"].tolist() == [packet.pkt_type for packet in MIXED]
    assert rows["ip_offset"].tolist() == [14, 14, NO_IP, 14, NO_IP, 18, NO_IP]
    assert set(rows["timestamp"].tolist()) == {1_700_000_000_123_456_789}
    assert set(rows["interface"].tolist()) == {0}
    flags = [0, 0, 0, RecordFlag.TRUNCATED, RecordFlag.TRUNCATED, RecordFlag.VLAN, RecordFlag.TRUNCATED]
    assert rows["flags"].tolist() == flags
    assert (rows["vlan_tci"][5], rows["vlan_tpid"][5]) == (0x2007, 0x8100)
    assert (walker.bad, walker.remaining, walker.status, walker.linktype) == (False, 0, USER, 1)


def test_spare_bytes_are_zero():
    """They would make equal rows differ, and show memory that is none of the reader's business."""
    data = np.frombuffer(bytes(block_of(MIXED)), "u1")
    memory = np.full((len(MIXED), RECORD_DTYPE.itemsize), 0xEE, "u1")
    walker = BlockWalker(1)
    walker.start(data)
    assert walker.walk(data, memory.reshape(-1).view(RECORD_DTYPE)) == len(MIXED)
    spare = RECORD_DTYPE.fields["pkt_type"][1] + 1
    assert not memory[:, spare : spare + 3].any()


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
def test_status(status, tci, tpid, flags, seen):
    rows, _ = walked(block_of([Sent(status=USER | status, tci=tci, tpid=tpid)]))
    assert rows["flags"].tolist() == [flags]
    assert (rows["vlan_tci"][0], rows["vlan_tpid"][0]) == seen
    assert rows["ip_offset"].tolist() == [14]


def test_a_tag_in_line_is_the_inner_one_if_another_was_taken_out():
    rows, _ = walked(block_of([Sent(TAGGED, status=USER | VLAN_VALID | TPID_VALID, tci=9, tpid=0x88A8)]))
    assert (rows["vlan_tci"][0], rows["vlan_tpid"][0], rows["ip_offset"][0]) == (9, 0x88A8, 18)
    assert rows["flags"].tolist() == [RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED]


@pytest.mark.parametrize(("linktype", "data", "at"), [(101, IPV4[14:], 0), (147, IPV4, NO_IP), (1, IPV4, 14)])
def test_link_types(linktype, data, at):
    rows, walker = walked(block_of([Sent(data, mac=96)]), linktype=linktype)
    assert rows["ip_offset"].tolist() == [at]
    assert walker.linktype == linktype


def test_times_past_2038():
    rows, _ = walked(
        block_of([Sent(seconds=0xFFFFFFFF, nanoseconds=999_999_999), Sent(seconds=0, nanoseconds=0)])
    )
    assert rows["timestamp"].tolist() == [0xFFFFFFFF * 10**9 + 999_999_999, 0]


def test_more_than_64_kilobytes():
    data = IPV4 + bytes(198_000)
    rows, _ = walked(block_of([Sent(data, total=400_000)], size=1 << 18))
    assert (rows["cap_len"].tolist(), rows["total_len"].tolist()) == ([len(data)], [400_000])


def test_a_length_below_what_was_captured():
    rows, _ = walked(block_of([Sent(total=3)]))
    assert (rows["total_len"].tolist(), rows["flags"].tolist()) == ([len(IPV4)], [0])


def test_packet_without_bytes():
    rows, walker = walked(block_of([Sent(b"", total=60)]))
    assert (rows["cap_len"].tolist(), rows["ip_offset"].tolist(), walker.bad) == ([0], [NO_IP], False)


def test_empty_block():
    rows, walker = walked(block_of([], status=USER | LOSING))
    assert (len(rows), walker.bad, walker.remaining, walker.status) == (0, False, 0, USER | LOSING)


def test_packet_that_ends_with_the_block():
    size = FIRST + MAC + len(IPV4)
    block = block_of([Sent()])[:size]
    assert len(walked(block)[0]) == 1
    rows, walker = walked(block[:-1])
    assert (len(rows), walker.bad) == (0, True)


def test_position():
    """Of the next packet; 0 once there is none."""
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


def test_a_walker_begins_anew():
    good = np.frombuffer(bytes(block_of([Sent()])), "u1")
    bad = np.frombuffer(bytes(patch(block_of([Sent()]), FIRST + 24, "H", 0)), "u1")
    walker, rows = BlockWalker(1), np.zeros(4, RECORD_DTYPE)
    for block, count in ((bad, 0), (good, 1), (bad, 0), (good, 1)):
        walker.start(block)
        assert not walker.bad
        assert walker.walk(block, rows) == count
        assert walker.bad == (count == 0)
        assert walker.remaining == 0


def test_no_room():
    data = np.frombuffer(bytes(block_of([Sent()])), "u1")
    walker = BlockWalker(1)
    walker.start(data)
    assert walker.walk(data, np.zeros(0, RECORD_DTYPE)) == 0
    assert (walker.remaining, walker.bad) == (1, False)
    assert walker.walk(data, np.zeros(5, RECORD_DTYPE)) == 1


# ---- what nobody should write


@pytest.mark.parametrize("size", range(48))
def test_block_without_a_header(size):
    rows, walker = walked(block_of([Sent()])[:size])
    assert (len(rows), walker.bad, walker.remaining) == (0, True, 0)


def test_cut_at_every_byte():
    packets = [Sent(), Sent(IPV6), Sent(ARP)]
    block = block_of(packets)
    ends = list(itertools.accumulate((aligned(MAC + len(p.data)) for p in packets), initial=FIRST))
    for size in range(48, 600):
        rows, walker = walked(block[:size])
        whole = sum(at + MAC + len(p.data) <= size for at, p in zip(ends, packets, strict=False))
        assert len(rows) == whole
        assert walker.bad == (whole < 3)


@pytest.mark.parametrize(
    "value", [0, 1, 8, 40, 47, 49, 50, 52, 56, 4028, 4032, 4095, 4096, 4104, 1 << 31, 0xFFFFFFF8, 0xFFFFFFFF]
)
def test_first_packet_anywhere(value):
    rows, walker = walked(patch(block_of([Sent()]), 16, "I", value))
    # Aligned and inside: then what is there (zeros) is a packet whose data starts at 0, which cannot be.
    assert (len(rows), walker.bad) == (0, True)


@pytest.mark.parametrize(
    "value", [1, 4, 7, 87, 113, 4095, 4096, 1 << 31, 0xFFFFFFF8, 0xFFFFFFFF, (1 << 32) - 48]
)
def test_next_packet_elsewhere(value):
    block = patch(block_of([Sent(), Sent(ARP)]), FIRST, "I", value)
    rows, walker = walked(block)
    assert payloads(block, rows) == [IPV4]
    assert (walker.bad, walker.remaining) == (True, 0)


@pytest.mark.parametrize("room", [1, 64])
def test_no_next_packet_though_packets_are_left(room):
    block = patch(block_of([Sent(), Sent(ARP)]), FIRST, "I", 0)
    rows, walker = walked(block, room)
    assert payloads(block, rows) == [IPV4]
    assert walker.bad


@pytest.mark.parametrize("count", [3, 4, 1000, 1 << 31, (1 << 32) - 1])
def test_more_packets_than_there_are(count):
    block = patch(block_of([Sent(), Sent(ARP)]), 12, "I", count)
    rows, walker = walked(block)
    assert payloads(block, rows) == [IPV4, ARP]
    assert walker.bad


def test_fewer_packets_than_there_are():
    rows, walker = walked(patch(block_of([Sent(), Sent(ARP)]), 12, "I", 1))
    assert (len(rows), walker.bad) == (1, False)


@pytest.mark.parametrize("value", [0, 1, 47, 48, 58, 67, 4049, 65535])
def test_data_elsewhere(value):
    block = patch(block_of([Sent(), Sent(ARP)]), FIRST + 24, "H", value)
    rows, walker = walked(block)
    assert (len(rows), walker.bad) == (0, True)


@pytest.mark.parametrize(
    "value", [4096 - 48 - MAC + 1, 4096, 1 << 31, 0xFFFFFFFF, 0xFFFFFFFF - MAC, (1 << 32) - 48 - MAC]
)
def test_data_past_the_end(value):
    rows, walker = walked(patch(block_of([Sent(), Sent(ARP)]), FIRST + 12, "I", value))
    assert (len(rows), walker.bad) == (0, True)


def test_data_up_to_the_end():
    rows, walker = walked(patch(block_of([Sent()]), FIRST + 12, "I", 4096 - 48 - MAC))
    assert (rows["cap_len"].tolist(), walker.bad) == ([4096 - 48 - MAC], False)


def expected(block):
    """Where a careful reader finds payloads, and whether there is a fault; None for a next offset of 0."""
    size = len(block)
    if size < 48:
        return [], True
    _, _, _, left, at, *_ = BLOCK_HEADER.unpack_from(block)
    found = []
    while left:
        if at < 48 or at % 8 or at + PACKET_MIN > size:
            return found, True
        step, _, _, snaplen, _, _, mac, *_ = PACKET_HEADER.unpack_from(block, at)
        if mac < PACKET_MIN or at + mac + snaplen > size:
            return found, True
        found.append((at + mac, snaplen))
        left -= 1
        if left and step == 0:
            return found, None
        at += step
    return found, False


def compare(block, room):
    places, fault = expected(block)
    rows, walker = walked(block, room, most=1000)
    got = rows[["offset", "cap_len"]].tolist()
    if fault is None:  # test_no_next_packet_though_packets_are_left
        assert got[: len(places)] == places
    else:
        assert got == places
        assert walker.bad == fault


CLAIMS = [
    0,
    1,
    7,
    8,
    47,
    48,
    67,
    68,
    72,
    82,
    88,
    116,
    120,
    4000,
    4095,
    4096,
    65535,
    1 << 31,
    0xFFFFFFF8,
    0xFFFFFFFF,
]
SEED = [Sent(), Sent(IPV6), Sent(ARP), Sent(TAGGED, mac=78)]


@settings(quick, max_examples=1500)
@given(
    st.lists(st.tuples(st.integers(0, 170), st.sampled_from("BHI"), st.sampled_from(CLAIMS)), max_size=4),
    st.integers(0, 640),
    st.integers(1, 5),
)
def test_attacked_blocks(changes, size, room):
    block = block_of(SEED)[:size]
    for at, kind, value in changes:
        at = at * 4 if kind == "I" else at
        width = struct.calcsize(kind)
        if at + width <= len(block):
            patch(block, at, kind, value & ((1 << 8 * width) - 1))
    compare(block, room)


@settings(quick, max_examples=400)
@given(st.binary(max_size=200), st.integers(1, 3))
def test_noise(data, room):
    compare(data, room)


def test_every_word_of_the_headers_attacked():
    good = block_of(SEED)[:640]
    for at in [*range(0, 48, 4), *range(48, 48 + 68, 4), *range(168, 168 + 68, 4)]:
        for value in CLAIMS:
            compare(patch(bytearray(good), at, "I", value), 3)


# ---- tags put back


def test_tags_are_put_back():
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
    assert payloads(block, rows) == wanted
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
def test_tags_are_put_back_within_the_snaplen(snaplen):
    block = block_of([Sent(IPV4, status=USER | VLAN_VALID, tci=5)])
    reinsert_tags(block, snaplen)
    rows, _ = walked(block)
    # What was captured is never made less.
    assert rows["cap_len"].tolist() == [min(max(snaplen, 34), 38)]
    assert rows["total_len"].tolist() == [38]


@settings(quick, max_examples=1500)
@given(
    st.lists(st.tuples(st.integers(0, 170), st.sampled_from("BHI"), st.sampled_from(CLAIMS)), max_size=4),
    st.integers(0, 640),
)
def test_tags_put_back_into_attacked_blocks(changes, size):
    """The walk finds the same packets as before, or stops earlier, and never leaves the block."""
    block = block_of([Sent(data, status=USER | VLAN_VALID) for data in (IPV4, IPV6, ARP, TAGGED)])[:size]
    for at, kind, value in changes:
        at = at * 4 if kind == "I" else at
        width = struct.calcsize(kind)
        if at + width <= len(block):
            patch(block, at, kind, value & ((1 << 8 * width) - 1))
    reinsert_tags(block, 96)
    compare(block, 3)
