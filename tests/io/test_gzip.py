"""gzip with zlib-ng and with zlib: whole streams, and of damaged ones exactly what precedes the damage."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib

import pytest

import make_samples
from make_samples import gzip_member, pcap_header, pcap_record
from slimcap import FileFormatError, PcapSource, TruncatedFileError
from slimcap.io.compression import gzip as gzip_reader
from support.compression import (
    FACTS,
    GZIP,
    LARGE,
    PLAIN,
    decompress,
    near,
    outcome,
    trickled,
    whole_packets,
)


@pytest.fixture(params=["zlib-ng", "zlib"], autouse=True)
def zlib_kind(request, monkeypatch):
    """Run each test with the fast library and without it."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "zlib_ng", None)
    else:
        pytest.importorskip("zlib_ng", exc_type=ImportError)
    module, _ = gzip_reader.fastest_zlib()
    assert (module is zlib) == (request.param == "zlib")
    return request.param


def assert_truncated(result, plain):
    """All whole packets in `plain` were given, then the stream was said to be cut after these bytes."""
    count = whole_packets(plain)
    assert len(result.facts) == count
    assert type(result.error) is TruncatedFileError
    assert (result.error.packet_index, result.error.offset) == (count, len(plain))


# ---- whole


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("step", [1, 2, 3, 1000, 1 << 17])
def test_stream_is_read_in_pieces_of_any_size(sample, level, step):
    data = sample.data[:10_000] if step < 1000 else sample.data
    assert decompress(gzip_member(data, level), step) == (data, None)


@pytest.mark.parametrize("name", ["mixed.pcap.gz", "mixed_members.pcap.gz"])
@pytest.mark.parametrize("step", [3, 1 << 17])
def test_sample_is_read_in_pieces_of_any_size(sample_of, step, name):
    sample = sample_of(name)
    assert trickled(sample.path.read_bytes(), step) == (sample.facts, None)


def test_data_that_expands_a_lot_is_read_in_order():
    plain = b"".join(bytes([value]) * 100_000 for value in range(30))
    assert decompress(gzip_member(plain)) == (plain, None)


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_members_can_be_parted_at_every_byte(step):
    places = [*range(45), len(PLAIN) - 1, len(PLAIN)]
    for at in places:
        packed = gzip_member(PLAIN[:at]) + gzip_member(PLAIN[at:])
        assert decompress(packed, step) == (PLAIN, None), f"parted at byte {at}"


@pytest.mark.parametrize("step", [1, 1 << 16])
def test_empty_members_are_skipped(step):
    empty = gzip_member(b"")
    packed = empty * 3 + gzip_member(PLAIN[:100]) + empty * 50 + gzip_member(PLAIN[100:]) + empty * 3
    assert decompress(packed, step) == (PLAIN, None)


@pytest.mark.parametrize("step", [1, 1000, 1 << 17])
def test_data_after_the_last_member_is_ignored(step):
    garbage = [b"\0", b"\0" * 512, b"garbage", b"\x1f", b"\x1e\x8b", b"\x1f\x8c", b"\xff" * 70_000]
    for after in garbage:
        assert decompress(gzip_member(PLAIN) + after, step) == (PLAIN, None), after[:8]


@pytest.mark.parametrize("flags", [1, 2, 4, 8, 16, 31])
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_header_fields_are_skipped(flags, step):
    extra, name, comment = b"\x06\0ab\x02\0xy", b"name\0", b"comment\0"
    fields = extra * (flags >> 2 & 1) + name * (flags >> 3 & 1) + comment * (flags >> 4 & 1)
    assert decompress(gzip_member(PLAIN, flags=flags, fields=fields), step) == (PLAIN, None)


# ---- cut


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("step", [61, 1 << 16])
def test_everything_before_a_cut_at_every_byte_is_decompressed(level, step):
    packed = gzip_member(PLAIN, level)
    cuts = range(6, len(packed))
    assert len(cuts) > 400
    for cut in cuts:
        data, error = decompress(packed[:cut], step)
        assert data == GZIP.unpack(packed[:cut]), f"cut after {cut} bytes"
        assert error is not None, f"cut after {cut} bytes"
        assert error.truncated, f"cut after {cut} bytes"


