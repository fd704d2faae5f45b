"""Writers with compression: by ending, by level, flushed, and on files that fail."""

from __future__ import annotations

import errno
import io
import os
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slimcap import RECORD_DTYPE, Batch, Link, PcapNgWriter, PcapSource, PcapWriter, concat, open_file, read
from support.peers import run_peer
from support.writing import open_descriptors, written

WRITERS = [PcapWriter, PcapNgWriter]


ENDINGS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lz4": "lz4", ".bz2": "bzip2"}


LEVELS = {"gzip": (0, 9), "zstd": (-7, 22), "xz": (0, 9), "lz4": (0, 16), "bzip2": (1, 9)}


@pytest.fixture(params=WRITERS, ids=["pcap", "pcapng"])
def writer_of(request):
    return request.param


@pytest.fixture
def batch(data_path):
    return read(data_path / "mixed_ns.pcap")


@pytest.mark.parametrize("ending", ENDINGS)
def test_path_suffix_chooses_the_compression(writer_of, ending, batch, tmp_path):
    path = tmp_path / f"out.pcap{ending.upper()}"
    with writer_of(path) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    wanted = written(writer_of, batch, batch)
    path = path.rename(tmp_path / f"out{ending}")
    assert writer.bytes_written == len(wanted) > path.stat().st_size
    with open_file(path) as source:
        assert len(concat(source.batches())) == 2 * len(batch)
        assert source.compression == ENDINGS[ending]


@pytest.mark.parametrize("ending", ENDINGS)
def test_compression_programs_decompress_the_file(writer_of, ending, batch, tmp_path, need_tool):
    path = tmp_path / f"out{ending}"
    with writer_of(path) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    assert run_peer(need_tool(ENDINGS[ending]), "-dc", path).stdout == written(writer_of, batch, batch)


@pytest.mark.parametrize("kind", ["gzip", "xz", "lz4", "bzip2", pytest.param("zstd", marks=pytest.mark.slow)])
def test_lowest_and_highest_level_are_accepted(writer_of, kind, batch):
    for level in LEVELS[kind]:
        file = io.BytesIO()
        with writer_of(file, compression=kind, level=level) as writer:
            writer.write_batch(batch)
        with PcapSource(io.BytesIO(file.getvalue())) as source:
            assert len(concat(source.batches())) == len(batch)
            assert source.compression == kind


@pytest.mark.parametrize("kind", LEVELS)
def test_levels_out_of_range_raise(writer_of, kind):
    for level in (LEVELS[kind][0] - 1, LEVELS[kind][1] + 1):
        with pytest.raises(ValueError, match=f"level of {kind} must be"):
            writer_of(io.BytesIO(), compression=kind, level=level)


def test_compression_none_and_file_objects_are_written_uncompressed(writer_of, batch, tmp_path):
    path = tmp_path / "out.gz"
    with writer_of(path, compression=None) as writer:
        writer.write_batch(batch)
    assert path.read_bytes() == written(writer_of, batch)
    with open(tmp_path / "named.gz", "wb") as file, writer_of(file) as writer:
        writer.write_batch(batch)
    assert (tmp_path / "named.gz").read_bytes() == written(writer_of, batch)


def test_wrong_compressions_raise(writer_of, tmp_path):
    with pytest.raises(ValueError, match="compression must be one of gzip, zstd"):
        writer_of(tmp_path / "out", compression="zip")
    with pytest.raises(ValueError, match="level 3 was given, but no compression"):
        writer_of(tmp_path / "out", level=3)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "package"), [("zstd", "zstandard"), ("lz4", "lz4.frame")])
def test_missing_packages_raise(kind, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(ImportError, match=rf"pip install 'slimcap\[{kind}\]'"):
        PcapWriter(tmp_path / "out", compression=kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", LEVELS)
def test_flushed_packets_can_be_read(writer_of, kind, batch):
    file = io.BytesIO()
    with writer_of(file, compression=kind) as writer:
        for number in range(1, 4):
            writer.write_batch(batch)
            writer.flush()
            writer.flush()
            got = 0
            with PcapSource(io.BytesIO(file.getvalue())) as source:
                try:
                    for one in source.batches():
                        got += len(one)
                except ValueError:
                    assert kind in ("gzip", "zstd")  # the stream does not end yet
            assert got == number * len(batch)


@pytest.mark.parametrize("kind", LEVELS)
def test_failing_file_objects_lose_and_repeat_nothing(writer_of, kind, batch):
    """Nothing is lost or written twice."""
    whole = io.BytesIO()
    with writer_of(whole, compression=kind) as writer:
        for _ in range(4):
            writer.write_batch(batch)
            writer.flush()

    class Fails:
        def __init__(self):
            self.content, self.calls, self.failing = bytearray(), 0, False

        def write(self, data):
            self.calls += 1
            if self.failing and self.calls % 3 == 2:
                raise OSError(errno.ENOSPC, "full")
            part = bytes(data[: len(data) // 2 + 1])
            self.content += part
            return len(part)

    file = Fails()
    writer = writer_of(file, compression=kind)
    file.failing = True
    failed = 0

    def insist(call):
        nonlocal failed
        while True:
            try:
                return call()
            except OSError:
                failed += 1
                call = writer.flush

    for _ in range(4):
        insist(lambda: writer.write_batch(batch))
        insist(writer.flush)
    file.failing = False
    writer.close()
    assert failed > 3
    assert bytes(file.content) == whole.getvalue()


def test_full_disk_raises_and_leaks_no_descriptor(writer_of, batch):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    before = open_descriptors()
    with (
        pytest.raises(OSError, match="/dev/full") as info,
        writer_of("/dev/full", compression="gzip") as writer,
    ):
        writer.write_batch(batch)
    assert info.value.errno == errno.ENOSPC
    assert open_descriptors() == before


# ---- any batch


PACKETS = st.lists(
    st.tuples(
        st.integers(0, 2**32 * 10**9 - 1),
        st.binary(max_size=40),
        st.integers(0, 2**20),
        st.sampled_from([0, 1, 2, 3, 4, 255]),
    ),
    max_size=20,
)


@given(packets=PACKETS, writer_of=st.sampled_from(WRITERS), kind=st.sampled_from([None, *LEVELS]))
def test_any_batch_is_read_back_unchanged(packets, writer_of, kind):
    """Except for a last packet whose record is 16 zeros, as in a file that was not written to its end."""
    assume(writer_of is PcapNgWriter or packets[-1:] == [] or any(packets[-1][:3]))
    records = np.zeros(len(packets), RECORD_DTYPE)
    for row, (timestamp, payload, cut, pkt_type) in zip(records, packets, strict=True):
        row["timestamp"], row["pkt_type"] = timestamp, pkt_type
        row["cap_len"], row["total_len"] = len(payload), len(payload) + cut
    records["offset"] = np.cumsum([0, *records["cap_len"].tolist()])[:-1]
    batch = Batch(records, b"".join(payload for _, payload, _, _ in packets), (Link("a", 0, 1),))
    file = io.BytesIO()
    with writer_of(file, compression=kind) as writer:
        writer.write_batch(batch)
    again = read(io.BytesIO(file.getvalue()))
    for name in ("timestamp", "cap_len", "total_len"):
        assert again[name].tolist() == batch[name].tolist()
    assert [bytes(packet.payload) for packet in again] == [payload for _, payload, _, _ in packets]
    if writer_of is PcapNgWriter:
        assert again["pkt_type"].tolist() == batch["pkt_type"].tolist()
