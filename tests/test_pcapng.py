"""pcapng: as tshark sees it, every bad input, cut, in pieces; and the decoder alone."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import tracemalloc
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import make_samples
import numpy as np
import pytest
from support.files import Trickle
from make_samples import PCAPNG, RESOLUTIONS, START, Ng

import slimcap
from slimcap import (
    NO_IP,
    RECORD_DTYPE,
    FileFormatError,
    FilterError,
    PacketType,
    PcapSource,
    RecordFlag,
    Stats,
    TruncatedFileError,
    concat,
    read,
)
from slimcap.filter import accept
from slimcap.source.pcapng import PcapngDecoder

FRAME = make_samples.ethernet(make_samples.packet4())
NG = Ng()
BEGIN = NG.section() + NG.interface()
FILES = {name: make() for name, make in PCAPNG.items()}
TWINS = ["mixed.pcapng", "mixed_be.pcapng", "mixed_ns.pcapng"]
PLACELESS = [name for name in RECORD_DTYPE.names if name != "offset"]
# Of the larger files, the blocks near their ends are cut.
SMALL = [name for name in FILES if len(FILES[name]) < 5000]


class Block(NamedTuple):
    """Where a block is, and of what type."""

    start: int
    end: int
    kind: int

    @property
    def is_packet(self):
        return self.kind in (make_samples.ENHANCED, make_samples.SIMPLE, make_samples.OLD_PACKET)


def blocks_of(data):
    """The blocks of a sound file."""
    at, order, found = 0, "<", []
    while at < len(data):
        if data[at : at + 4] == b"\n\r\r\n":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, length = struct.unpack_from(order + "II", data, at)
        found.append(Block(at, at + length, kind))
        at += length
    return found


def source_of(data, **options):
    return PcapSource(io.BytesIO(data), **options)


def outcome(data, drain, **options):
    """(facts of the packets, error) of a file of these bytes."""
    try:
        source = source_of(data, **options)
    except FileFormatError as error:
        return [], error
    with source:
        drained = drain(source)
    return drained.facts, drained.error


def without_places(records):
    return records[PLACELESS].tolist()


# ---- what others see


class Seen(NamedTuple):
    """A packet as tshark sees it."""

    time: int
    total_len: int
    cap_len: int
    interface: tuple[str, str]  # section, and index in it
    comments: str
    data: bytes


def seen_by_tshark(tshark, path):
    fields = ["time_epoch", "len", "cap_len", "section_number", "interface_id", "comment"]
    arguments = [part for field in fields for part in ("-e", f"frame.{field}")]
    command = [tshark, "-n", "-r", str(path), "-Y", "frame.interface_id"]
    table = subprocess.run(
        [*command, "-T", "fields", "-E", "aggregator=\x1f", *arguments],
        capture_output=True,
        timeout=60,
        check=True,
    )
    raw = subprocess.run([*command, "-T", "jsonraw"], capture_output=True, timeout=60, check=True)
    frames = json.loads(raw.stdout, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    packets = []
    for line, frame in zip(table.stdout.decode().splitlines(), frames, strict=True):
        time, total, captured, section, interface, comment = line.split("\t")
        seconds, _, fraction = (time or "0.0").partition(".")
        ns = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        data = bytes.fromhex(frame["_source"]["layers"]["frame_raw"][0])
        packets.append(Seen(ns, int(total), int(captured), (section, interface), comment, data))
    return packets


@pytest.mark.parametrize("name", [name for name in FILES if name != "resolutions.pcapng"])
def test_tshark_sees_the_same(name, data_path, need_tool):
    seen = seen_by_tshark(need_tool("tshark"), data_path / name)
    comments = {}
    with PcapSource(data_path / name) as source:
        batches = []
        for batch in source.batches():
            batches.append(batch)
            comments |= source.comments
        batch = slimcap.concat(batches)
    assert len(batch) == len(seen) == sum(block.is_packet for block in blocks_of(FILES[name]))
    assert [bytes(batch.payload(i)) for i in range(len(batch))] == [packet.data for packet in seen]
    assert batch["timestamp"].tolist() == [packet.time for packet in seen]
    assert batch["total_len"].tolist() == [packet.total_len for packet in seen]
    assert batch["cap_len"].tolist() == [packet.cap_len for packet in seen]
    theirs = {i: packet.comments.replace("\x1f", "\n") for i, packet in enumerate(seen) if packet.comments}
    assert comments == theirs
    # Their interfaces count from 0 in each section.
    met = dict.fromkeys(packet.interface for packet in seen)
    ours = dict(zip(met, dict.fromkeys(batch["interface"].tolist()), strict=True))
    assert batch["interface"].tolist() == [ours[packet.interface] for packet in seen]


def test_tshark_sees_the_same_resolutions(data_path, need_tool):
    """Its arithmetic is not exact for all: those of which it says the same must be most."""
    path = data_path / "resolutions.pcapng"
    seen, ours = seen_by_tshark(need_tool("tshark"), path), read(path)["timestamp"].tolist()
    assert len(seen) == len(ours) > 200
    assert sum(packet.time == time for packet, time in zip(seen, ours, strict=True)) > 150


@pytest.mark.parametrize("name", [*TWINS, "simple.pcapng"])
def test_libpcap_reads_the_same(name, data_path, need_tool):
    done = subprocess.run(
        [need_tool("tcpdump"), "--time-stamp-precision=nano", "-r", str(data_path / name), "-w", "-"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    theirs, ours = read(io.BytesIO(done.stdout)), read(data_path / name)
    assert [bytes(theirs.payload(i)) for i in range(len(theirs))] == [
        bytes(ours.payload(i)) for i in range(len(ours))
    ]
    assert without_places(theirs.records) == without_places(ours.records)


@pytest.mark.parametrize("twin", TWINS)
def test_twins_of_classic_pcap(twin, data_path):
    classic = read(data_path / ("mixed_ns.pcap" if "_ns" in twin else "mixed.pcap"))
    ours = read(data_path / twin)
    assert without_places(ours.records) == without_places(classic.records)
    assert ours.copy().data.tobytes() == classic.copy().data.tobytes()


# ---- what the file says


def test_ticks_of_every_resolution(data_path):
    with PcapSource(data_path / "resolutions.pcapng") as source:
        concat(source.batches())
        ticks = [interface.ticks_per_second for interface in source.interfaces]
    expected = [2 ** (power & 0x7F) if power & 0x80 else 10**power for power in RESOLUTIONS]
    assert ticks[::2] == ticks[1::2] == expected  # without an offset, and with one


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


def test_link_types_are_those_of_each_packet(data_path):
    batch = read(data_path / "interfaces.pcapng")
    starts = {0: 14, 1: 0, 2: 16, 3: 18, 4: 0}
    assert batch["ip_offset"].tolist() == [starts[number] for number in batch["interface"].tolist()]
    assert {batch.ip_layer(i).type for i in range(len(batch))} == {4, 6}
    tagged = batch["interface"] == 3
    assert (batch["flags"] & RecordFlag.VLAN != 0).tolist() == tagged.tolist()


def test_header_facts(data_path):
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


@pytest.mark.parametrize(
    ("resolution", "tick"),
    [(0, 10**9), (3, 10**6), (6, 1000), (9, 1), (12, 1), (0x80, 10**9), (0x81, 5 * 10**8)],
)
def test_resolution_in_nanoseconds(resolution, tick):
    with source_of(NG.section() + NG.interface(resolution=resolution)) as source:
        assert source.resolution == tick


def test_sections_count_their_interfaces_on(data_path):
    batch = read(data_path / "sections.pcapng")
    assert [link.name for link in batch.links] == ["eth0", "tun0", "eth1", "tun1", "eth3", "tun3"]
    assert batch["interface"].tolist() == list(range(6))
    assert [link.type for link in batch.links] == [1, 101] * 3


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
def test_flags_say_who_a_packet_was_for(big_endian):
    ng = Ng(big_endian=big_endian)
    data = ng.section() + ng.interface()
    for flags, _ in FLAGS:
        data += ng.packet(FRAME, options=[ng.flags(flags)])
    assert read(io.BytesIO(data))["pkt_type"].tolist() == [kind for _, kind in FLAGS]


def test_flags_do_not_take_away_what_a_cooked_header_says():
    data = NG.section() + NG.interface(113)
    for flags in (0, 2):
        data += NG.packet(make_samples.sll(make_samples.packet4(), kind=1), options=[NG.flags(flags)])
    assert read(io.BytesIO(data))["pkt_type"].tolist() == [PacketType.BROADCAST, PacketType.OUTGOING]


@pytest.mark.parametrize("big_endian", [False, True])
def test_drops(big_endian):
    """What packets say adds up, what statistics say is the total; of the two, whichever is more."""
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


def test_drops_that_are_huge():
    most = (1 << 64) - 1
    packet = NG.packet(FRAME, options=[NG.count(4, most)])
    data = BEGIN + packet * 2 + NG.statistics(0, [NG.count(5, most), NG.count(7, most)])
    with source_of(data) as source:
        assert len(list(source)) == 2
        assert source.total_stats.packets_dropped == most


def test_comments_go_with_the_packets_read_last():
    data = BEGIN
    for number in range(100):
        data += NG.packet(FRAME, options=[(1, f"number {number}".encode())] if number % 3 == 0 else [])
    found = {}
    with source_of(data, block_size=1000) as source:
        assert source.comments == {}
        for batch in source.batches():
            last = source.total_stats.packets_received
            assert set(source.comments) <= set(range(last - len(batch), last))
            found |= source.comments
    assert found == {number: f"number {number}" for number in range(0, 100, 3)}


def test_comments_are_any_bytes():
    data = BEGIN + NG.packet(FRAME, options=[(1, b"\xff\xfe nul\0"), (1, b""), (1, b"x" * 65535)])
    with source_of(data) as source:
        source.next_batch()
        assert source.comments == {0: "\ufffd\ufffd nul\n\n" + "x" * 65535}


# ---- filters


@pytest.mark.parametrize("name", [*TWINS, "simple.pcapng", "empty.pcapng"])
def test_filters_take_what_tcpdump_takes(name, data_path, need_tool):
    tcpdump = need_tool("tcpdump")
    some = 0
    for expression in ("udp", "tcp or icmp", "ip6", "vlan", "not ip", "greater 100", "ip and not udp"):
        command = [tcpdump, "-r", data_path / name, "-w-", expression]
        if name == "empty.pcapng":  # which tcpdump does not read: it wants an interface
            theirs = []
        else:
            theirs = list(read(io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)))
        ours = list(read(data_path / name, filter=expression))
        assert [bytes(packet.payload) for packet in ours] == [bytes(packet.payload) for packet in theirs]
        some += bool(ours)
    assert some >= {"simple.pcapng": 2, "empty.pcapng": 0}.get(name, 7)


@pytest.mark.parametrize("block_size", [64, 1000, 1 << 20])
def test_a_filter_means_to_each_interface_what_its_link_type_makes_of_it(block_size, data_path):
    some = 0
    expressions = {  # some mean nothing to one of the link types
        "interfaces.pcapng": ("greater 100", "less 60", "len > 40"),
        "sections.pcapng": ("udp", "ip", "not ip", "ip6"),
        "mixed.pcapng": ("udp", "ip", "not ip", "greater 100"),
    }
    for name in expressions:
        whole = read(data_path / name)
        for expression in expressions[name]:
            wanted = whole.filter(expression)
            with PcapSource(data_path / name, filter=expression, block_size=block_size) as source:
                found = concat(source.batches())
                assert source.total_stats.packets_received == len(whole)
                assert source.links == whole.links
            assert without_places(found.records) == without_places(wanted.records)
            some += 0 < len(found) < len(whole)
    assert some > 6


def test_comments_are_on_the_packets_that_a_filter_took():
    data = BEGIN
    for number in range(300):
        frame = FRAME + bytes(number % 2)
        data += NG.packet(frame, options=[(1, f"number {number}".encode())] if number % 3 == 0 else [])
    for block_size in (1000, 1 << 20):
        found = {}
        with source_of(data, filter=f"len = {len(FRAME)}", block_size=block_size) as source:
            for _ in source.batches():
                found |= source.comments
        assert found == {number // 2: f"number {number}" for number in range(0, 300, 6)}


@pytest.mark.parametrize("block_size", [64, 1 << 20])
def test_a_filter_that_a_later_interface_cannot_have(block_size):
    """All before its first packet is given; one without packets is none's business."""
    late = NG.interface(linktype=147) + 2 * NG.packet(FRAME)
    with source_of(BEGIN + 3 * NG.packet(FRAME) + late, filter="ip", block_size=block_size) as source:
        assert len(concat(source.batches())) == 5
    data = BEGIN + 3 * NG.packet(FRAME) + late + NG.packet(FRAME, interface=1) + NG.packet(FRAME)
    with source_of(data, filter="ip", block_size=block_size) as source:
        batches = []
        with pytest.raises(FilterError, match="DLT 147"):
            batches.extend(source.batches())
        assert sum(map(len, batches)) == 5
        with pytest.raises(FilterError, match="DLT 147"):
            source.next_packet()
    with pytest.raises(FilterError, match="DLT 147"):
        source_of(NG.section() + NG.interface(linktype=147), filter="ip")
    assert len(read(io.BytesIO(data), filter=accept())) == 7


