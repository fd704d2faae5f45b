"""Compressed capture files of every kind, detected by content: whole, in pieces and in several streams."""

from __future__ import annotations

import io
import sys
import zlib

import pytest

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import FileFormatError, PcapSource, TruncatedFileError, open_file, read
from slimcap.io.compression.detect import decompressor
from support.compression import (
    FACTS,
    GZIP,
    KINDS,
    LARGE,
    PLAIN,
    SKIPPABLE,
    ZSTD,
    decompress,
    every_framed,
    every_kind,
    lz4_frame,
    near,
    outcome,
    trickled,
    zstd,
)
from support.peers import run_peer

# ---- detection


@every_kind
def test_source_tells_format_and_compression(kind, opened):
    with PcapSource(opened(kind.pack(make_samples.PCAPNG["empty.pcapng"]()))) as source:
        assert (source.format, source.compression) == ("pcapng", kind.name)
    with PcapSource(opened(kind.pack(PLAIN))) as source:
        assert (source.format, source.compression) == ("pcap", kind.name)


def test_plain_file_has_no_compression(opened):
    with PcapSource(opened(PLAIN)) as source:
        assert (source.format, source.compression) == ("pcap", None)


@every_framed
def test_compression_after_a_skippable_frame_is_that_of_the_next_frame(kind, opened):
    with PcapSource(opened(SKIPPABLE + kind.pack(PLAIN))) as source:
        assert source.compression == kind.name


@every_kind
@pytest.mark.parametrize("name", ["plain", "capture.pcap", "capture.txt.pcap", "capture.{}"])
def test_name_of_the_file_does_not_matter(tmp_path, kind, name):
    path = tmp_path / name.format(kind.name)
    path.write_bytes(kind.pack(PLAIN))
    assert outcome(path) == (FACTS, None)
    path.write_bytes(PLAIN)
    assert outcome(path) == (FACTS, None)


@pytest.mark.parametrize("outer", KINDS, ids=[kind.name for kind in KINDS])
@pytest.mark.parametrize("inner", KINDS, ids=[kind.name for kind in KINDS])
def test_only_one_layer_is_decompressed(outer, inner):
    with pytest.raises(FileFormatError, match="magic"):
        PcapSource(io.BytesIO(outer.pack(inner.pack(PLAIN))))


def test_plain_data_has_no_decompressor():
    assert decompressor(PLAIN[:6], io.BytesIO(PLAIN[6:]).read) is None


# ---- whole files


@pytest.mark.parametrize("name", ["mixed.pcap.gz", "mixed_members.pcap.gz", "max_caplen.pcap.gz"])
@pytest.mark.parametrize("block_size", [64, 1000, 1 << 20])
def test_compressed_sample_is_read_from_path_and_file_object(sample_of, drain, name, block_size):
    sample = sample_of(name)
    data = sample.path.read_bytes()
    with PcapSource(sample.path, block_size=block_size) as source:
        assert drain(source).facts == sample.facts
        assert source.progress == (len(data), len(data))
    with PcapSource(io.BytesIO(data), block_size=block_size) as source:
        assert drain(source).facts == sample.facts
        assert source.progress == (len(data), None)


@every_kind
def test_output_of_the_program_is_read(kind, opened, need_tool):
    done = run_peer(need_tool(kind.program), "-c", stdin=LARGE)
    facts, error = outcome(opened(done.stdout))
    assert error is None
    assert facts == outcome(LARGE).facts
    assert len(facts) == 195 * 13


@every_kind
@pytest.mark.parametrize("name", ["interfaces.pcapng", "sections.pcapng", "mixed.pcapng", "simple.pcapng"])
def test_pcapng_can_be_compressed(kind, opened, name):
    data = make_samples.PCAPNG[name]()
    plain = outcome(data)
    assert len(plain.facts) > 5
    assert outcome(opened(kind.pack(data))) == plain


@every_kind
def test_read_of_a_compressed_file_equals_read_of_the_plain_one(tmp_path, sample, kind):
    path = tmp_path / "compressed"
    path.write_bytes(kind.pack(sample.data))
    plain, packed = read(sample.path), read(path)
    assert packed.data.tobytes() == plain.data.tobytes()
    assert packed.records.tolist() == plain.records.tolist()


@every_kind
@pytest.mark.parametrize("step", [1, 2, 3, 7, 4096])
def test_input_can_come_in_pieces_of_any_size(kind, step):
    assert trickled(kind.pack(PLAIN), step) == (FACTS, None)


@every_kind
def test_decompressor_accepts_input_in_pieces_of_any_size(kind):
    packed = kind.pack(PLAIN)
    sizes = [*range(1, 40), *near(64, 100, 128, 256, 512, 1000, len(packed))]
    for size in sizes:
        assert decompress(packed, size) == (PLAIN, None), f"in pieces of {size} bytes"


@every_kind
@pytest.mark.parametrize("block_size", [64, 65, 100, 1000, 1 << 20])
def test_block_size_does_not_change_the_packets(kind, opened, block_size):
    assert outcome(opened(kind.pack(PLAIN)), block_size=block_size) == (FACTS, None)


