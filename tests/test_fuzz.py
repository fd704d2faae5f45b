"""Damaged captures by the thousand: whatever the bytes, reading ends in bounds, or in a FileFormatError."""

from __future__ import annotations

import bz2
import importlib
import lzma
import pickle
import random
import re
import struct
import subprocess
import sys

import fuzz_convert
import fuzz_pcap
import make_samples
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import slimcap

# Small ones, so that most damage hits a header.
SEEDS = [
    name
    for name in (*make_samples.SAMPLES, *make_samples.PCAPNG)
    if not name.startswith(("mixed", "snap96", "max_caplen", "resolutions", "bad/caplen_262145"))
]
FILES = {name: (make_samples.SAMPLES | make_samples.PCAPNG)[name]() for name in SEEDS}
PCAPNG_SEEDS = [name for name in SEEDS if name.endswith(".pcapng")]
# What a length or another 32-bit number may claim.
CLAIMS = [
    0,
    1,
    15,
    16,
    63,
    64,
    65535,
    65536,
    262143,
    262144,
    262145,
    1 << 27,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
]
LINK_TYPES = [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 147, 228, 229, 231, 276]
MAGICS = [make_samples.MICRO, make_samples.NANO, make_samples.MODIFIED]
VERSIONS = [(2, 0), (2, 2), (2, 3), (2, 4), (3, 0), (543, 0)]

quick = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
block_sizes = st.sampled_from(fuzz_pcap.BLOCK_SIZES)
snaplens = st.none() | st.sampled_from([1, 14, 60])


def flip(data, at, value):
    data[at] ^= value % 255 + 1


def insert(data, at, value):
    data[at:at] = bytes([value % 256]) * (value % 40 + 1)


def delete(data, at, value):
    del data[at : at + value % 40 + 1]


def truncate(data, at, value):
    del data[at:]


def repeat(data, at, value):
    data[at:at] = data[at : at + value % 200]


def claim(data, at, value):
    """Overwrite four bytes that are aligned as the numbers of headers are."""
    at -= at % 4
    number = struct.pack("<>"[value & 1] + "I", CLAIMS[value // 2 % len(CLAIMS)])
    data[at : at + 4] = number


MUTATIONS = [flip, insert, delete, truncate, repeat, claim, claim]
mutations = st.lists(
    st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 1 << 16), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)


def mutated(name, changes):
    data = bytearray(FILES[name])
    for change, at, value in changes:
        if data:
            change(data, at % len(data), value)
    return bytes(data)


@pytest.mark.parametrize("mutation", sorted(set(MUTATIONS), key=MUTATIONS.index))
def test_each_mutation_mutates(mutation):
    changed = [mutated("null.pcap", [(mutation, at, 7)]) != FILES["null.pcap"] for at in range(1, 400, 13)]
    assert any(changed)


@settings(quick, max_examples=2500)
@given(st.sampled_from(SEEDS), mutations, block_sizes, snaplens)
def test_mutated_samples(name, changes, block_size, snaplen):
    fuzz_pcap.check(mutated(name, changes), block_size, snaplen)


@settings(quick, max_examples=1500)
@given(st.sampled_from(PCAPNG_SEEDS), mutations, block_sizes, snaplens)
def test_mutated_pcapng_samples(name, changes, block_size, snaplen):
    fuzz_pcap.check(mutated(name, changes), block_size, snaplen)


@settings(quick, max_examples=600)
@given(st.sampled_from(SEEDS), mutations)
def test_mutated_samples_written_as_pcapng(name, changes):
    fuzz_convert.check(mutated(name, changes))


@settings(quick, max_examples=200)
@given(st.sampled_from(SEEDS), mutations)
def test_mutated_samples_written_as_pcap(name, changes):
    fuzz_convert.check(mutated(name, changes), "pcap")


def test_most_samples_come_through():
    found = [fuzz_convert.check(data) for data in FILES.values()]
    assert sum(map(bool, found)) > len(FILES) // 2


NUMBERS = st.sampled_from([*CLAIMS, 4, 12, 20, 28, 32, 65534])
BLOCK_KINDS = [0x0A0D0D0A, 1, 2, 3, 4, 5, 6, 10, 0xBAD, 0x40000BAD, 99]
some_options = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 9, 14, 2988]), st.binary(max_size=12)), max_size=4
)


