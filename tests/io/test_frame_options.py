"""Options of compressors: streams with and without checksums, sizes and linked blocks are read."""

from __future__ import annotations

import lzma

import pytest

import make_samples
from make_samples import gzip_member, pcap_header, pcap_record
from support.compression import FACTS, LARGE, PLAIN, XZ, lz4_frame, outcome, trickled, zstd

RUNS = PLAIN + pcap_record(bytes(250_000)) * 4
NOISE = pcap_header() + pcap_record(make_samples.noise(200_000, "frames")) * 3
DATA = {"small": PLAIN, "large": LARGE, "runs": RUNS, "noise": NOISE}
every_data = pytest.mark.parametrize("data", DATA.values(), ids=DATA)

ZSTD_OPTIONS = {
    "no checksum": {"write_checksum": False},
    "no content size": {"write_content_size": False},
    "checksum": {"write_checksum": True},
    "level 19": {"level": 19},
    "negative level": {"level": -5},
}
LZ4_OPTIONS = {
    "block checksums": {"block_checksum": True},
    "no checksum": {"content_checksum": False},
    "independent blocks": {"block_linked": False},
    "4 MiB blocks": {"block_size": 7},
    "256 KiB blocks": {"block_size": 5},
    "content size": {"store_size": True},
    "no content size": {"store_size": False},
}


@pytest.mark.parametrize("options", ZSTD_OPTIONS.values(), ids=ZSTD_OPTIONS)
@every_data
def test_zstd_frame_with_any_option_is_read(options, data, opened):
    assert outcome(opened(zstd(data, **options))) == outcome(data)


def test_zstd_frame_flushed_in_pieces_is_read(opened):
    zstandard = pytest.importorskip("zstandard")
    compressor = zstandard.ZstdCompressor().compressobj()
    packed = b"".join(
        compressor.compress(PLAIN[at : at + 50]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(PLAIN), 50)
    )
    assert outcome(opened(packed + compressor.flush())) == (FACTS, None)


@pytest.mark.parametrize("options", LZ4_OPTIONS.values(), ids=LZ4_OPTIONS)
@every_data
def test_lz4_frame_with_any_option_is_read(options, data, opened):
    assert outcome(opened(lz4_frame(data, **options))) == outcome(data)


XZ_CHECKS = {
    "no check": lzma.CHECK_NONE,
    "CRC32": lzma.CHECK_CRC32,
    "CRC64": lzma.CHECK_CRC64,
    "SHA256": lzma.CHECK_SHA256,
}


@pytest.mark.parametrize("check", XZ_CHECKS.values(), ids=XZ_CHECKS)
@pytest.mark.parametrize("padding", [0, 4, 8, 512])
def test_xz_stream_with_any_check_and_padding_is_read(check, padding, opened):
    packed = lzma.compress(PLAIN[:99], check=check) + bytes(padding) + XZ.pack(PLAIN[99:]) + bytes(padding)
    assert outcome(opened(packed)) == (FACTS, None)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@every_data
def test_gzip_stream_of_any_level_is_read(level, data, opened):
    assert outcome(opened(gzip_member(data, level))) == outcome(data)


@pytest.mark.parametrize("flags", range(32))
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_gzip_header_fields_are_skipped(flags, step):
    """RFC 1952, section 2.3.1; the flags are text, CRC of the header, extra field, name and comment."""
    fields = b""
    if flags & 4:
        fields += b"\x06\0ab\x02\0xy"
    if flags & 8:
        fields += b"name\0"
    if flags & 16:
        fields += b"comment\0"
    assert trickled(gzip_member(PLAIN, flags=flags, fields=fields), step) == (FACTS, None)