@pytest.mark.parametrize("level", [0, 9])
def test_source_gives_whole_packets_before_a_cut(level):
    packed = gzip_member(PLAIN, level)
    cuts = [*range(2, 40), *range(40, len(packed), 41), *range(len(packed) - 10, len(packed))]
    for cut in cuts:
        result = outcome(packed[:cut])
        assert_truncated(result, GZIP.unpack(packed[:cut]))
        assert result.facts == FACTS[: len(result.facts)], f"cut after {cut} bytes"


@pytest.mark.parametrize("packets", [40, 300])
def test_output_that_the_decompressor_holds_back_is_given_at_every_cut(packets):
    """A byte of input may hold more output than one call may give."""
    packed = gzip_member(pcap_header() + pcap_record(bytes(1000)) * packets)
    cuts = range(20, len(packed), 1 if packets < 100 else 5)
    assert len(cuts) > 60
    for cut in cuts:
        data, error = decompress(packed[:cut])
        assert data == GZIP.unpack(packed[:cut]), f"cut after {cut} bytes"
        assert error is not None, f"cut after {cut} bytes"
        assert error.truncated, f"cut after {cut} bytes"


@pytest.mark.parametrize("block_size", [64, 100, 1000, 4096, 1 << 18, 1 << 20])
def test_output_that_the_decompressor_holds_back_reaches_blocks_of_any_size(block_size):
    packed = gzip_member(pcap_header() + pcap_record(bytes(1000)) * (300 if block_size > 4096 else 40))
    cuts = [*range(20, len(packed), 37), *range(len(packed) - 10, len(packed))]
    assert len(cuts) > 10
    for cut in cuts:
        assert_truncated(outcome(packed[:cut], block_size=block_size), GZIP.unpack(packed[:cut]))


def test_output_that_the_decompressor_holds_back_is_given_while_a_fifo_waits(fifo):
    """A packet that is there does not wait for the next bytes of the stream."""
    packed = gzip_member(pcap_header() + pcap_record(bytes(1000)) * 20)
    counts = [whole_packets(GZIP.unpack(packed[:cut])) for cut in range(len(packed))]
    cut = next(cut for cut in range(40, len(packed)) if counts[cut] > counts[cut - 1])
    fifo.write(packed[:cut])
    with PcapSource(fifo.path, block_size=1016) as source:
        for _ in range(counts[cut]):
            assert source.next_payload(timeout=0.5)[0] == bytes(1000)
        with pytest.raises(TimeoutError):
            source.next_payload(timeout=0)


@pytest.mark.parametrize("size", [*range(1, 12)])
def test_stream_cut_in_the_gzip_header_has_no_packets(size):
    with pytest.raises(TruncatedFileError) as raised:
        PcapSource(io.BytesIO(gzip_member(PLAIN)[:size]))
    assert raised.value.packet_index == 0


@pytest.mark.parametrize("size", range(1, 9))
def test_stream_cut_in_the_trailer_has_all_packets(size):
    result = outcome(gzip_member(PLAIN)[:-size])
    assert result.facts == FACTS
    assert_truncated(result, PLAIN)


@pytest.mark.parametrize("size", [2, 9, 12, 17])
def test_cut_member_after_the_last_is_truncated(size):
    assert_truncated(outcome(gzip_member(PLAIN) + gzip_member(b"")[:size]), PLAIN)


# ---- broken


@pytest.mark.parametrize("field", ["CRC", "length"])
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_wrong_trailer_is_an_error_after_all_packets(field, step):
    packed = gzip_member(PLAIN)
    crc, length = struct.unpack("<II", packed[-8:])
    trailer = struct.pack("<II", crc ^ (field == "CRC"), length ^ (field == "length"))
    facts, error = trickled(packed[:-8] + trailer, step)
    assert facts == FACTS
    assert type(error) is FileFormatError
    assert (error.packet_index, error.offset) == (len(FACTS), len(PLAIN))


