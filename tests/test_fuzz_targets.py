"""The fuzz targets of tests/fuzz but that of capture files: filters, expressions, decompressors, header
columns, ring blocks, netlink messages, each with inputs near what is sound."""

from __future__ import annotations

import bz2
import lzma
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

from support import bpf_oracles
import fuzz_bpf
import fuzz_convert
import fuzz_expression
import fuzz_headers
import fuzz_rtnetlink
import fuzz_streams
import fuzz_tpacket
import lz4.frame
import make_samples
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import slimcap
from slimcap.filter import program as bpf
from slimcap.source import rtnetlink

FUZZ = Path(__file__).parent / "fuzz"
quick = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NUMBERS = st.sampled_from(bpf_oracles.CORNERS) | st.integers(0, 64) | st.integers(0, (1 << 32) - 1)
LINK_TYPES = st.sampled_from(
    [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 147, 228, 229, 231, 253, 276]
)


def changed(data, changes):
    """Bytes with some of them others, missing or doubled."""
    data = bytearray(data)
    for what, at, value in changes:
        at %= len(data) + 1
        if what == "flip" and at < len(data):
            data[at] ^= value or 1
        elif what == "cut":
            del data[at:]
        elif what == "drop":
            del data[at : at + value % 20]
        elif what == "double":
            data[at:at] = data[at : at + value]
    return bytes(data)


changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "flip", "cut", "drop", "double"]),
        st.integers(0, 1 << 20),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


# ---- filters

CODES = sorted({one[0] for seed in range(40) for one in bpf_oracles.random_program(random.Random(seed))})
instructions = st.tuples(
    st.sampled_from(CODES) | st.integers(0, 0xFFFF), st.integers(0, 4), st.integers(0, 4), NUMBERS
)


@settings(quick, max_examples=600)
@given(st.lists(instructions, max_size=20), st.binary(max_size=100))
def test_any_instructions(program, data):
    fuzz_bpf.check([*program, (bpf.RET | bpf.A, 0, 0, 0)], data)


@settings(quick, max_examples=600)
@given(
    st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 40), instructions), max_size=3), st.binary()
)
def test_good_programs_with_other_instructions_among_theirs(seed, others, data):
    program = list(bpf_oracles.random_program(random.Random(seed)))
    for at, instruction in others:
        program[at % len(program)] = instruction
    taken = fuzz_bpf.check(program, data)
    assert taken or others


# ---- expressions

WORDS = r"""
    ip ip6 tcp udp icmp arp ether host net port portrange src dst and or not ( ) [ ] : & | = == != < > <= >=
    + - * / % vlan mpls pppoes geneve 1 4 80 4294967295 4294967296 0x 1.2.3.4 10.0.0.0/8 10/33 ::1 fe80::/10
    ff:ff:ff:ff:ff:ff len proto protochain broadcast multicast greater less gateway inbound tcp[13]
    ip[0]&0xf ether[12:2] tcp-syn tcpflags icmp-echo wlan type subtype mgt radio ifname on rnr reason \ip
    http ssh , ; " ' $ \x ~ !
"""


@settings(quick, max_examples=700)
@given(
    st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join), LINK_TYPES, st.binary(max_size=100)
)
def test_expressions_of_any_words(text, linktype, data):
    fuzz_expression.check(text, linktype, data)


@settings(quick, max_examples=300)
@given(st.text(st.characters(exclude_characters="."), max_size=20), LINK_TYPES)
def test_expressions_of_any_characters(text, linktype):
    fuzz_expression.check(text, linktype, b"")


def test_some_texts_are_expressions():
    assert fuzz_expression.check("tcp port 80 and not ip6", 1, bytes(60))
    assert fuzz_expression.check("ip6 protochain 6", 1, bytes(12) + b"\x86\xdd\x60" + bytes(60))
    assert not fuzz_expression.check("tcp port port", 1, b"")
    for text in ("(" * 5000, "not " * 20_000 + "ip", "ip or " * 3000 + "ip", "\0", "\udcff", "tcp\xa0"):
        fuzz_expression.check(text, 1, bytes(60))


# ---- decompressors