@every_kind
def test_data_that_expands_a_lot_is_read(kind, opened):
    """One call of the decompressor may give no more than a part of it: 3 MB of zeros."""
    plain = pcap_header() + pcap_record(bytes(200_000)) * 15
    facts, error = outcome(opened(kind.pack(plain)))
    assert error is None
    assert [data for _, _, data in facts] == [bytes(200_000)] * 15


# ---- several streams


@every_kind
def test_streams_can_be_parted_at_every_byte(kind):
    """Of the file header, the first record header and packet, and at the end."""
    places = [*range(120), *range(len(PLAIN) - 5, len(PLAIN) + 1)]
    for at in places:
        packed = kind.pack(PLAIN[:at]) + kind.pack(PLAIN[at:])
        assert decompress(packed) == (PLAIN, None), f"parted at byte {at}"


every_place = pytest.mark.parametrize(
    "at", [0, 1, 3, 4, 5, 23, 24, 25, 30, 40, 41, 100, len(PLAIN) - 1, len(PLAIN)]
)


@every_kind
@every_place
def test_two_streams_are_read_as_one(kind, at, opened):
    assert outcome(opened(kind.pack(PLAIN[:at]) + kind.pack(PLAIN[at:]))) == (FACTS, None)


@every_kind
@every_place
def test_two_streams_in_small_pieces_are_read_as_one(kind, at):
    packed = kind.pack(PLAIN[:at]) + kind.pack(PLAIN[at:])
    for step in (1, 7):
        assert trickled(packed, step) == (FACTS, None), step


@every_kind
def test_streams_of_one_byte_are_joined(kind):
    packed = [kind.pack(bytes([value])) for value in range(256)]
    data = b"".join(packed[byte] for byte in PLAIN[:300]) + kind.pack(PLAIN[300:])
    assert outcome(data) == (FACTS, None)


@every_kind
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_empty_streams_are_skipped(kind, step):
    empty = kind.pack(b"")
    data = empty * 3 + kind.pack(PLAIN[:100]) + empty * 20 + kind.pack(PLAIN[100:]) + empty
    assert trickled(data, step) == (FACTS, None)


@every_kind
@pytest.mark.parametrize("count", [1, 5])
def test_file_of_empty_streams_raises_truncated_file_error(kind, opened, count):
    facts, error = outcome(opened(kind.pack(b"") * count))
    assert (facts, type(error), error.offset) == ([], TruncatedFileError, 0)
    assert "empty" in error.reason


@every_framed
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_skippable_frames_are_skipped(kind, step):
    data = SKIPPABLE + kind.pack(PLAIN[:50]) + SKIPPABLE * 3 + kind.pack(PLAIN[50:]) + SKIPPABLE
    assert trickled(data, step) == (FACTS, None)


@every_framed
def test_large_skippable_frames_are_skipped(kind):
    skippable = b"\x50\x2a\x4d\x18" + (3_000_000).to_bytes(4, "little") + bytes(3_000_000)
    assert outcome(skippable + kind.pack(PLAIN) + skippable) == (FACTS, None)


# ---- FIFOs


def flushing_compressor(kind):
    """Return a callable that compresses data and flushes; and the end of the stream."""
    if kind is GZIP:
        deflate = zlib.compressobj(wbits=31)
        return lambda data: deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH), deflate.flush
    if kind is ZSTD:
        zstandard = pytest.importorskip("zstandard")
        compressor = zstandard.ZstdCompressor().compressobj()
        block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return lambda data: compressor.compress(data) + compressor.flush(block), compressor.flush
    frame = pytest.importorskip("lz4.frame").LZ4FrameCompressor(auto_flush=True)
    begun = [frame.begin()]
    return lambda data: (begun.pop() if begun else b"") + frame.compress(data), frame.flush


@pytest.mark.parametrize("kind", KINDS[:3], ids=[kind.name for kind in KINDS[:3]])
def test_fifo_gives_packets_as_soon_as_they_are_flushed(kind, fifo):
    """Before the stream ends."""
    compress, end = flushing_compressor(kind)
    fifo.write(compress(pcap_header()))
    with PcapSource(fifo.path) as source:
        for number in range(5):
            with pytest.raises(TimeoutError):
                source.next_packet(timeout=0)
            data = bytes([number]) * 60
            fifo.write(compress(pcap_record(data)))
            assert source.next_payload(timeout=5)[0] == data
        fifo.write(end())
        fifo.close_soon()
        with pytest.raises(EOFError):
            source.next_packet(timeout=10)


# ---- packages that are not installed


@pytest.mark.parametrize(
    ("module", "extra", "pack"),
    [
        ("lz4.frame", "lz4", lz4_frame),
        ("zstandard", "zstd", zstd),
        ("zstandard", "zstd", lambda data: SKIPPABLE + zstd(data)),
    ],
    ids=["lz4", "zstd", "zstd after a skippable frame"],
)
def test_import_error_names_the_missing_extra(monkeypatch, module, extra, pack):
    packed = pack(PLAIN)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(ImportError, match=rf"slimcap\[{extra}\]"):
        open_file(io.BytesIO(packed))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the standard library has zstd from 3.14 on")
def test_zstd_of_the_standard_library_is_used_without_zstandard(monkeypatch):
    pytest.importorskip("compression.zstd", reason="this Python was built without it")
    packed = zstd(PLAIN)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert outcome(packed) == (FACTS, None)
