"""Damaged captures: any bytes are read to an end in bounds, or raise FileFormatError."""

from __future__ import annotations

import pickle
import random
import re
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fuzz_convert
import fuzz_pcap
import make_samples
import slimcap
from corpus import PACKERS, captures
from mutations import MUTATIONS, Mutation, changed, mutate
from support.profiles import scaled

FILES = captures()
SEEDS = list(FILES)
PCAPNG_SEEDS = [name for name in SEEDS if name.endswith(".pcapng")]
# What a length or another 32-bit number may claim.
CLAIMS = [0, 1, 15, 16, 63, 64, 65535, 65536, 262143, 262144, 262145, 1 << 27]
CLAIMS += [(1 << 31) - 1, 1 << 31, (1 << 32) - 1]
LINK_TYPES = [0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 107, 108, 109, 113, 117, 119, 127, 147, 163, 166, 192]
LINK_TYPES += [204, 205, 206, 219, 226, 228, 229, 231, 239, 258, 276]
MAGICS = [make_samples.MICRO, make_samples.NANO, make_samples.MODIFIED]
VERSIONS = [(2, 0), (2, 2), (2, 3), (2, 4), (3, 0), (543, 0)]

block_sizes = st.sampled_from(fuzz_pcap.BLOCK_SIZES)
snaplens = st.none() | st.sampled_from([1, 14, 60])
mutations = st.lists(
    st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 1 << 16), st.integers(0, 1 << 16)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("mutation", dict.fromkeys(MUTATIONS), ids=lambda mutation: mutation.__name__)
def test_each_mutation_changes_the_input(mutation: Mutation) -> None:
    file = FILES["null.pcap"]
    outputs = [
        changed(file, [(mutation, at, value)]) for at in range(0, 400, 13) for value in range(7, 999, 31)
    ]
    assert sum(output != file for output in outputs) > len(outputs) // 2


def test_mutate_repeats_with_the_same_seed() -> None:
    seeds = list(FILES.values())
    first, again = ([mutate(seeds, random.Random(7)) for _ in range(2)] for _ in range(2))
    assert first == again
    rng = random.Random(7)
    assert len({mutate(seeds, rng) for _ in range(100)}) > 90


@scaled(1)
@given(st.sampled_from(SEEDS), mutations, block_sizes, snaplens)
def test_mutated_samples_raise_file_errors_only(name, changes, block_size, snaplen):
    fuzz_pcap.check(changed(FILES[name], changes), block_size, snaplen)


@scaled(1)
@given(st.sampled_from(PCAPNG_SEEDS), mutations, block_sizes, snaplens)
def test_mutated_pcapng_samples_raise_file_errors_only(name, changes, block_size, snaplen):
    fuzz_pcap.check(changed(FILES[name], changes), block_size, snaplen)


@pytest.mark.parametrize("format", ["pcapng", "pcap"])
@scaled(0.3)
@given(st.sampled_from(SEEDS), mutations)
def test_mutated_samples_are_converted(format, name, changes):
    fuzz_convert.check(changed(FILES[name], changes), format)


def test_most_samples_are_converted():
    files = list(FILES.values())[::3]
    found = [fuzz_convert.check(data) for data in files]
    assert sum(map(bool, found)) > len(files) // 2


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
    ),
    max_size=8,
)


def lying(big_endian, blocks):
    """Build a valid section and packet, then blocks of any type, full of numbers near a limit."""
    ng = make_samples.Ng(big_endian=big_endian)
    data = ng.section() + ng.interface() + ng.interface(101, resolution=9) + ng.packet(bytes(60))
    for kind, numbers, options, length in blocks:
        body = b"".join(map(ng.number, numbers))
        data += ng.block(kind, body, options, length=length)
    return data


@scaled(0.6)
@given(st.booleans(), some_blocks, block_sizes)
def test_pcapng_blocks_with_wrong_lengths_raise_file_errors_only(big_endian, blocks, block_size):
    assert fuzz_pcap.check(lying(big_endian, blocks), block_size) >= 1


@scaled(0.3)
@given(st.booleans(), some_blocks)
def test_pcapng_blocks_with_wrong_lengths_are_converted(big_endian, blocks):
    assert fuzz_convert.check(lying(big_endian, blocks)) >= 1


