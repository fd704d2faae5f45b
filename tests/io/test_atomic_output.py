"""Atomic writers: a file gets its name when it is complete, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import sys

import pytest

from slimcap import PcapNgWriter, PcapWriter, read
from support.writing import open_descriptors, written

ENDINGS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lz4": "lz4", ".bz2": "bzip2"}


@pytest.fixture(params=[PcapWriter, PcapNgWriter], ids=["pcap", "pcapng"])
def writer_of(request):
    return request.param


@pytest.fixture
def batch(data_path):
    return read(data_path / "mixed_ns.pcap")


@pytest.mark.parametrize("ending", ["", *ENDINGS])
def test_file_gets_its_name_on_close(writer_of, ending, batch, tmp_path):
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
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_exception_leaves_the_older_file(writer_of, batch, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"older")
    writer = writer_of(path, atomic=True)
    with contextlib.suppress(KeyError), writer:
        writer.write_batch(batch)
        raise KeyError
    assert writer.closed
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


def test_discard_leaves_no_file(writer_of, batch, tmp_path):
    before = open_descriptors()
    for options in ({"atomic": True}, {"atomic": True, "compression": "gzip"}):
        writer = writer_of(tmp_path / "out", **options)
        writer.write_batch(batch)
        writer.discard()
        writer.discard()
        writer.close()
        assert writer.closed
        assert not list(tmp_path.iterdir())
    writer = writer_of(tmp_path / "out", atomic=True)
    del writer  # without close: the file is not complete
    assert not list(tmp_path.iterdir())
    assert open_descriptors() == before


def test_discard_writes_buffered_packets_of_a_file_that_is_not_atomic(writer_of, batch, tmp_path):
    writer = writer_of(tmp_path / "out")
    writer.write_batch(batch)
    writer.write_packet(batch[0])
    writer.discard()
    assert (tmp_path / "out").read_bytes() == written(writer_of, batch)


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


def test_other_files_cannot_be_atomic(writer_of, tmp_path, fifo):
    for file in ("-", io.BytesIO()):
        with pytest.raises(ValueError, match="atomic"):
            writer_of(file, atomic=True)
    with pytest.raises(FileNotFoundError) as info:
        writer_of(tmp_path / "nowhere" / "out", atomic=True)
    assert info.value.filename == str(tmp_path / "nowhere" / "out")


def test_symbolic_links_stay(writer_of, batch, tmp_path):
    (tmp_path / "real").write_bytes(b"older")
    (tmp_path / "link").symlink_to("real")
    with writer_of(tmp_path / "link", atomic=True) as writer:
        writer.write_batch(batch)
    assert (tmp_path / "link").is_symlink()
    assert len(read(tmp_path / "real")) == len(batch)
