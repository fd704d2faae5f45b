"""The fuzz targets, with mutated inputs, and with inputs that are nearly valid."""

from __future__ import annotations

import bz2
import lzma
import random
import re
import struct
import sys
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzz_bpf
import fuzz_convert
import fuzz_expression
import fuzz_headers
import fuzz_pcap
import fuzz_rtnetlink
import fuzz_streams
import fuzz_tpacket
import make_samples
from corpus import PACKERS, PLAIN, packets, streams
from fuzz_rtnetlink import ADDRESS, ATTRIBUTES, INTERFACE, message
from mutations import MUTATIONS, changed, mutate
from slimcap.filter import program as bpf
from support import bpf_oracles
from support.profiles import profile_seed, scaled

# Mutated inputs of each target for each hypothesis example of the profile.
TARGETS = {
    fuzz_bpf: 10,
    fuzz_convert: 0.5,
    fuzz_expression: 10,
    fuzz_headers: 3,
    fuzz_pcap: 15,
    fuzz_rtnetlink: 20,
    fuzz_streams: 5,
    fuzz_tpacket: 10,
}
NUMBERS = st.sampled_from(bpf_oracles.CORNERS) | st.integers(0, 64) | st.integers(0, (1 << 32) - 1)
LINK_TYPES = st.sampled_from(
    [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 147, 228, 229, 231, 253, 276]
)
every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
changes = st.lists(
    st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 1 << 20), st.integers(0, 1 << 16)),
    min_size=1,
    max_size=4,
)


# ---- all targets


@every_target
def test_mutated_inputs_break_no_target(target, tmp_path):
    seeds, rng = target.seeds(), random.Random(profile_seed())
    assert len(seeds) > 1
    for number in range(round(TARGETS[target] * settings.default.max_examples)):
        data = mutate(seeds, rng)
        try:
            target.test_one_input(data)
        except Exception as error:
            file = tmp_path / "input"
            file.write_bytes(data)
            raise AssertionError(f"input {number} fails; it is saved in {file}") from error


@every_target
def test_seeds_are_valid_inputs(target):
    for seed in target.seeds()[::4]:
        target.test_one_input(seed)


@every_target
def test_targets_accept_any_bytes(target):
    step = 60 if target is fuzz_convert else 6
    for size in range(0, 300, step):
        target.test_one_input(make_samples.noise(size, str(size)))
        target.test_one_input(b"\1\0" + bytes(size))
    assert "atheris" not in sys.modules


# ---- filters

CODES = sorted({one[0] for seed in range(40) for one in bpf_oracles.random_program(random.Random(seed))})
instructions = st.tuples(
    st.sampled_from(CODES) | st.integers(0, 0xFFFF), st.integers(0, 4), st.integers(0, 4), NUMBERS
)


@scaled(1)
@given(st.lists(instructions, max_size=20), st.binary(max_size=100))
def test_any_instructions_are_run_as_by_libpcap_or_refused(program, data):
    fuzz_bpf.check([*program, (bpf.RET | bpf.A, 0, 0, 0)], data)


@scaled(1)
@given(
    st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 40), instructions), max_size=3), st.binary()
)
def test_programs_with_replaced_instructions_are_run_as_by_libpcap_or_refused(seed, others, data):
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


@scaled(1)
@given(
    st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join), LINK_TYPES, st.binary(max_size=100)
)
def test_expressions_of_any_words_are_compiled_or_refused(text, linktype, data):
    fuzz_expression.check(text, linktype, data)


@scaled(0.5)
@given(st.text(st.characters(exclude_characters="."), max_size=20), LINK_TYPES)
def test_expressions_of_any_characters_are_compiled_or_refused(text, linktype):
    fuzz_expression.check(text, linktype, b"")


def test_expressions_are_told_from_other_texts():
    assert fuzz_expression.check("tcp port 80 and not ip6", 1, bytes(60))
    assert fuzz_expression.check("ip6 protochain 6", 1, bytes(12) + b"\x86\xdd\x60" + bytes(60))
    assert not fuzz_expression.check("tcp port port", 1, b"")
    for text in ("(" * 5000, "not " * 20_000 + "ip", "ip or " * 3000 + "ip", "\0", "\udcff", "tcp\xa0"):
        fuzz_expression.check(text, 1, bytes(60))


