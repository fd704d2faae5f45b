"""Following compressed files and FIFOs, and stop for files that do not grow."""

from __future__ import annotations

import bz2
import contextlib
import gc
import gzip
import io
import lzma
import os
import threading
import zlib

import pytest

from slimcap import (
    PcapSource,
    TruncatedFileError,
    open_file,
    open_files,
)
from support.following import FollowingReader, capture, next_number, numbers, records
from support.threads import in_child

# ---- compressed files


def gzip_pieces(pieces):
    """One gzip stream, flushed after each piece."""
    packer = zlib.compressobj(wbits=31)
    yield from (packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces)


def zstd_pieces(pieces):
    zstandard = pytest.importorskip("zstandard")
    return [zstandard.compress(piece) for piece in pieces]


def lz4_pieces(pieces):
    lz4 = pytest.importorskip("lz4.frame")
    return [lz4.compress(piece) for piece in pieces]


PACKERS = {
    "gzip flushed": gzip_pieces,
    "gzip members": lambda pieces: [gzip.compress(piece) for piece in pieces],
    "bzip2": lambda pieces: [bz2.compress(piece) for piece in pieces],
    "xz": lambda pieces: [lzma.compress(piece) for piece in pieces],
    "zstd": zstd_pieces,
    "lz4": lz4_pieces,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("cut", [9, -3, None])
def test_compressed_file_gives_each_packet_when_its_piece_is_whole(growing, packer, cut):
    """Written at once or in two parts."""
    file = growing()
    pieces = list(PACKERS[packer]([capture(), *(records(number) for number in range(10))]))
    threads = threading.active_count()
    file.write(pieces[0])
    with open_file(file.path, follow=True, timeout=1) as source:
        assert threading.active_count() == threads
        for number, piece in enumerate(pieces[1:]):
            came = None
            file.write(piece[:cut])
            if cut is not None:
                with contextlib.suppress(TimeoutError):  # some libraries give only whole blocks
                    came = next_number(source, timeout=0.01)
                file.write(piece[cut:])
            assert (next_number(source) if came is None else came) == number
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.01)
        source.stop()
        assert list(source) == []
        with pytest.raises(EOFError):
            source.next_packet()


# ---- FIFOs


def test_fifo_can_have_one_writer_after_another(tmp_path, background):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    waits = background(lambda: open_file(path, follow=True, timeout=5))
    waits.wait_until_blocked()
    path.write_bytes(capture(1, 2) + records(3)[:7])
    with waits.result() as source:
        assert [next_number(source) for _ in range(2)] == [1, 2]
        path.write_bytes(records(3)[7:])
        assert next_number(source) == 3
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.01)
        path.write_bytes(records(4))
        source.stop()
        assert list(numbers(source)) == [4]
        with pytest.raises(EOFError):
            source.next_packet()


def test_stop_ends_a_fifo(fifo):
    fifo.write(capture(1, 2))
    with open_file(fifo.path) as source:
        reader = FollowingReader(source)
        reader.wait_for(2)
        assert reader.finish() == [1, 2]


def test_stop_ends_a_busy_fifo(fifo, background):
    """Packets that are written after the stop are not read, though there are always more."""
    fifo.write(capture())
    ended = threading.Event()

    def write():
        while not ended.is_set():
            fifo.write(records(0) * 30)

    writer = background(write)
    with open_file(fifo.path) as source:
        source.next_packet()
        source.stop()
        background(lambda: list(source.batches())).result(5)
        ended.set()
    rest = os.open(fifo.path, os.O_RDONLY | os.O_NONBLOCK)
    while writer.is_alive():  # it may wait for free space in the pipe
        with contextlib.suppress(BlockingIOError):
            os.read(rest, 1 << 16)
    os.close(rest)
    writer.result()


# ---- files that do not grow


def test_stop_does_not_shorten_a_file_that_is_not_followed(tmp_path):
    path = tmp_path / "packed"
    path.write_bytes(gzip.compress(capture(*range(5000))))
    with open_file(path) as source:
        source.next_packet()
        source.stop()
        assert list(numbers(source)) == list(range(1, 5000))
    with PcapSource(io.BytesIO(capture(1))) as source:
        source.stop()
        assert list(numbers(source)) == [1]


@pytest.mark.parametrize("opened", [open_file, lambda path: open_files([path])], ids=["one", "merged"])
def test_stop_hides_no_damage_of_a_file_that_is_not_followed(tmp_path, opened):
    path = tmp_path / "damaged"
    path.write_bytes(capture(1, 2)[:-1])
    with opened(path) as source:
        source.stop()
        assert next_number(source) == 1
        with pytest.raises(TruncatedFileError):
            source.next_packet()


# ---- descriptors


def test_forked_child_may_close_its_copy_of_a_set(growing, tmp_path):
    file = growing(capture(1), "cap1")
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=5) as source:
        assert next_number(source) == 1
        assert in_child(source.close) == "None"
        for number in (2, 3):
            file.write(records(number))
            assert next_number(source, timeout=0.5) == number


def test_followed_files_leave_no_descriptor_open(growing, tmp_path):
    file = growing(capture(1), "cap1")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with open_files(str(tmp_path / "cap*"), follow=True) as source:
            source.next_packet()
        with open_file(file.path, follow=True) as source:
            source.next_packet()
    assert len(os.listdir("/proc/self/fd")) == before