# ---- time


def exact(ticks, resolution, offset):
    """Nanoseconds, rounded down, clamped to int64."""
    per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    ns = (Fraction(ticks, per_second) * 10**9).__floor__() + offset * 10**9
    return max(-(1 << 63), min(ns, (1 << 63) - 1))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("offset", [0, 1, -1, 1_700_000_000, -(1 << 63), (1 << 63) - 1])
def test_times_are_exact(big_endian, offset):
    """Every resolution there is, the largest ticks, and offsets that take them out of and into range."""
    ng = Ng(big_endian=big_endian)
    ticks = [0, 1, 999_999_999, 1_000_000_000, START, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    data = ng.section()
    for resolution in RESOLUTIONS:
        data += ng.interface(resolution=resolution, offset=offset)
    expected = []
    for index, resolution in enumerate(RESOLUTIONS):
        for tick in ticks:
            data += ng.packet(b"", tick, index)
            expected.append(exact(tick, resolution, offset))
    assert read(io.BytesIO(data))["timestamp"].tolist() == expected
    assert len(set(expected)) > 1 or offset > 1 << 62


@pytest.mark.parametrize("resolution", [20, 127, 0x80 | 64, 0xFF])
def test_resolutions_that_are_too_fine(resolution, drain):
    data = BEGIN + NG.packet(FRAME) + NG.interface(resolution=resolution)
    facts, error = outcome(data, drain)
    assert len(facts) == 1
    assert type(error) is FileFormatError
    assert f"if_tsresol {resolution}" in error.reason
    assert (error.offset, error.packet_index) == (blocks_of(data)[3].start, 1)


# ---- the bad inputs that others differ in


def bad(*blocks, after=True):
    """A packet, something, and another packet."""
    return BEGIN + NG.packet(FRAME, 1) + b"".join(blocks) + (NG.packet(FRAME, 2) if after else b"")


def option(code, value, length):
    """An option that says it is `length` long."""
    return struct.pack("<HH", code, length) + value


IDB, EPB = make_samples.INTERFACE, make_samples.ENHANCED
IDB_BODY = struct.pack("<HHI", 1, 0, 0)
EPB_BODY = struct.pack("<IIIII", 0, 0, 5, len(FRAME), len(FRAME)) + FRAME + bytes(-len(FRAME) % 4)

READ_THROUGH = {
    "an unknown block": NG.unknown(),
    "an unknown block without a body": NG.unknown(0),
    "a custom block": NG.custom(),
    "a custom block not to be copied": NG.block(0x40000BAD, b"\0\0\x7e\xd9"),
    "names": NG.names(),
    "secrets": NG.secrets(),
    "statistics": NG.statistics(0),
    "statistics of an interface that is not there": NG.statistics(7, [NG.count(5, 1)]),
    "another section": BEGIN,
    "another section of the other byte order, and back": Ng(big_endian=True).section() + BEGIN,
    "a section of version 1.2": NG.section(version=(1, 2)) + NG.interface(),
    "another snaplen": NG.interface(1, 20),
    "another link type": NG.interface(101),
    "a resolution twice": NG.interface(options=[(9, b"\x03"), (9, b"\x06")]),
    "options without an end": NG.block(IDB, IDB_BODY + option(3, b"abcd", 4)),
    "an option of no length": NG.block(IDB, IDB_BODY + option(3, b"", 0)),
    "options behind their end": NG.block(IDB, IDB_BODY + bytes(4) + option(3, b"abcd", 400)),
}


@pytest.mark.parametrize("what", READ_THROUGH)
def test_read_through(what, drain):
    facts, error = outcome(bad(READ_THROUGH[what]), drain)
    assert error is None
    assert facts == [(1000, len(FRAME), FRAME), (2000, len(FRAME), FRAME)]


ODD_PACKETS = {
    "an option that is too long": (NG.block(EPB, EPB_BODY + option(2, b"abcd", 400)), FRAME),
    "flags of two bytes": (NG.packet(FRAME, options=[(2, b"ab")]), FRAME),
    "drops of four bytes": (NG.packet(FRAME, options=[(4, b"abcd")]), FRAME),
    "nothing captured": (NG.packet(b"", orig_len=100), b""),
    "nothing captured, nothing there": (NG.packet(b"", orig_len=0), b""),
    "less on the wire than captured": (NG.packet(FRAME, orig_len=10), FRAME),
    "more on the wire than there can be": (NG.packet(FRAME, orig_len=0xFFFFFFFF), FRAME),
    "more in the block than captured": (NG.packet(FRAME, cap_len=30), FRAME[:30]),
    "padding that is not zero": (NG.block(EPB, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"abcdeXYZ"), b"abcde"),
    "a simple packet": (NG.simple(FRAME), FRAME),
    "a simple packet of no bytes": (NG.simple(b""), b""),
    "an obsolete packet": (NG.old_packet(FRAME, 5), FRAME),
}


@pytest.mark.parametrize("what", ODD_PACKETS)
def test_odd_packets(what, drain):
    block, expected = ODD_PACKETS[what]
    facts, error = outcome(bad(block), drain)
    assert error is None
    assert [data for _, _, data in facts] == [FRAME, expected, FRAME]
    assert all(total >= len(data) for _, total, data in facts)


@pytest.mark.parametrize(
    ("snaplen", "size"), [(0, len(FRAME)), (1, 1), (60, 60), (len(FRAME) + 1, len(FRAME))]
)
def test_a_simple_packet_is_cut_to_the_snaplen(snaplen, size, drain):
    data = NG.section() + NG.interface(1, snaplen) + NG.simple(FRAME)
    facts, error = outcome(data, drain)
    assert error is None
    assert facts == [(0, len(FRAME), FRAME[:size])]


def test_more_captured_than_the_snaplen_is_delivered(drain):
    facts, error = outcome(NG.section() + NG.interface(1, 20) + NG.packet(FRAME), drain)
    assert ([data for _, _, data in facts], error) == ([FRAME], None)


MOST, MOST_BLOCK = 262144, 128 << 20
REFUSED = {
    "a packet before its interface": (
        NG.section() + NG.packet(FRAME),
        "interface 0, where the section has 0",
    ),
    "a simple packet before its interface": (NG.section() + NG.simple(FRAME), "interface 0"),
    "an interface out of range": (NG.packet(FRAME, interface=1), "interface 1, where the section has 1"),
    "an interface far out of range": (NG.packet(FRAME, interface=0xFFFFFFFF), "interface 4294967295"),
    "an obsolete packet's interface": (NG.old_packet(FRAME, 0, 9), "interface 9"),
    "a block's length that is no multiple of 4": (NG.block(99, b"", length=21), "a block of 21 bytes"),
    "a block that is too short": (NG.block(99, b"", length=8), "a block of 8 bytes"),
    "a block of no length": (NG.block(99, b"", length=0), "a block of 0 bytes"),
    "a block that is too long": (
        NG.block(99, b"", length=MOST_BLOCK + 4),
        f"a block of {MOST_BLOCK + 4} bytes",
    ),
    "a block that ends otherwise": (NG.block(99, b"", again=16), "says 16 at its end"),
    "a packet block that ends otherwise": (NG.block(EPB, EPB_BODY, again=0), "says 0 at its end"),
    "a packet block too short for its header": (NG.block(EPB, bytes(16)), "packet block of 28 bytes"),
    "a simple packet block without a length": (NG.block(3, b""), "packet block of 12 bytes"),
    "an interface too short": (NG.block(IDB, bytes(4)), "interface description of 16 bytes"),
    "statistics too short": (NG.block(5, bytes(8)), "statistics of 20 bytes"),
    "a section header too short": (
        NG.block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a" + bytes(8)),
        "section header of 24",
    ),
    "a section header of another order": (NG.block(0x0A0D0D0A, bytes(16)), "byte-order magic 0x00000000"),
    "a section of version 2": (NG.section(version=(2, 0)), "version 2.0"),
    "a section of version 1.1": (NG.section(version=(1, 1)), "version 1.1"),
    "more captured than the block has": (NG.packet(FRAME, cap_len=len(FRAME) + 4), "in a block that has"),
    "far more captured than the block has": (NG.packet(FRAME, cap_len=MOST), "in a block that has"),
    "more captured than there may be": (NG.packet(bytes(MOST + 1)), f"of {MOST + 1} captured bytes"),
    "more captured than 32 bits add up to": (NG.packet(FRAME, cap_len=0xFFFFFFFF), "of 4294967295 captured"),
    "a simple packet that claims more": (NG.simple(FRAME, len(FRAME) + 4), "in a block that has"),
    "an option too long for its interface": (NG.block(IDB, IDB_BODY + option(2, b"abcd", 5)), "longer than"),
    "an interface's last option cut": (NG.block(IDB, IDB_BODY + option(2, b"", 4)), "longer than"),
    "a resolution of two bytes": (NG.interface(options=[(9, b"\6\6")]), "if_tsresol of 2 bytes"),
    "a resolution of no bytes": (NG.interface(options=[(9, b"")]), "if_tsresol of 0 bytes"),
    "an offset of four bytes": (NG.interface(options=[(14, b"abcd")]), "if_tsoffset of 4 bytes"),
}


@pytest.mark.parametrize("block_size", [64, 1 << 20])
@pytest.mark.parametrize("what", REFUSED)
def test_refused(what, block_size, drain):
    """Packets before it are delivered, and it is named with its place; the same again when asked again."""
    block, reason = REFUSED[what]
    offset = len(bad(after=False)) + (len(NG.section()) if "before its interface" in what else 0)
    with source_of(bad(block), block_size=block_size) as source:
        drained = drain(source)
        with pytest.raises(FileFormatError) as raised:
            source.next_packet()
    assert drained.facts == [(1000, len(FRAME), FRAME)]
    assert type(drained.error) is FileFormatError
    assert reason in drained.error.reason
    assert (drained.error.offset, drained.error.packet_index) == (offset, 1)
    assert raised.value.args == drained.error.args


@pytest.mark.parametrize(
    "what", ["a section header of another order", "a section header too short", "a section of version 2"]
)
def test_refused_at_once(what):
    with pytest.raises(FileFormatError, match=REFUSED[what][1]) as raised:
        source_of(REFUSED[what][0])
    assert (raised.value.offset, raised.value.packet_index) == (0, 0)


def test_a_packet_without_an_interface_is_refused_at_once():
    data = NG.section() + NG.packet(FRAME) + NG.interface()
    with pytest.raises(FileFormatError, match="interface 0"):
        list(source_of(data))


def test_interfaces_have_16_bits(drain):
    data = NG.section() + NG.interface() * 65535
    data += NG.packet(FRAME, 1, 65534) + NG.interface() + NG.packet(FRAME, 2, 65535)
    with source_of(data) as source:
        drained = drain(source)
    assert drained.records["interface"].tolist() == [65534]
    assert "more than 65535 interfaces" in drained.error.reason


def test_dbus_may_have_more(drain):
    data = (
        NG.section()
        + NG.interface(231)
        + NG.packet(bytes(MOST + 1))
        + NG.packet(b"", cap_len=(128 << 20) + 1)
    )
    with source_of(data) as source:
        assert source.new_packet().capacity == 128 << 20
        drained = drain(source)
    assert drained.records["cap_len"].tolist() == [MOST + 1]
    assert "captured" in drained.error.reason


# ---- cut, and in pieces


def cuts_of(name):
    data = FILES[name]
    if name in SMALL:
        return range(len(data))
    ends = [block.end for block in blocks_of(data)]
    return sorted(
        {at for end in ends[:4] + ends[-4:] for at in range(end - 40, end + 13) if 0 <= at < len(data)}
    )


@pytest.mark.parametrize("block_size", [64, 1 << 16])
@pytest.mark.parametrize("name", FILES)
def test_cut_at_every_byte(name, block_size, drain):
    """All packets before the cut, then an error where the cut block starts; none if none was cut."""
    data, blocks = FILES[name], blocks_of(FILES[name])
    whole_facts, _ = outcome(data, drain)
    ends = [0, *(block.end for block in blocks)]
    for cut in cuts_of(name):
        whole = sum(end <= cut for end in ends) - 1
        packets = sum(block.is_packet for block in blocks[:whole])
        facts, error = outcome(data[:cut], drain, block_size=block_size)
        assert facts == whole_facts[:packets], cut
        if cut == ends[whole] and cut:
            assert error is None, cut
        else:
            assert type(error) is TruncatedFileError, cut
            assert error.offset == (cut if cut < 4 else ends[whole]), cut
            assert error.packet_index == packets, cut


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 4096])
@pytest.mark.parametrize("name", FILES)
def test_read_in_pieces_of_any_size(name, step, drain):
    expected, records = outcome(FILES[name], drain), read(io.BytesIO(FILES[name])).records
    with PcapSource(Trickle(FILES[name], step)) as source:
        drained = drain(source)
    assert (drained.facts, drained.error) == expected
    assert without_places(drained.records) == without_places(records)