# ---- decompressors

LIBRARIES = {
    "gzip": lambda: zlib.decompressobj(31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": lz4.frame.LZ4FrameDecompressor,
}
PACKED = streams()
LOST = 1 << 14  # bytes before damage that the libraries of xz and bzip2 do not return


@pytest.mark.parametrize("kind", PACKERS)
@scaled(0.25)
@given(changes, st.integers(1, 5000))
def test_damaged_streams_lose_little_before_the_damage(kind, changes, step):
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
@scaled(0.4)
@given(st.binary(max_size=200), st.integers(0, 40), st.integers(1, 50))
def test_noise_after_the_start_of_a_stream_raises_stream_errors_only(kind, noise, size, step):
    fuzz_streams.check(PACKED[kind][:size] + noise, step)


@pytest.mark.parametrize("kind", PACKERS)
def test_valid_streams_are_decompressed(kind):
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
PAYLOADS = [packet.data for packet in packets()]


@scaled(0.6)
@given(
    LINK_TYPES,
    st.lists(st.lists(LEAD, max_size=24).map(b"".join) | st.binary(max_size=90), min_size=1, max_size=8),
    st.integers(0, 100),
)
def test_headers_of_any_bytes_stay_within_the_packet(linktype, payloads, more):
    fuzz_headers.check(payloads, linktype, more)


@scaled(0.6)
@given(st.sampled_from(PAYLOADS), changes, LINK_TYPES | st.just(1), st.integers(0, 100))
def test_headers_of_damaged_packets_stay_within_the_packet(payload, changes, linktype, more):
    fuzz_headers.check([changed(payload, changes)], linktype, more)


def test_samples_have_every_status_and_tunnels():
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


@scaled(0.6)
@given(st.lists(ring_packets, max_size=20), changes | st.just([]), st.sampled_from([1, 101, 113, 276]))
def test_ring_blocks_with_wrong_lengths_are_walked_in_bounds(packets, changes, linktype):
    fuzz_tpacket.check(changed(ring_block(packets), changes), linktype)


def test_a_valid_ring_block_is_walked_whole():
    assert fuzz_tpacket.check(ring_block([SOUND] * 20)) == 20


# ---- netlink

attributes = st.lists(
    st.sampled_from(ATTRIBUTES) | st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=5
)


@scaled(1)
@given(
    st.lists(st.tuples(st.sampled_from([INTERFACE, ADDRESS, b""]), attributes), max_size=3),
    changes | st.just([]),
)
def test_damaged_netlink_messages_raise_link_errors_only(messages, changes):
    fuzz_rtnetlink.check(changed(b"".join(message(*one) for one in messages), changes))


def test_valid_netlink_messages_are_parsed():
    assert fuzz_rtnetlink.check(message(INTERFACE, ATTRIBUTES)) >= 2
    assert fuzz_rtnetlink.check(message(ADDRESS, [(1, b"\1\2\3\4")])) >= 1


# ---- the checks can fail


def test_check_fails_if_libpcap_answers_otherwise(monkeypatch):
    monkeypatch.setattr(bpf_oracles.LibpcapMachine, "run", lambda self, data: 8)
    with pytest.raises(AssertionError):
        fuzz_bpf.check([(bpf.RET | bpf.K, 0, 0, 7)], b"")


@pytest.mark.parametrize("column", ["l4_offset", "ttl"])
def test_check_fails_for_columns_beyond_the_packet(monkeypatch, column):
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


def test_check_fails_if_pieces_change_the_output(monkeypatch):
    class Steps:
        def __init__(self, head, read):
            self.pieces = [b"x" * len(read(1 << 20)), b""]

        def read(self):
            return self.pieces.pop(0)

    monkeypatch.setattr(fuzz_streams, "decompressor", Steps)
    with pytest.raises(AssertionError):
        fuzz_streams.check(bytes(100))
