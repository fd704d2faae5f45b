"""Where writers' bytes go: compressed, and whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat as modes
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcap import RECORD_DTYPE, Batch, Link, PcapNgWriter, PcapSource, PcapWriter, concat, open_file, read

WRITERS = [PcapWriter, PcapNgWriter]
ENDINGS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lz4": "lz4", ".bz2": "bzip2"}
LEVELS = {"gzip": (0, 9), "zstd": (-7, 22), "xz": (0, 9), "lz4": (0, 16), "bzip2": (1, 9)}


@pytest.fixture(params=WRITERS, ids=["pcap", "pcapng"])
def writer_of(request):
    return request.param


@pytest.fixture
def batch(data_path):
    return read(data_path / "mixed_ns.pcap")


def plain(writer_of, *batches):
    file = io.BytesIO()
    with writer_of(file) as writer:
        for one in batches:
            writer.write_batch(one)
    return file.getvalue()


def unpacked(path):
    tool = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lz4": "lz4", ".bz2": "bzip2"}[path.suffix]
    return subprocess.run([tool, "-dc", str(path)], capture_output=True, timeout=60, check=True).stdout


# ---- compression


@pytest.mark.parametrize("ending", ENDINGS)
def test_by_the_ending(writer_of, ending, batch, tmp_path, need_tool):
    need_tool(ENDINGS[ending])
    path = tmp_path / f"out.pcap{ending.upper()}"
    with writer_of(path) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    wanted = plain(writer_of, batch, batch)
    path = path.rename(tmp_path / f"out{ending}")
    assert writer.bytes_written == len(wanted) > path.stat().st_size
    assert unpacked(path) == wanted
    with open_file(path) as source:
        assert len(concat(source.batches())) == 2 * len(batch)
        assert source.compression == ENDINGS[ending]


@pytest.mark.parametrize("kind", LEVELS)
def test_levels(writer_of, kind, batch):
    for level in LEVELS[kind]:
        file = io.BytesIO()
        with writer_of(file, compression=kind, level=level) as writer:
            writer.write_batch(batch)
        with PcapSource(io.BytesIO(file.getvalue())) as source:
            assert len(concat(source.batches())) == len(batch)
            assert source.compression == kind
    for level in (LEVELS[kind][0] - 1, LEVELS[kind][1] + 1):
        with pytest.raises(ValueError, match=f"levels of {kind} are from"):
            writer_of(io.BytesIO(), compression=kind, level=level)


def test_nothing_is_compressed_unasked(writer_of, batch, tmp_path):
    path = tmp_path / "out.gz"
    with writer_of(path, compression=None) as writer:
        writer.write_batch(batch)
    assert path.read_bytes() == plain(writer_of, batch)
    with open(tmp_path / "named.gz", "wb") as file, writer_of(file) as writer:
        writer.write_batch(batch)
    assert (tmp_path / "named.gz").read_bytes() == plain(writer_of, batch)


def test_wrong_compressions(writer_of, tmp_path):
    with pytest.raises(ValueError, match="compression is one of gzip, zstd"):
        writer_of(tmp_path / "out", compression="zip")
    with pytest.raises(ValueError, match="level 3 of no compression"):
        writer_of(tmp_path / "out", level=3)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "package"), [("zstd", "zstandard"), ("lz4", "lz4.frame")])
def test_packages_that_are_missing(kind, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(ImportError, match=rf"pip install 'slimcap\[{kind}\]'"):
        PcapWriter(tmp_path / "out", compression=kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", LEVELS)
def test_what_was_flushed_can_be_read(writer_of, kind, batch):
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
                    assert kind in ("gzip", "zstd")  # the stream goes on
            assert got == number * len(batch)


@pytest.mark.parametrize("kind", LEVELS)
def test_file_objects_that_fail(writer_of, kind, batch):
    """Nothing is lost, and nothing is written twice."""
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


def test_a_full_disk(writer_of, batch):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    before = len(os.listdir("/proc/self/fd"))
    with (
        pytest.raises(OSError, match="/dev/full") as info,
        writer_of("/dev/full", compression="gzip") as writer,
    ):
        writer.write_batch(batch)
    assert info.value.errno == errno.ENOSPC
    assert len(os.listdir("/proc/self/fd")) == before


# ---- whole, or not there


@pytest.mark.parametrize("ending", ["", *ENDINGS])
def test_a_file_gets_its_name_at_the_end(writer_of, ending, batch, tmp_path):
    path = tmp_path / f"out{ending}"
    path.write_bytes(b"older")
    writer = writer_of(path, atomic=True)
    writer.write_batch(batch)
    writer.flush()
    assert path.read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 2
    assert writer.name == str(path)
    writer.close()
    assert list(tmp_path.iterdir()) == [path]
    assert len(read(path)) == len(batch)
    mask = os.umask(0)
    os.umask(mask)
    assert modes.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_an_exception_leaves_what_was_there(writer_of, batch, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"older")
    writer = writer_of(path, atomic=True)
    with contextlib.suppress(KeyError), writer:
        writer.write_batch(batch)
        raise KeyError
    assert writer.closed
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


def test_discard(writer_of, batch, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for options in ({"atomic": True}, {"atomic": True, "compression": "gzip"}):
        writer = writer_of(tmp_path / "out", **options)
        writer.write_batch(batch)
        writer.discard()
        writer.discard()
        writer.close()
        assert writer.closed
        assert not list(tmp_path.iterdir())
    writer = writer_of(tmp_path / "out", atomic=True)
    del writer  # nobody said that it is whole
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before


def test_discard_of_a_file_that_is_not_atomic(writer_of, batch, tmp_path):
    writer = writer_of(tmp_path / "out")
    writer.write_batch(batch)
    writer.write_packet(batch[0])
    writer.discard()
    assert (tmp_path / "out").read_bytes() == plain(writer_of, batch)


CRASH = """
import os, sys, slimcap
writer = slimcap.PcapWriter(sys.argv[2], atomic=True)
writer.write_batch(slimcap.read(sys.argv[1]))
writer.flush()
os._exit(3)
"""


def test_a_crash_leaves_no_file_of_that_name(data_path, tmp_path):
    path = tmp_path / "out"
    sample = str(data_path / "mixed.pcap")
    done = subprocess.run([sys.executable, "-P", "-c", CRASH, sample, str(path)], timeout=60, check=False)
    assert done.returncode == 3
    assert not path.exists()


def test_what_cannot_be_atomic(writer_of, tmp_path, fifo):
    for file in ("-", io.BytesIO()):
        with pytest.raises(ValueError, match="atomic"):
            writer_of(file, atomic=True)
    with pytest.raises(FileNotFoundError) as info:
        writer_of(tmp_path / "nowhere" / "out", atomic=True)
    assert info.value.filename == str(tmp_path / "nowhere" / "out")


def test_links_stay(writer_of, batch, tmp_path):
    (tmp_path / "real").write_bytes(b"older")
    (tmp_path / "link").symlink_to("real")
    with writer_of(tmp_path / "link", atomic=True) as writer:
        writer.write_batch(batch)
    assert (tmp_path / "link").is_symlink()
    assert len(read(tmp_path / "real")) == len(batch)


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


@settings(max_examples=150, deadline=None)
@given(packets=PACKETS, writer_of=st.sampled_from(WRITERS), kind=st.sampled_from([None, *LEVELS]))
def test_any_batch_comes_back(packets, writer_of, kind):
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
