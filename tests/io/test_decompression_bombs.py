"""Streams of some kilobytes that expand to megabytes: they are read in bounded memory."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from make_samples import gzip_member, pcap_header, pcap_record
from slimcap import FileFormatError, PcapSource
from slimcap.io.compression.detect import SNIFF_LEN, decompressor
from support.compression import BZIP2, GZIP, every_kind

BOMB = """if True:
    import io, resource, sys, slimcap
    if sys.argv[2] == "zlib":
        sys.modules["zlib_ng"] = None
    file = io.BytesIO(open(sys.argv[1], "rb").read()) if sys.argv[2] else sys.argv[1]
    def used():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with slimcap.PcapSource(file) as source:
        count = len(source.next_batch())
        before = used()
        for batch in source.batches():
            assert (batch["cap_len"] == 0).all()
            count += len(batch)
    print(count, used() - before)
"""


@every_kind
def test_decompressor_gives_pieces_of_bounded_size(kind):
    """However much one piece of the input expands to."""
    packed = io.BytesIO(kind.pack(bytes(2 << 20)))
    reader = decompressor(packed.read(SNIFF_LEN), packed.read)
    sizes = []
    while piece := reader.read():
        sizes.append(len(piece))
    assert sum(sizes) == 2 << 20
    assert max(sizes) <= 1 << 18


def assert_bounded(path, library, limit):
    """Read it by path, or with `library` as a file object.

    64 MiB of packets without content are read to the end in less than `limit` KiB more.
    """
    command = [sys.executable, "-c", BOMB, str(path), library]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, text=True)
    assert done.returncode == 0, done.stderr
    count, kilobytes = map(int, done.stdout.split())
    assert count == 4 << 20
    assert kilobytes < limit


@pytest.mark.slow
@every_kind
def test_bomb_is_read_in_bounded_memory(kind, tmp_path):
    path = tmp_path / "bomb"
    record = pcap_record(b"", orig_len=60)
    if kind is BZIP2:  # in streams of 4 MiB: compressing repetitive data takes it seconds for each
        path.write_bytes(kind.pack(pcap_header()) + kind.pack(record * (1 << 18)) * 16)
    else:
        path.write_bytes(kind.pack(pcap_header() + record * (4 << 20)))
    assert path.stat().st_size < 1 << 19
    assert_bounded(path, "", 32 << 10)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["zlib-ng", "zlib"])
def test_gzip_bomb_is_read_in_less_memory_without_read_ahead(library, tmp_path):
    if library == "zlib-ng":
        pytest.importorskip("zlib_ng", exc_type=ImportError)
    data = GZIP.pack(pcap_header() + pcap_record(b"", orig_len=60) * (4 << 20))
    assert len(data) < 1 << 18
    path = tmp_path / "bomb"
    path.write_bytes(data)
    assert_bounded(path, library, 16 << 10)


def test_record_length_above_the_maximum_ends_a_bomb_at_once():
    data = gzip_member(pcap_header() + pcap_record(b"", cap_len=1 << 30) + bytes(20 << 20))
    with PcapSource(io.BytesIO(data)) as source:
        with pytest.raises(FileFormatError, match=str(1 << 30)):
            source.next_batch()
        assert source.progress[0] <= len(data)