@pytest.mark.parametrize("block_size", [64, 65, 100, 333, 1000, 4096])
@pytest.mark.parametrize("name", FILES)
def test_read_in_blocks_of_any_size(name, block_size, drain):
    """Batches that are kept stay as they were while blocks move on."""
    whole = read(io.BytesIO(FILES[name]))
    with source_of(FILES[name], block_size=block_size) as source:
        batches = list(source.batches())
    kept = [bytes(batch.payload(i)) for batch in batches for i in range(len(batch))]
    assert kept == [bytes(whole.payload(i)) for i in range(len(whole))]
    for before, after in pairwise(batches):
        assert after.links[: len(before.links)] == before.links
    if batches:
        assert slimcap.concat(batches).links == batches[-1].links


def test_a_block_larger_than_the_read_buffer(drain):
    big = NG.unknown(3_000_000)
    data = BEGIN + NG.packet(FRAME) + big + NG.packet(bytes(MOST)) + NG.packet(FRAME)
    for block_size in (64, 1 << 20):
        facts, error = outcome(data, drain, block_size=block_size)
        assert ([len(payload) for _, _, payload in facts], error) == ([len(FRAME), MOST, len(FRAME)], None)


@pytest.mark.parametrize("have", [0, 100, 100_000])
@pytest.mark.parametrize("kind", [EPB, IDB, 99])
def test_what_a_length_claims_is_not_allocated(kind, have, drain):
    data = BEGIN + NG.packet(FRAME) + NG.block(kind, bytes(have), length=MOST_BLOCK)[:-4]
    tracemalloc.start()
    try:
        facts, error = outcome(data, drain, block_size=4096)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(facts) == 1
    assert isinstance(error, TruncatedFileError)
    assert peak < 1_000_000 + 4 * have


