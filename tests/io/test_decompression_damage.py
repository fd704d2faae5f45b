"""Compressed capture files that are cut or broken, or that other data follows.

Sweeps over every byte run on the decompressors; sources are opened at the bytes where something ends.
"""

from __future__ import annotations

import bz2
import struct

import pytest

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import FileFormatError, PcapSource, TruncatedFileError
from support.compression import (
    BZIP2,
    FACTS,
    GZIP,
    KINDS,
    LARGE,
    LZ4,
    PLAIN,
    SKIPPABLE,
    XZ,
    decompress,
    every_framed,
    every_kind,
    lz4_frame,
    near,
    outcome,
    trickled,
    whole_packets,
    zstd,
)

SNIFFED = 6  # bytes that detection looks at


def assert_truncated(result, plain):
    """All whole packets in `plain` were given, then the stream was said to be cut after these bytes."""
    count = whole_packets(plain)
    assert result.facts == FACTS[:count]
    assert type(result.error) is TruncatedFileError
    assert (result.error.packet_index, result.error.offset) == (count, len(plain))


# ---- data after the last stream

GARBAGE = {
    "zero": b"\0",
    "zeros": b"\0" * 512,
    "zeros and a byte": b"\0" * 7 + b"x",
    "text": b"garbage behind it",
    "half of the gzip magic": b"\x1f",
    "first byte almost": b"\x1e\x8b",
    "second byte almost": b"\x1f\x8c",
    "half of the zstd magic": b"\x28",
    "much": b"\xff" * 70_000,
}


@every_kind
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("step", [1, 1 << 17])
def test_data_after_the_last_stream_is_ignored_or_an_error(kind, garbage, step):
    """As the format's own program does; xz accepts zeros, four at a time."""
    if step == 1 and len(garbage) > 1000:
        step = 10
    facts, error = trickled(kind.pack(PLAIN) + garbage, step)
    assert facts == FACTS
    if kind.ignores_garbage or (kind is XZ and not garbage.strip(b"\0")):
        assert error is None
    else:
        assert isinstance(error, FileFormatError)
        assert (error.packet_index, error.offset) == (len(FACTS), len(PLAIN))


@every_kind
def test_end_after_ignored_data_stays_the_end(kind, tmp_path):
    path = tmp_path / "compressed"
    path.write_bytes(kind.pack(PLAIN) + (b"garbage" if kind.ignores_garbage else b""))
    with PcapSource(path) as source:
        assert len(list(source)) == len(FACTS)
        for _ in range(2):
            with pytest.raises(EOFError):
                source.next_packet()


@every_kind
def test_broken_stream_after_the_last_is_an_error(kind, opened):
    """Data that starts with the magic has to be a stream."""
    facts, error = outcome(opened(kind.pack(PLAIN) + kind.magic + b"\xffgarbage" * 9))
    assert facts == FACTS
    assert isinstance(error, FileFormatError)
    assert error.offset == len(PLAIN)


@every_kind
def test_stream_after_the_last_may_be_cut_at_every_byte(kind):
    first, second = kind.pack(PLAIN), kind.pack(b"more")
    cuts = range(len(kind.magic), len(second))
    assert len(cuts) > 10
    for cut in cuts:
        data, error = decompress(first + second[:cut])
        assert data.startswith(PLAIN), f"cut after {cut} bytes"
        assert error is not None, f"cut after {cut} bytes"
        assert error.truncated, f"cut after {cut} bytes"


@every_framed
def test_skippable_frame_may_be_cut_at_every_byte(kind):
    cuts = range(4, len(SKIPPABLE))
    for cut in cuts:
        data, error = decompress(kind.pack(PLAIN) + SKIPPABLE[:cut])
        assert (data, error is not None and error.truncated) == (PLAIN, True), f"cut after {cut} bytes"
    assert_truncated(outcome(kind.pack(PLAIN) + SKIPPABLE[:-1]), PLAIN)


# ---- cut


@every_kind
@pytest.mark.parametrize("step", [13, 1 << 16])
def test_everything_before_a_cut_at_every_byte_is_given(kind, step):
    """All that the library gets out of the stream, then StreamError with `cut`."""
    packed = kind.pack(PLAIN)
    cuts = range(SNIFFED, len(packed))
    assert len(cuts) > 400
    for cut in cuts:
        data, error = decompress(packed[:cut], step)
        assert data == kind.unpack(packed[:cut]), f"cut after {cut} bytes"
        assert error is not None, f"cut after {cut} bytes"
        assert error.truncated, f"cut after {cut} bytes"


@every_kind
@pytest.mark.parametrize("place", ["start", "quarter", "half", "three quarters", "end"])
def test_source_of_a_cut_stream_gives_whole_packets_then_truncated(kind, place, opened):
    packed = kind.pack(PLAIN)
    quarter = len(packed) // 4
    cuts = {
        "start": range(SNIFFED, 24),
        "quarter": near(quarter),
        "half": near(2 * quarter),
        "three quarters": near(3 * quarter),
        "end": range(len(packed) - 13, len(packed)),
    }[place]
    for cut in cuts:
        assert_truncated(outcome(opened(packed[:cut])), kind.unpack(packed[:cut]))


