"""Odd, broken and cut pcapng files: what is delivered, what is refused, and where."""

from __future__ import annotations

import bisect
import struct
import tracemalloc

import pytest

from slimcap import FileFormatError, TruncatedFileError
from support.builders.pcapng import Ng
from support.capfiles import (
    BEGIN,
    EPB,
    FRAME,
    IDB,
    LONGEST,
    LONGEST_BLOCK,
    NG,
    PCAPNG_FILES,
    blocks_of,
    near,
    outcome_of,
    source_of,
)

# ---- odd blocks that are read


def bad(*blocks, after=True):
    """Build a file of a packet, these blocks, and another packet."""
    return BEGIN + NG.packet(FRAME, 1) + b"".join(blocks) + (NG.packet(FRAME, 2) if after else b"")


def option(code, value, length):
    """Build an option that claims `length` bytes."""
    return struct.pack("<HH", code, length) + value


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
    "options after their end": NG.block(IDB, IDB_BODY + bytes(4) + option(3, b"abcd", 400)),
}


@pytest.mark.parametrize("what", READ_THROUGH)
def test_odd_blocks_are_skipped(what):
    facts, error = outcome_of(bad(READ_THROUGH[what]))
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
def test_odd_packets_are_delivered(what):
    block, expected = ODD_PACKETS[what]
    facts, error = outcome_of(bad(block))
    assert error is None
    assert [data for _, _, data in facts] == [FRAME, expected, FRAME]
    assert all(total >= len(data) for _, total, data in facts)


@pytest.mark.parametrize(
    ("snaplen", "size"), [(0, len(FRAME)), (1, 1), (60, 60), (len(FRAME) + 1, len(FRAME))]
)
def test_simple_packets_are_cut_to_the_snaplen_of_the_interface(snaplen, size):
    data = NG.section() + NG.interface(1, snaplen) + NG.simple(FRAME)
    facts, error = outcome_of(data)
    assert error is None
    assert facts == [(0, len(FRAME), FRAME[:size])]


def test_more_captured_than_the_snaplen_is_delivered():
    facts, error = outcome_of(NG.section() + NG.interface(1, 20) + NG.packet(FRAME))
    assert ([data for _, _, data in facts], error) == ([FRAME], None)


# ---- broken blocks


REFUSED = {
    "a packet before its interface": (
        NG.section() + NG.packet(FRAME),
        "interface 0, where the section has 0",
    ),
    "a simple packet before its interface": (NG.section() + NG.simple(FRAME), "interface 0"),
    "an interface out of range": (NG.packet(FRAME, interface=1), "interface 1, where the section has 1"),
    "an interface far out of range": (NG.packet(FRAME, interface=0xFFFFFFFF), "interface 4294967295"),
    "an obsolete packet's interface": (NG.old_packet(FRAME, 0, 9), "interface 9"),
    "a block's length that is not a multiple of 4": (NG.block(99, b"", length=21), "a block of 21 bytes"),
    "a block that is too short": (NG.block(99, b"", length=8), "a block of 8 bytes"),
    "a block of no length": (NG.block(99, b"", length=0), "a block of 0 bytes"),
    "a block that is too long": (
        NG.block(99, b"", length=LONGEST_BLOCK + 4),
        f"a block of {LONGEST_BLOCK + 4} bytes",
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
    "far more captured than the block has": (NG.packet(FRAME, cap_len=LONGEST), "in a block that has"),
    "more captured than there may be": (NG.packet(bytes(LONGEST + 1)), f"of {LONGEST + 1} captured bytes"),
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
def test_broken_blocks_raise(what, block_size, drain):
    """Delivers the packets before it; the error has its offset, and is raised by each later call."""
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
def test_broken_section_header_raises_at_once(what):
    with pytest.raises(FileFormatError, match=REFUSED[what][1]) as raised:
        source_of(REFUSED[what][0])
    assert (raised.value.offset, raised.value.packet_index) == (0, 0)


def test_packet_without_an_interface_raises_at_once():
    data = NG.section() + NG.packet(FRAME) + NG.interface()
    with pytest.raises(FileFormatError, match="interface 0"):
        list(source_of(data))


# ---- cut files; test_pcapng_decoder cuts at every byte


def check_cuts(name, cuts, block_size):
    """Check that packets before each cut are delivered, then an error at the cut block, if one was cut."""
    data, blocks = PCAPNG_FILES[name], blocks_of(PCAPNG_FILES[name])
    whole_facts, _ = outcome_of(data)
    ends = [0, *(block.end for block in blocks)]
    for cut in cuts:
        whole = bisect.bisect_right(ends, cut) - 1
        packets = sum(block.is_packet for block in blocks[:whole])
        facts, error = outcome_of(data[:cut], block_size=block_size)
        assert facts == whole_facts[:packets], f"cut at byte {cut}"
        if cut == ends[whole] and cut:
            assert error is None, f"cut at byte {cut}"
        else:
            assert type(error) is TruncatedFileError, f"cut at byte {cut}"
            offset = cut if cut < 4 else ends[whole]
            assert (error.offset, error.packet_index) == (offset, packets), f"cut at byte {cut}"


@pytest.mark.parametrize("block_size", [64, 1 << 16])
@pytest.mark.parametrize("name", PCAPNG_FILES)
def test_packets_before_a_cut_near_every_block_are_delivered(name, block_size):
    """Of files with many blocks, near some of them; the decoder's test cuts every block."""
    data = PCAPNG_FILES[name]
    edges = [offset for block in blocks_of(data) for offset in (block.start, block.start + 8, block.end)]
    step = max(1, len(edges) // 30) | 1
    cuts = near(sorted({*edges[::step], *edges[-9:], 12}), len(data) - 1)
    check_cuts(name, cuts, block_size)
    assert len(cuts) >= 9


@pytest.mark.parametrize("name", ["simple.pcapng", "sections.pcapng", "empty.pcapng"])
def test_small_blocks_deliver_the_packets_before_a_cut_at_every_byte(name):
    assert PCAPNG_FILES[name]
    check_cuts(name, range(len(PCAPNG_FILES[name])), 64)


@pytest.mark.parametrize("have", [0, 100, 100_000])
@pytest.mark.parametrize("kind", [EPB, IDB, 99])
def test_length_without_data_allocates_no_memory(kind, have):
    data = BEGIN + NG.packet(FRAME) + NG.block(kind, bytes(have), length=LONGEST_BLOCK)[:-4]
    tracemalloc.start()
    try:
        facts, error = outcome_of(data, block_size=4096)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(facts) == 1
    assert isinstance(error, TruncatedFileError)
    assert peak < 1_000_000 + 4 * have
