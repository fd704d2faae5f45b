"""Files that grow, FIFOs with one writer after the other, and files that follow each other."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import itertools
import lzma
import os
import subprocess
import threading
import time
import zlib
from pathlib import Path

import make_samples
import pytest
from make_samples import pcap_header, pcap_record

from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    PcapSource,
    RotatedSource,
    TruncatedFileError,
    open_file,
    open_files,
)

DATA = Path(__file__).parent / "data"
FRAME = make_samples.ethernet(make_samples.packet4())
SOON = 0.05  # seconds in which a packet that was written arrives


def records(*seconds):
    return b"".join(pcap_record(FRAME, second) for second in seconds)


def capture(*seconds):
    return pcap_header() + records(*seconds)


def seconds_of(source):
    """The times of all packets that come, to the end."""
    return [packet.timestamp // 10**9 for packet in source]


class Growing:
    """A file, and somebody who writes to it."""

    def __init__(self, path: Path, data: bytes = b"") -> None:
        self.path = path
        self.write(data)

    def write(self, data: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(data)

    def write_slowly(self, pieces) -> threading.Thread:
        def write() -> None:
            for piece in pieces:
                time.sleep(0.0002)
                self.write(piece)

        thread = threading.Thread(target=write)
        thread.start()
        return thread


@pytest.fixture
def growing(tmp_path):
    return lambda data=b"", name="growing": Growing(tmp_path / name, data)


# ---- one file


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed_be.pcap", "sections.pcapng", "interfaces.pcapng"])
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_written_in_pieces(growing, background, name, step):
    """From nothing on, the header included."""
    data = (DATA / name).read_bytes()[:3000]
    file = growing()
    writer = file.write_slowly(data[at : at + step] for at in range(0, len(data), step))
    with open_file(file.path, follow=True, timeout=10) as source:
        got = background(lambda: [bytes(packet.payload) for packet in source])
        writer.join()
        time.sleep(0.05)
        source.stop()
        payloads = got.result()
        assert source.progress == (len(data), len(data))
    with open_file(DATA / name) as source:
        whole = [bytes(packet.payload) for packet in source]
    assert payloads == whole[: len(payloads)]
    assert len(payloads) > 2
    assert len(data) == 3000 or len(payloads) == len(whole)


def test_a_packet_comes_soon(growing, background):
    file = growing(capture())
    with open_file(file.path, follow=True) as source:
        late = []
        for number in range(20):
            waits = background(source.next_packet)
            time.sleep(0.005)
            written = time.monotonic()
            file.write(records(number))
            assert waits.result(1).timestamp == number * 10**9
            late.append(time.monotonic() - written)
    assert sorted(late)[len(late) // 2] < SOON


def test_waiting_takes_no_time(growing):
    file = growing(capture(1))
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        before = time.process_time()
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.5)
        assert time.process_time() - before < 0.1


@pytest.mark.parametrize("cut", [1, 10, 23])
def test_a_header_that_does_not_come(growing, cut):
    file = growing(capture()[:cut])
    with pytest.raises(TimeoutError):
        open_file(file.path, follow=True, timeout=0.02)


@pytest.mark.parametrize("end", ["close", "unblock"])
def test_what_ends_a_wait(growing, background, end):
    file = growing(capture(1))
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        waits = background(source.next_packet)
        time.sleep(0.02)
        getattr(source, end)()
        with pytest.raises(CaptureStopped if end == "close" else CaptureUnblocked):
            waits.result(1)
        if end == "unblock":
            file.write(records(2))
            assert source.next_packet(timeout=1).timestamp == 2 * 10**9


def test_stop_ends_after_what_is_there(growing, background):
    file = growing(capture(1, 2, 3) + records(4)[:-1])
    with open_file(file.path, follow=True, block_size=64) as source:
        assert source.next_packet().timestamp == 10**9
        source.stop()
        assert seconds_of(source) == [2, 3]
        file.write(records(4)[-1:])
        with pytest.raises(EOFError):
            source.next_packet()
    file = growing(capture(1), "other")
    with open_file(file.path, follow=True) as source:
        waits = background(lambda: seconds_of(source))
        time.sleep(0.02)
        source.stop()
        assert waits.result(1) == [1]


@pytest.mark.parametrize("half", [False, True])
def test_a_file_that_is_removed(growing, background, half):
    file = growing(capture(1))
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        waits = background(lambda: seconds_of(source))
        time.sleep(0.02)
        file.write(records(2) + (b"half" if half else b""))
        file.path.unlink()
        if half:
            with pytest.raises(TruncatedFileError):
                waits.result(2)
        else:
            assert waits.result(2) == [2]


def test_a_file_that_is_cut(growing, background):
    file = growing(capture(1, 2, 3))
    with open_file(file.path, follow=True) as source:
        assert [source.next_packet().timestamp // 10**9 for _ in range(3)] == [1, 2, 3]
        waits = background(source.next_packet)
        time.sleep(0.02)
        os.truncate(file.path, len(capture(1)))
        with pytest.raises(FileFormatError, match="cut to") as raised:
            waits.result(2)
        assert raised.value.path == str(file.path)
        assert raised.value.packet_index == 3
        with pytest.raises(FileFormatError):
            source.next_packet()


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
def test_compressed(growing, packer):
    file = growing()
    pieces = list(PACKERS[packer]([capture(), *(records(second) for second in range(10))]))
    threads = threading.active_count()
    file.write(pieces[0])
    with open_file(file.path, follow=True, timeout=1) as source:
        assert threading.active_count() == threads
        for second, piece in enumerate(pieces[1:]):
            file.write(piece[:-3])
            early = None
            with contextlib.suppress(TimeoutError):  # some give all that they have, some a whole block only
                early = source.next_packet(timeout=0.01)
            file.write(piece[-3:])
            assert (early or source.next_packet()).timestamp == second * 10**9
        source.stop()
        assert list(source) == []


def test_a_fifo_with_two_writers(tmp_path, background):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    waits = background(lambda: open_file(path, follow=True, timeout=5))
    time.sleep(0.02)
    path.write_bytes(capture(1, 2) + records(3)[:7])
    source = waits.result()
    assert [source.next_packet().timestamp // 10**9 for _ in range(2)] == [1, 2]
    path.write_bytes(records(3)[7:])
    assert source.next_packet().timestamp == 3 * 10**9
    with pytest.raises(TimeoutError):
        source.next_packet(timeout=0.01)
    path.write_bytes(records(4))
    source.stop()
    assert seconds_of(source) == [4]
    source.close()


def test_what_cannot_be_followed(tmp_path):
    with (DATA / "mixed.pcap").open("rb") as file, pytest.raises(ValueError, match="path"):
        PcapSource(file, follow=True)
    with pytest.raises(FileNotFoundError):
        PcapSource(tmp_path / "missing", follow=True)


# ---- a set of files


@pytest.fixture
def rotation(tmp_path, background):
    """`follow(pattern)` reads in a thread what matches; `finish()` stops it and gives the seconds."""

    class Rotation:
        def __init__(self, pattern="cap*", **options):
            self.source = open_files(str(tmp_path / pattern), follow=True, timeout=10, **options)
            self._got = background(lambda: seconds_of(self.source))

        def finish(self):
            time.sleep(0.02)
            self.source.stop()
            return self._got.result(5)

    return Rotation


def test_files_that_appear(tmp_path, rotation):
    reader = rotation()
    assert isinstance(reader.source, RotatedSource)
    assert "file 0" in repr(reader.source)
    one = Growing(tmp_path / "cap1", capture(1))
    time.sleep(0.03)
    one.write(records(2, 3))
    Growing(tmp_path / "other", capture(99))
    two = Growing(tmp_path / "cap2", capture(4))
    time.sleep(0.03)
    two.write(records(5))
    assert reader.finish() == [1, 2, 3, 4, 5]


def test_several_at_once(tmp_path, rotation):
    for number in (8, 9):
        Growing(tmp_path / f"cap{number}", capture(number))
    reader = rotation()
    time.sleep(0.03)
    for number in range(10, 40):
        Growing(tmp_path / f"cap{number}", capture(number))
    assert reader.finish() == list(range(8, 40))


def test_atomic_rename_and_old_names(tmp_path, rotation):
    (tmp_path / "cap").write_bytes(capture(1))
    reader = rotation()
    time.sleep(0.03)
    (tmp_path / "cap").rename(tmp_path / "cap.1")  # as logrotate does
    (tmp_path / "new").write_bytes(capture(2))
    (tmp_path / "new").rename(tmp_path / "cap")
    time.sleep(0.03)
    (tmp_path / "cap.1").rename(tmp_path / "cap.2")
    (tmp_path / "cap").rename(tmp_path / "cap.1")
    (tmp_path / "cap").write_bytes(capture(3))
    assert reader.finish() == [1, 2, 3]


def test_a_ring_of_files(tmp_path, rotation):
    """As dumpcap -b files:2 makes: the oldest is removed, and its inode may be taken by the next."""
    reader = rotation()
    for number in range(20):
        Growing(tmp_path / f"cap{number}", capture(number))
        time.sleep(0.02)
        if number >= 2:
            (tmp_path / f"cap{number - 2}").unlink()
    assert reader.finish() == list(range(20))


def test_a_bad_file_is_told_once(tmp_path):
    (tmp_path / "cap1").write_bytes(capture(1)[:-1])
    time.sleep(0.01)
    (tmp_path / "cap2").write_bytes(capture(2))
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=5) as source:
        with pytest.raises(TruncatedFileError) as raised:
            source.next_packet()
        assert raised.value.path == str(tmp_path / "cap1")
        assert source.next_packet().timestamp == 2 * 10**9
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.01)
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            source.next_packet()


def test_tcpdump_rotates(tmp_path, need_tool, rotation):
    tcpdump = need_tool("tcpdump")
    frame = make_samples.ethernet(bytes(1400))
    count = 4000
    big = b"".join(pcap_record(frame, number) for number in range(count))
    (tmp_path / "big").write_bytes(pcap_header() + big)
    reader = rotation()
    command = [tcpdump, "-Z", "root", "-r", tmp_path / "big", "-C", "1", "-w", tmp_path / "cap"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert len(list(tmp_path.glob("cap*"))) > 3
    assert reader.finish() == list(range(count))


def test_a_list_of_paths(tmp_path, background):
    (tmp_path / "b").write_bytes(capture(1, 2))
    last = Growing(tmp_path / "a", capture(3))
    with open_files([tmp_path / "b", tmp_path / "a"], follow=True, timeout=5) as source:
        waits = background(lambda: seconds_of(source))
        time.sleep(0.03)
        last.write(records(4))
        last.path.unlink()
        assert waits.result(3) == [1, 2, 3, 4]
        assert len(source.links) == 2
        assert source.total_stats.packets_received == 4


def test_sets_that_cannot_be_followed(tmp_path):
    with pytest.raises(ValueError, match="one folder"):
        open_files(str(tmp_path / "*" / "cap*"), follow=True)
    with pytest.raises(FileNotFoundError):
        open_files(str(tmp_path / "missing" / "cap*"), follow=True)
    with pytest.raises(FileNotFoundError):
        open_files([tmp_path / "missing"], follow=True)
    with (DATA / "mixed.pcap").open("rb") as file, pytest.raises(ValueError, match="path"):
        open_files([file], follow=True)
    with pytest.raises(ValueError, match="no files"):
        open_files([], follow=True)


def test_names_with_numbers(tmp_path, rotation):
    """By name where the clock of the file system does not tell."""
    names = ["cap", "cap1", "cap2", "cap9", "cap10", "cap100"]
    for second, name in enumerate(names):
        (tmp_path / name).write_bytes(capture(second))
    for name in itertools.chain(names, ["."]):
        os.utime(tmp_path / name, (1, 1))
    assert rotation().finish() == list(range(len(names)))


def test_a_forked_child_may_close_its_copy(tmp_path):
    (tmp_path / "cap1").write_bytes(capture(1))
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=5) as source:
        assert source.next_packet().timestamp == 10**9
        child = os.fork()
        if child == 0:
            source.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        file = Growing(tmp_path / "cap1", records(2))
        assert source.next_packet(timeout=0.5).timestamp == 2 * 10**9
        file.write(records(3))
        assert source.next_packet(timeout=0.5).timestamp == 3 * 10**9