PLAIN = make_samples.noise(20_000, "x") + bytes(300_000) + make_samples.noise(3000, "y") * 20
PACKERS = {
    "gzip": lambda data: make_samples.gzip_member(data),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
}
LIBRARIES = {
    "gzip": lambda: zlib.decompressobj(31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": lz4.frame.LZ4FrameDecompressor,
}
PACKED = {kind: pack(PLAIN) for kind, pack in PACKERS.items()}
LOST = 1 << 14  # bytes before damage that the libraries of xz and bzip2 keep to themselves


@pytest.mark.parametrize("kind", PACKERS)
@settings(quick, max_examples=80)
@given(changes, st.integers(1, 5000))
def test_damaged_streams(kind, changes, step):
    data = changed(PACKED[kind], changes)
    made, error = fuzz_streams.check(data, max(step, len(data) // 300))
    sound = next(
        (at for at, (one, other) in enumerate(zip(data, PACKED[kind], strict=False)) if one != other), 0
    )
    if error is None or sound < 6:
        return
    before = LIBRARIES[kind]().decompress(data[:sound])
    sure = max(len(before) - (LOST if kind in ("xz", "bzip2") else 0), 0)
    assert made[:sure] == before[:sure]


@pytest.mark.parametrize("kind", PACKERS)
@settings(quick, max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 40), st.integers(1, 50))
def test_noise_behind_the_beginning_of_a_stream(kind, noise, size, step):
    fuzz_streams.check(PACKED[kind][:size] + noise, step)


@pytest.mark.parametrize("kind", PACKERS)
def test_sound_streams_come_whole(kind):
    assert fuzz_streams.check(PACKED[kind] * 2, 4096) == (PLAIN * 2, None)


# ---- header columns

LEADS = """
    8100 88a8 9100 8864 8847 0800 86dd 0806 6558                    EtherTypes
    0021 0057 ff03 0f00 aaaa03000000 00000100 02000000 0000001e     PPP, HDLC, LLC, MPLS, address families
    45000040000040004011000001020304 4600 4f00                      IPv4: UDP, and with options
    6000000000402c40 6000000000200040 6000000000400440              IPv6: a fragment, hop by hop, IPv4 inside
    2f00 2c00 3b00 0600 1100 8400 3300                              next headers
    00000800 20000800 3000655800000001 800002                       GRE
    12b5 17c1 0868 0800000000000100                                 ports and headers of VXLAN, Geneve, GTP-U
    0000000000000000 ffffffffffffffff 05dc 0050 18                  addresses, lengths, flags
"""
LEAD = st.sampled_from([bytes.fromhex(word) for word in re.findall(r"\b(?:[0-9a-f]{2})+\b", LEADS)])
SAMPLES = {
    name: slimcap.read(Path(make_samples.__file__).parent / name)
    for name in ("transports.pcap", "tunnels.pcap", "odd_headers.pcap")
}
PAYLOADS = [bytes(batch.payload(row)) for batch in SAMPLES.values() for row in range(len(batch))]


@settings(quick, max_examples=500)
@given(
    LINK_TYPES,
    st.lists(st.lists(LEAD, max_size=24).map(b"".join) | st.binary(max_size=90), min_size=1, max_size=8),
    st.integers(0, 100),
)
def test_headers_of_any_bytes(linktype, payloads, more):
    fuzz_headers.check(payloads, linktype, more)


@settings(quick, max_examples=500)
@given(st.sampled_from(PAYLOADS), changes, LINK_TYPES | st.just(1), st.integers(0, 100))
def test_headers_of_damaged_packets(payload, changes, linktype, more):
    fuzz_headers.check([changed(payload, changes)], linktype, more)


def test_the_samples_have_all_there_is_to_tell():
    rows = fuzz_headers.check(PAYLOADS, 1)
    assert set(rows["status"].tolist()) == {0, 1, 2, 3, 5}
    assert rows["tunnels"].max() > 1


# ---- ring blocks

BLOCK = struct.Struct("=IIIIIIQIIII")  # struct tpacket_block_desc
PACKET = struct.Struct("=IIIIIIHHIIHH8x")  # struct tpacket3_hdr


def ring_block(packets):
    """A block of packets, each 144 bytes on, whose headers say (next, captured, total, status, mac, net)."""
    block = bytearray(4096)
    BLOCK.pack_into(block, 0, 1, 48, 1, len(packets), 48, 4096, 1, 0, 0, 0, 0)
    for number, (step, captured, total, status, mac, net) in enumerate(packets):
        at = 48 + number * 144
        PACKET.pack_into(block, at, step, 1, 1, captured, total, status, mac, net, 0, 7, 0x8100, 0)
    return bytes(block)


SOUND = (144, 60, 60, 1, 82, 96)
fields = st.sampled_from([0, 1, 48, 60, 82, 96, 144, 4000, 4096, 65535])
sizes = fields | st.sampled_from([(1 << 31) - 1, 1 << 31, (1 << 32) - 8, (1 << 32) - 1])
ring_packets = st.just(SOUND) | st.tuples(
    st.sampled_from([144, 0]) | sizes, sizes, sizes, st.sampled_from([1, 0x51, 0xFFFFFFFF]), fields, fields
)


@settings(quick, max_examples=500)
@given(st.lists(ring_packets, max_size=20), changes | st.just([]), st.sampled_from([1, 101, 113, 276]))
def test_ring_blocks_that_lie(packets, changes, linktype):
    fuzz_tpacket.check(changed(ring_block(packets), changes), linktype)


def test_a_sound_ring_block():
    assert fuzz_tpacket.check(ring_block([SOUND] * 20)) == 20


# ---- netlink

interface = rtnetlink._IFINFOMSG.pack(0, 1, 7, 1, 0)
address = rtnetlink._IFADDRMSG.pack(2, 24, 0, 0, 7)
ATTRIBUTES = [
    (3, b"eth0\0"),
    (18, struct.pack("=HH", 8, 1) + b"veth"),
    (23, bytes(200)),
    (1, b"\1\2\3\4"),
    (2, bytes(16)),
]
attributes = st.lists(
    st.sampled_from(ATTRIBUTES) | st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=5
)


def message(head, attributes):
    body = head
    for kind, value in attributes:
        size = 4 + len(value)
        body += (struct.pack("=HH", size, kind) + value).ljust((size + 3) & ~3, b"\0")
    return rtnetlink._NLMSGHDR.pack(16 + len(body), 16, 0, 1, 0) + body


@settings(quick, max_examples=700)
@given(
    st.lists(st.tuples(st.sampled_from([interface, address, b""]), attributes), max_size=3),
    changes | st.just([]),
)
def test_netlink_messages(messages, changes):
    fuzz_rtnetlink.check(changed(b"".join(message(*one) for one in messages), changes))


def test_sound_netlink_messages():
    assert fuzz_rtnetlink.check(message(interface, ATTRIBUTES)) >= 2
    assert fuzz_rtnetlink.check(message(address, [(1, b"\1\2\3\4")])) >= 1


# ---- the checks can fail


def test_another_answer_than_libpcaps_fails(monkeypatch):
    monkeypatch.setattr(bpf_oracles.LibpcapMachine, "run", lambda self, data: 8)
    with pytest.raises(AssertionError):
        fuzz_bpf.check([(bpf.RET | bpf.K, 0, 0, 7)], b"")


@pytest.mark.parametrize("column", ["l4_offset", "ttl"])
def test_columns_beyond_the_packet_or_that_see_around_it_fail(monkeypatch, column):
    real = fuzz_headers._moved

    class Wrong:
        def __init__(self, *args):
            self.batch = real(*args)

        def headers(self, *args, **options):
            rows = self.batch.headers(*args, **options)
            rows[column] = 4000 if column == "l4_offset" else self.batch.data[0]
            return rows

    monkeypatch.setattr(fuzz_headers, "_moved", Wrong)
    with pytest.raises(AssertionError):
        fuzz_headers.check(PAYLOADS[:3], 1)


def test_a_reader_that_depends_on_how_it_is_fed_fails(monkeypatch):
    class Steps:
        def __init__(self, head, read):
            self.pieces = [b"x" * len(read(1 << 20)), b""]

        def read(self):
            return self.pieces.pop(0)

    monkeypatch.setattr(fuzz_streams, "decompressor", Steps)
    with pytest.raises(AssertionError):
        fuzz_streams.check(bytes(100))


# ---- atheris


@pytest.mark.parametrize(
    "target",
    [fuzz_bpf, fuzz_convert, fuzz_expression, fuzz_headers, fuzz_rtnetlink, fuzz_streams, fuzz_tpacket],
)
def test_targets_take_any_bytes(target):
    for size in range(0, 300, 3):
        target.test_one_input(make_samples.noise(size, str(size)))
        target.test_one_input(b"\1\0" + bytes(size))
    assert "atheris" not in sys.modules


def test_the_runner_names_its_targets():
    done = subprocess.run(
        [sys.executable, FUZZ / "run.py"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    named = re.search(r"\{(.*)\}", done.stderr)
    assert named is not None
    assert named[1].split(",") == [
        "bpf", "convert", "expression", "headers", "pcap", "rtnetlink", "streams", "tpacket"
    ]  # fmt: skip