some_blocks = st.lists(
    st.tuples(
        st.sampled_from(BLOCK_KINDS),
        st.lists(NUMBERS | st.integers(0, 3), max_size=8),
        some_options,
        st.none() | NUMBERS,
    )
)


def lying(big_endian, blocks):
    """A sound beginning, then blocks of any type, full of numbers that are near a limit."""
    ng = make_samples.Ng(big_endian=big_endian)
    data = ng.section() + ng.interface() + ng.interface(101, resolution=9) + ng.packet(bytes(60))
    for kind, numbers, options, length in blocks:
        body = b"".join(map(ng.number, numbers))
        data += ng.block(kind, body, options, length=length)
    return data


@settings(quick, max_examples=1500)
@given(st.booleans(), some_blocks, block_sizes)
def test_pcapng_blocks_that_lie(big_endian, blocks, block_size):
    assert fuzz_pcap.check(lying(big_endian, blocks), block_size) >= 1


@settings(quick, max_examples=300)
@given(st.booleans(), some_blocks)
def test_pcapng_blocks_that_lie_are_written_anew(big_endian, blocks):
    assert fuzz_convert.check(lying(big_endian, blocks)) >= 1


@settings(quick, max_examples=800)
@given(
    st.sampled_from(MAGICS),
    st.booleans(),
    st.sampled_from(VERSIONS),
    st.sampled_from(LINK_TYPES),
    st.lists(
        st.tuples(st.binary(max_size=80), st.sampled_from([None, *CLAIMS]), st.sampled_from([None, *CLAIMS]))
    ),
    block_sizes,
)
def test_records_that_lie(magic, big_endian, version, linktype, records, block_size):
    """Sound headers, then packets of any bytes whose lengths may be any."""
    data = make_samples.pcap_header(magic=magic, big_endian=big_endian, version=version, linktype=linktype)
    for payload, cap_len, orig_len in records:
        data += make_samples.pcap_record(
            payload, cap_len=cap_len, orig_len=orig_len, magic=magic, big_endian=big_endian
        )
    fuzz_pcap.check(data, block_size)


@settings(quick, max_examples=1000)
@given(st.sampled_from(LINK_TYPES), st.lists(st.binary(min_size=1, max_size=60), min_size=1), block_sizes)
def test_any_bytes_in_sound_records(linktype, payloads, block_size):
    data = make_samples.pcap_file(map(make_samples.Packet, payloads), linktype=linktype)
    assert fuzz_pcap.check(data, block_size) == len(payloads)


# Bytes that lead the walks through the link layers on.
LEADS = """
    8100 88a8 9100 8864 8847 8848 0800 86dd 0064 05dc 0004   EtherTypes, lengths, and a protocol of Linux
    0021 0057 21 0281 ff03 11000000 0f00 8f00                PPP, PPPoE, Cisco HDLC
    aaaa03000000 060603                                      LLC
    00000100 00000000                                        MPLS: bottom of the stack and not
    02000000 00000002 0000001e                               address families
    45 60 000000000000000000000000                           IP, MAC addresses
"""
LEAD = st.sampled_from([bytes.fromhex(word) for word in re.findall(r"\b(?:[0-9a-f]{2})+\b", LEADS)])


@settings(quick, max_examples=1000)
@given(st.sampled_from(LINK_TYPES), st.lists(LEAD, min_size=1, max_size=24), st.integers(0, 200))
def test_link_layers_in_any_order_cut_anywhere(linktype, steps, cut):
    payload = b"".join(steps)
    payload = payload[: cut % (len(payload) + 1)]
    data = make_samples.pcap_file([make_samples.Packet(payload)], linktype=linktype)
    assert fuzz_pcap.check(data, 64) == 1