@scaled(1)
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
def test_records_with_wrong_lengths_raise_file_errors_only(
    magic, big_endian, version, linktype, records, block_size
):
    """A valid header, then packets of any bytes with any lengths."""
    data = make_samples.pcap_header(magic=magic, big_endian=big_endian, version=version, linktype=linktype)
    for payload, cap_len, orig_len in records:
        data += make_samples.pcap_record(
            payload, cap_len=cap_len, orig_len=orig_len, magic=magic, big_endian=big_endian
        )
    fuzz_pcap.check(data, block_size)


@scaled(1)
@given(st.sampled_from(LINK_TYPES), st.lists(st.binary(min_size=1, max_size=60), min_size=1), block_sizes)
def test_valid_records_of_any_bytes_are_delivered(linktype, payloads, block_size):
    data = make_samples.pcap_file(map(make_samples.Packet, payloads), linktype=linktype)
    assert fuzz_pcap.check(data, block_size) == len(payloads)


# Bytes that lead the dissection of link layers on.
LEADS = """
    8100 88a8 9100 8864 8847 8848 0800 86dd 0064 05dc 0004   EtherTypes, lengths, and a protocol of Linux
    0021 0057 21 0281 ff03 11000000 0f00 8f00                PPP, PPPoE, Cisco HDLC
    aaaa03000000 060603                                      LLC
    00000100 00000000                                        MPLS: bottom of the stack and not
    02000000 00000002 0000001e                               address families
    45 60 000000000000000000000000                           IP, MAC addresses
"""
LEAD = st.sampled_from([bytes.fromhex(word) for word in re.findall(r"\b(?:[0-9a-f]{2})+\b", LEADS)])


@scaled(1)
@given(st.sampled_from(LINK_TYPES), st.lists(LEAD, min_size=1, max_size=24), st.integers(0, 200))
def test_link_layers_in_any_order_cut_anywhere_are_delivered(linktype, steps, cut):
    payload = b"".join(steps)
    payload = payload[: cut % (len(payload) + 1)]
    data = make_samples.pcap_file([make_samples.Packet(payload)], linktype=linktype)
    assert fuzz_pcap.check(data, 64) == 1


@scaled(1)
@given(st.binary(max_size=300), block_sizes)
def test_any_bytes_raise_file_errors_only(data, block_size):
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


@scaled(0.6)
@given(st.sampled_from(list(PACKERS)), st.sampled_from(SEEDS), mutations, mutations, block_sizes)
def test_mutated_compressed_samples_raise_file_errors_only(kind, name, inside, outside, block_size):
    """Damage the capture, and the compressed stream that holds it."""
    fuzz_pcap.check(changed(PACKERS[kind](changed(FILES[name], inside)), outside), block_size)


def sweep(number: int, order: str, step: int) -> None:
    """Read two small files with a number in place of each four bytes, every `step` bytes."""
    ng = make_samples.Ng()
    packets = make_samples.cut(make_samples.simple()[:2], 64)
    pcapng = make_samples.pcapng_file(packets, resolution=9) + ng.statistics(0, [ng.count(5, 1)])
    for whole in (make_samples.pcap_file(packets), pcapng):
        assert len(whole) > 100
        for at in range(0, len(whole) - 3, step):
            data = whole[:at] + struct.pack(order + "I", number) + whole[at + 4 :]
            try:
                fuzz_pcap.check(data, 64)
            except Exception as error:
                raise AssertionError(f"{number} at byte {at} of {whole[:4].hex()}") from error


@pytest.mark.parametrize("number", CLAIMS)
def test_any_value_of_every_field_raises_file_errors_only(number):
    sweep(number, "<", 4)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", CLAIMS)
def test_any_value_of_every_four_bytes_raises_file_errors_only(order, number):
    sweep(number, order, 1)


def test_check_batch_finds_wrong_records(sample_of):
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
    sys.path[:0] = sys.argv[2:]
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


@pytest.mark.slow
def test_memory_does_not_grow_with_lengths_that_files_claim():
    """Read some thousand damaged files in a process of their own, huge claims among them."""
    rng = random.Random(20240301)
    inputs = [mutate(list(FILES.values()), rng) for _ in range(3000)]
    for linktype in LINK_TYPES:
        for number in CLAIMS:
            header = make_samples.pcap_header(linktype=linktype)
            inputs.append(header + make_samples.pcap_record(b"", cap_len=number))
            inputs.append(header + make_samples.pcap_record(bytes(3000), cap_len=number) * 2)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, fuzz_pcap.__file__, *sys.path],
        input=pickle.dumps(inputs),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files, kilobytes = map(int, done.stdout.split())
    assert files == len(inputs)
    assert kilobytes < 64 << 10