def test_broken_member_after_the_last_is_an_error():
    facts, error = outcome(gzip_member(PLAIN) + b"\x1f\x8bgarbage")
    assert facts == FACTS
    assert type(error) is FileFormatError
    assert error.offset == len(PLAIN)


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("block_size", [100, 1 << 20])
def test_packets_before_a_broken_place_are_given(sample, level, block_size):
    """The error is that of the stream, or that of the capture if the broken bytes still decompress."""
    packed = gzip_member(sample.data[: sample.starts[70]], level)
    kinds = set()
    places = range(1000, len(packed) - 8, len(packed) // 4)
    assert len(places) > 2
    for at in places:
        broken = packed[:at] + bytes(byte ^ 0xFF for byte in packed[at : at + 16]) + packed[at + 16 :]
        plain = make_samples.inflated(broken)
        facts, error = outcome(broken, block_size=block_size)
        kinds.add(type(error))
        assert isinstance(error, FileFormatError), f"broken at {at}"
        assert error.packet_index == len(facts), f"broken at {at}"
        if "gzip" in error.reason:
            assert error.offset == len(plain), f"broken at {at}"
            assert len(facts) == whole_packets(plain), f"broken at {at}"
        before = whole_packets(GZIP.unpack(packed[:at]))
        assert len(facts) >= before > 0, f"broken at {at}"
        assert facts[:before] == sample.facts[:before], f"broken at {at}"
    assert FileFormatError in kinds


@pytest.mark.parametrize("step", [1, 1 << 16])
def test_broken_byte_anywhere_loses_nothing_before_it(step):
    plain = PLAIN[:700]
    packed = gzip_member(plain)
    places = range(6, len(packed)) if step > 1 else near(6, 10, 20, len(packed) // 2, len(packed) - 8)
    failed = 0
    for at in places:
        data, error = decompress(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :], step)
        assert data.startswith(GZIP.unpack(packed[:at])), f"byte {at} is broken"
        if error is None:
            assert data == plain, f"byte {at} is broken"  # it has no meaning, in the header
        failed += error is not None
    assert failed > len(places) - 10


def test_damage_is_found_in_a_few_steps(monkeypatch):
    """Not byte by byte, in a piece of 256 KiB."""
    steps = 0

    class Counted:
        def __init__(self, member):
            self._member = member

        def __getattr__(self, name):
            return getattr(self._member, name)

        def copy(self):
            return Counted(self._member.copy())

        def decompress(self, data, size):
            nonlocal steps
            steps += 1
            return self._member.decompress(data, size)

    class Library:
        def decompressobj(self, wbits):
            return Counted(zlib.decompressobj(wbits=wbits))

    monkeypatch.setattr(gzip_reader, "fastest_zlib", lambda: (Library(), (zlib.error,)))
    plain = random.Random(1).randbytes(1 << 18)
    packed = gzip_member(plain)
    broken = packed[:-8] + bytes(8)  # the trailer
    data, error = decompress(broken, 1 << 20)
    assert (data, "incorrect data check" in str(error)) == (plain, True)
    assert steps < 100


def test_source_with_a_broken_byte_gives_the_packets_before_it():
    packed = gzip_member(PLAIN)
    places = [*range(24), *range(24, len(packed), 41), *range(len(packed) - 10, len(packed))]
    failed = 0
    for at in places:
        facts, error = outcome(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
        before = whole_packets(GZIP.unpack(packed[:at]))
        assert facts[:before] == FACTS[:before], f"byte {at} is broken"
        if error is None:
            assert facts == FACTS, f"byte {at} is broken"
        else:
            assert isinstance(error, FileFormatError), f"byte {at} is broken"
            failed += 1
    assert failed > len(places) - 10


@pytest.mark.parametrize("method", [0, 7, 9])
def test_unknown_compression_method_is_an_error(method):
    packed = bytearray(gzip_member(PLAIN))
    packed[2] = method
    with pytest.raises(FileFormatError, match="gzip") as raised:
        PcapSource(io.BytesIO(bytes(packed)))
    assert not isinstance(raised.value, TruncatedFileError)
    assert raised.value.offset == 0


def test_everything_before_a_broken_member_is_given():
    pieces = [LARGE[at : at + 60_000] for at in range(0, len(LARGE), 60_000)]
    packed = [bytearray(gzip_member(piece)) for piece in pieces]
    packed[5][40:60] = b"\xff" * 20
    data, error = decompress(b"".join(packed))
    assert data.startswith(LARGE[:300_000])
    assert error is not None
    assert not error.truncated