@every_kind
def test_source_of_a_stream_cut_in_the_magic_is_an_error(kind, opened):
    packed = kind.pack(PLAIN)
    for cut in range(1, SNIFFED):
        facts, error = outcome(opened(packed[:cut]))
        assert facts == []
        assert type(error) is TruncatedFileError, f"cut after {cut} bytes"
        assert error.packet_index == 0, f"cut after {cut} bytes"


@every_kind
def test_capture_that_is_cut_in_a_whole_stream_has_the_error_of_the_capture(kind, opened):
    facts, error = outcome(opened(kind.pack(PLAIN[:-3])))
    assert facts == FACTS[:-1]
    assert type(error) is TruncatedFileError
    assert (error.packet_index, error.offset) == (11, len(PLAIN) - 16 - len(FACTS[-1][2]))


@every_kind
def test_everything_before_a_cut_among_many_blocks_is_given(kind, opened):
    packed = bz2.compress(LARGE, 1) if kind is BZIP2 else kind.pack(LARGE)
    whole, error = outcome(LARGE)
    assert error is None
    cuts = range(100, len(packed), len(packed) // 7)
    assert len(cuts) >= 7
    for cut in cuts:
        plain = kind.unpack(packed[:cut])
        assert decompress(packed[:cut]).data == plain, f"cut after {cut} bytes"
        facts, error = outcome(opened(packed[:cut]))
        assert facts == whole[: whole_packets(plain)], f"cut after {cut} bytes"
        assert type(error) is TruncatedFileError, f"cut after {cut} bytes"


@every_framed
def test_everything_before_a_cut_in_an_uncompressed_block_is_given(kind):
    """Of a block that is stored as it is, the part that is there is given as well."""
    noise = [make_samples.noise(size, str(size)) for size in (10_000, 30_000)]
    plain = pcap_header() + pcap_record(noise[0]) + pcap_record(noise[1])
    packed = lz4_frame(plain, store_size=False) if kind is LZ4 else zstd(plain)
    assert len(packed) > len(plain)
    facts, error = outcome(packed[:20_000])
    assert [payload for _, _, payload in facts] == [noise[0]]
    assert type(error) is TruncatedFileError


# ---- broken


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not GZIP], ids=lambda kind: kind.name)
def test_broken_byte_anywhere_gives_an_error_or_the_right_data(kind):
    """Of gzip, test_gzip says more."""
    packed = kind.pack(PLAIN)
    places = range(SNIFFED, len(packed))
    failed = 0
    for at in places:
        data, error = decompress(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
        if error is None:
            assert data == PLAIN, f"byte {at} is broken"
        failed += error is not None
    assert failed > len(places) - 20


@every_kind
def test_source_of_a_stream_with_a_broken_byte_gives_an_error_or_the_right_packets(kind, opened):
    """At the start, where broken bytes make another format of it, in the middle and in checksums."""
    packed = kind.pack(PLAIN)
    places = [*range(16), *near(len(packed) // 2), *range(len(packed) - 12, len(packed))]
    failed = 0
    for at in places:
        facts, error = outcome(opened(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :]))
        if error is None:
            assert facts == FACTS, f"byte {at} is broken"
        else:
            assert isinstance(error, FileFormatError), f"byte {at} is broken"
            failed += 1
    assert failed > len(places) // 2


@every_framed
def test_everything_before_a_broken_block_is_given(kind, opened):
    pieces = [LARGE[at : at + 60_000] for at in range(0, len(LARGE), 60_000)]
    assert len(pieces) > 7
    packed = [bytearray(kind.pack(piece)) for piece in pieces]
    packed[5][40:60] = b"\xff" * 20
    facts, error = outcome(opened(b"".join(packed)))
    assert type(error) is FileFormatError
    before = whole_packets(LARGE[:300_000])
    assert len(facts) >= before
    assert facts[:before] == outcome(LARGE).facts[:before]


@pytest.mark.parametrize("kind", [XZ, BZIP2], ids=["xz", "bzip2"])
def test_at_most_16_kib_before_a_broken_place_are_lost(kind):
    """Their libraries do not give what a failing call has made."""
    noise = make_samples.noise(1000, "x")
    good = pcap_header() + b"".join(pcap_record(noise[i % 900 :]) for i in range(1000))
    packed = bz2.compress(good, 1) if kind is BZIP2 else kind.pack(good)
    facts, error = outcome(packed + kind.pack(b"more")[:-12] + b"\xff" * 12)
    assert isinstance(error, FileFormatError)
    assert len(facts) == 1000
    at = len(packed) * 3 // 4
    broken = packed[:at] + b"\xff" * 40 + packed[at + 40 :]
    facts, error = outcome(broken)
    assert isinstance(error, FileFormatError)
    before = kind.unpack(packed[:at])
    assert whole_packets(before) - len(facts) <= (1 << 14) // 116 + 1
    assert len(facts) > 0
    assert len(before) - len(decompress(broken).data) <= 1 << 14


@pytest.mark.parametrize("size", [70_000, 0x7FFFFFFF])
def test_lz4_block_with_a_length_above_the_maximum_is_an_error(size):
    packed = lz4_frame(PLAIN, store_size=False)
    facts, error = outcome(packed[:7] + struct.pack("<I", size) + bytes(100_000))
    assert facts == []
    assert str(size) in error.reason
    assert "exceeds the maximum" in error.reason