@settings(quick, max_examples=800)
@given(st.binary(max_size=300), block_sizes)
def test_any_bytes(data, block_size):
    fuzz_pcap.check(data, block_size)
    fuzz_pcap.check(make_samples.pcap_header() + data, block_size)
    fuzz_pcap.check(make_samples.Ng().section() + data, block_size)
    for magic in (
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"BZh9",
        b"\xfd7zXZ\0",
        b"P*M\x18",
    ):
        fuzz_pcap.check(magic + data, block_size)


PACKERS = {
    "gzip": make_samples.gzip_member,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: importlib.import_module("zstandard").compress(data),
    "lz4": lambda data: importlib.import_module("lz4.frame").compress(data),
}


@settings(quick, max_examples=900)
@given(st.sampled_from(list(PACKERS)), st.sampled_from(SEEDS), mutations, mutations, block_sizes)
def test_mutated_compressed_samples(kind, name, inside, outside, block_size):
    """The capture damaged, and the stream around it."""
    data = bytearray(PACKERS[kind](mutated(name, inside)))
    for change, at, value in outside:
        if data:
            change(data, at % len(data), value)
    fuzz_pcap.check(bytes(data), block_size)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", CLAIMS)
def test_every_number_of_a_file_as_any_claim(order, number):
    """Each four bytes of a small file, one after the other, as each number that is near a limit."""
    ng = make_samples.Ng()
    packets = make_samples.simple()[:2]
    pcapng = make_samples.pcapng_file(packets, resolution=9) + ng.statistics(0, [ng.count(5, 1)])
    for whole in (make_samples.pcap_file(packets), pcapng):
        for at in range(len(whole) - 3):
            data = whole[:at] + struct.pack(order + "I", number) + whole[at + 4 :]
            fuzz_pcap.check(data, 64)


def test_the_atheris_target():
    """It takes any bytes, and reads them with every block size."""
    for size in range(len(FILES["null.pcap"])):
        fuzz_pcap.test_one_input(FILES["null.pcap"][:size])
    assert "atheris" not in sys.modules


def test_the_check_can_fail(sample_of):
    """What `check_batch` looks for, it does find."""
    batch = slimcap.read(sample_of("null.pcap").path)
    fuzz_pcap.check_batch(batch)
    for column, value in (("ip_offset", 60_000), ("total_len", 1), ("interface", 3), ("flags", 4)):
        records = batch.records.copy()
        records[column][0] = value
        with pytest.raises(AssertionError):
            fuzz_pcap.check_batch(slimcap.Batch(records, batch.data, batch.links))
    with pytest.raises(AssertionError):
        fuzz_pcap.check_batch(batch, snaplen=10)


READ_ALL = """if True:
    import pickle, resource, runpy, sys
    check = runpy.run_path(sys.argv[1])["check"]
    inputs = pickle.load(sys.stdin.buffer)
    def used():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in inputs[:100]:
        check(data)
    before = used()
    for data in inputs:
        check(data, 64)
        check(data, 1 << 20)
    print(len(inputs), used() - before)
"""


def test_memory_does_not_grow_with_what_files_claim():
    """Some thousand damaged files in a process of their own, huge claims among them."""
    pick = random.Random(20240301)

    def changes():
        for _ in range(pick.randint(1, 4)):
            yield pick.choice(MUTATIONS), pick.randrange(1 << 16), pick.randrange(256)

    inputs = [mutated(pick.choice(SEEDS), changes()) for _ in range(3000)]
    for linktype in LINK_TYPES:
        for number in CLAIMS:
            header = make_samples.pcap_header(linktype=linktype)
            inputs.append(header + make_samples.pcap_record(b"", cap_len=number))
            inputs.append(header + make_samples.pcap_record(bytes(3000), cap_len=number) * 2)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, fuzz_pcap.__file__],
        input=pickle.dumps(inputs),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files, kilobytes = map(int, done.stdout.split())
    assert files == len(inputs)
    assert kilobytes < 64 << 10