@pytest.mark.parametrize("snaplen", [1, 14, 60, 262144, (1 << 32) - 1])
def test_snaplen_option(snaplen, data_path):
    whole = read(data_path / "interfaces.pcapng")
    cut = read(data_path / "interfaces.pcapng", snaplen=snaplen)
    assert [bytes(cut.payload(i)) for i in range(len(cut))] == [
        bytes(whole.payload(i))[:snaplen] for i in range(len(whole))
    ]
    assert cut["total_len"].tolist() == whole["total_len"].tolist()
    assert ((cut["ip_offset"] < cut["cap_len"]) | (cut["ip_offset"] == NO_IP)).all()
    with PcapSource(data_path / "interfaces.pcapng", snaplen=snaplen) as source:
        assert source.new_packet().capacity == max(148, min(snaplen, MOST))  # 148: what a packet has room for


def test_a_fifo_gives_packets_as_they_come(fifo):
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


# ---- the decoder alone


class TestDecoder:
    @pytest.mark.parametrize("room", [1, 2, 7])
    @pytest.mark.parametrize("name", FILES)
    def test_goes_on_where_it_ran_out_of_room(self, name, room):
        data = FILES[name]
        decoder, rows, found, at = PcapngDecoder(), np.zeros(room, RECORD_DTYPE), [], 0
        while count := decoder.decode(data, rows, at):
            found.append(rows[:count].copy())
            at = decoder.position
        assert decoder.position == len(data)
        assert decoder.fault is None
        whole = read(io.BytesIO(data))
        records = np.concatenate([np.zeros(0, RECORD_DTYPE), *found])
        assert without_places(records) == without_places(whole.records)
        payloads = [data[row["offset"] : row["offset"] + row["cap_len"]] for row in records]
        assert payloads == [bytes(whole.payload(i)) for i in range(len(whole))]

    def test_no_room_reads_up_to_a_packet(self):
        decoder = PcapngDecoder(name="x")
        data = BEGIN + NG.unknown() + NG.packet(FRAME)
        assert decoder.decode(data, np.zeros(0, RECORD_DTYPE)) == 0
        assert decoder.position == blocks_of(data)[3].start
        assert [link.name for link in decoder.links] == ["x"]

    def test_cut_anywhere_says_what_it_needs(self):
        data = NG.section()
        for cut in range(len(data)):
            decoder = PcapngDecoder()
            assert decoder.decode(data[:cut], np.zeros(1, RECORD_DTYPE)) == 0
            assert (decoder.position, decoder.needed) == (0, 12 if cut < 12 else len(data))
            assert decoder.fault is None

    def test_fault_stays_at_its_block(self):
        data = BEGIN + NG.packet(FRAME) + NG.block(99, b"", again=16)
        decoder, rows = PcapngDecoder(), np.zeros(4, RECORD_DTYPE)
        assert decoder.decode(data, rows) == 1
        for _ in range(2):
            assert decoder.position == blocks_of(data[:-12])[-1].end
            assert "at its end" in decoder.fault
            assert decoder.decode(data, rows, decoder.position) == 0

    def test_no_file_of_this_kind(self):
        decoder = PcapngDecoder()
        assert decoder.decode(make_samples.pcap_header(), np.zeros(1, RECORD_DTYPE)) == 0
        assert "section header" in decoder.fault

    def test_never_initialised_decodes_nothing_wrong(self):
        decoder = PcapngDecoder.__new__(PcapngDecoder)
        assert decoder.decode(BEGIN + NG.packet(FRAME), np.zeros(4, RECORD_DTYPE)) == 1

    def test_one_thread_at_a_time(self, background):
        """The interfaces move while they are read: a second thread is refused, and nothing crashes."""
        data = NG.section() + (NG.interface() + NG.packet(FRAME)) * 2000
        decoder, refused = PcapngDecoder(), []

        def decode():
            rows = np.zeros(2000, RECORD_DTYPE)
            for _ in range(20):
                try:
                    decoder.decode(data, rows)
                except RuntimeError:
                    refused.append(True)

        for thread in [background(decode) for _ in range(3)]:
            thread.result(60)
        assert decoder.decode(b"", np.zeros(1, RECORD_DTYPE)) == 0

    def test_start_behind_the_end(self):
        decoder = PcapngDecoder()
        assert decoder.decode(BEGIN, np.zeros(4, RECORD_DTYPE), 1 << 40) == 0
        assert decoder.position == len(BEGIN)


# ---- classic flavours


@pytest.mark.parametrize("magic", [make_samples.IXIA_HW, make_samples.IXIA_SW])
@pytest.mark.parametrize("big_endian", [False, True])
def test_ixia_lcap(magic, big_endian, tmp_path, need_tool, drain):
    """IXIA's files: four bytes more of file header, the size of all records."""
    packets = make_samples.mixed()[:20]
    plain = make_samples.pcap_file(packets, magic=magic, big_endian=big_endian)
    data = plain[:24] + (len(plain) - 24).to_bytes(4, "big" if big_endian else "little") + plain[24:]
    facts, error = outcome(data, drain)
    assert error is None
    assert facts == [(packet.time // 1000 * 1000, len(packet.data), packet.data) for packet in packets]
    for cut in range(4, 28):
        assert type(outcome(data[:cut], drain)[1]) is TruncatedFileError
    path = tmp_path / "ixia.pcap"
    path.write_bytes(data)
    fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len"]
    done = subprocess.run(
        [need_tool("tshark"), "-n", "-r", str(path), *fields], capture_output=True, timeout=60, check=True
    )
    seen = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(int(time.replace(".", "")), int(size)) for time, size in seen] == [fact[:2] for fact in facts]
