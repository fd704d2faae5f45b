"""Files that grow, FIFOs with one writer after the other, and files that follow each other."""

from __future__ import annotations

import bz2
import contextlib
import gc
import glob
import gzip
import io
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
from support.threads import in_child
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

FRAME = make_samples.ethernet(make_samples.packet4())
SOON = 0.05  # seconds in which a packet that was written arrives


def frame(number):
    return FRAME + number.to_bytes(4, "big")


def records(*numbers):
    """Packets that tell their number twice: in their bytes, and by the second of their time."""
    return b"".join(pcap_record(frame(number), number) for number in numbers)


def capture(*numbers):
    return pcap_header() + records(*numbers)


def number_of(payload):
    number = int.from_bytes(payload[-4:], "big")
    assert payload == frame(number)
    return number


def next_number(source, **options):
    return number_of(source.next_payload(**options)[0])


def numbers(source):
    """Of all packets that come, to the end."""
    for packet in source:
        number = number_of(packet.payload)
        assert packet.timestamp == number * 10**9
        yield number


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


@pytest.fixture
def reading(background):
    """`reading(source)` reads it in a thread, to its end."""

    class Reader:
        def __init__(self, source) -> None:
            self.source = source
            self.numbers: list[int] = []
            self._call = background(self._read)

        def _read(self) -> list[int]:
            for number in numbers(self.source):
                self.numbers.append(number)
            return self.numbers

        def wait_for(self, count, within=5) -> None:
            """Until so many packets have come."""
            end = time.monotonic() + within
            while len(self.numbers) < count and self._call.is_alive() and time.monotonic() < end:
                time.sleep(0.002)
            if not self._call.is_alive():
                self._call.result()  # tells the error, if there was one
            assert len(self.numbers) >= count

        def end(self, within=5) -> list[int]:
            """All packets, when the source has ended by itself."""
            return self._call.result(within)

        def finish(self, within=5) -> list[int]:
            """All packets, when the source is told to stop."""
            time.sleep(0.02)
            self.source.stop()
            return self.end(within)

    return Reader


# ---- what is written arrives


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed_be.pcap", "sections.pcapng", "interfaces.pcapng"])
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_written_in_pieces(growing, background, data_path, name, step):
    """From nothing on, the header included."""
    data = (data_path / name).read_bytes()[:3000]
    file = growing()
    writer = file.write_slowly(data[at : at + step] for at in range(0, len(data), step))
    with open_file(file.path, follow=True, timeout=10) as source:
        got = background(lambda: [bytes(packet.payload) for packet in source])
        writer.join()
        time.sleep(0.05)
        source.stop()
        payloads = got.result()
        assert source.progress == (len(data), len(data))
    with open_file(data_path / name) as source:
        whole = [bytes(packet.payload) for packet in source]
    assert payloads == whole[: len(payloads)]
    assert len(payloads) > 2
    assert len(data) == 3000 or len(payloads) == len(whole)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("held", [False, True])
def test_a_packet_comes_soon(growing, background, step, held):
    """Whether the writer keeps the file open, or opens it for each piece."""
    file = growing(capture())
    with open_file(file.path, follow=True) as source, file.path.open("ab", buffering=0) as opened:
        write = opened.write if held else file.write
        late = []
        for number in range(20):
            data = records(number)
            waits = background(lambda: (next_number(source), time.monotonic()))
            time.sleep(0.005)
            for at in range(0, len(data), step):
                written = time.monotonic()
                write(data[at : at + step])
            came, when = waits.result(1)
            assert came == number
            late.append(when - written)
    assert sorted(late)[len(late) // 2] < SOON


def test_waiting_takes_no_time(growing):
    file = growing(capture(1))
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        before = time.process_time()
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=1)
        assert time.process_time() - before < 0.1


@pytest.mark.parametrize("cut", [0, 1, 10, 23])
@pytest.mark.parametrize("opened", [open_file, PcapSource])
def test_a_header_that_does_not_come(growing, opened, cut):
    file = growing(capture()[:cut])
    with pytest.raises(TimeoutError):
        opened(file.path, follow=True, timeout=0.02)


def test_what_cannot_be_followed(tmp_path, data_path):
    with pytest.raises(ValueError, match="path"):
        PcapSource(io.BytesIO(capture()), follow=True)
    with (data_path / "mixed.pcap").open("rb") as file, pytest.raises(ValueError, match="path"):
        PcapSource(file, follow=True)
    with pytest.raises(FileNotFoundError):
        PcapSource(tmp_path / "missing", follow=True)


# ---- what ends a wait


@pytest.mark.parametrize("end", ["close", "unblock"])
@pytest.mark.parametrize("half", [0, 20])
def test_close_and_unblock(growing, background, end, half):
    """Between packets, and in the middle of one."""
    file = growing(capture(1) + records(2)[:half])
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        waits = background(source.next_packet)
        time.sleep(0.05)
        getattr(source, end)()
        with pytest.raises(CaptureStopped if end == "close" else CaptureUnblocked):
            waits.result(1)
        if end == "unblock":
            file.write(records(2)[half:])
            assert next_number(source, timeout=1) == 2


@pytest.mark.parametrize(("before", "block_size"), [(0, 1 << 20), (1, 64)])
def test_stop_ends_after_what_is_there(growing, before, block_size):
    file = growing(capture(1, 2, 3) + records(4)[:-1])
    with open_file(file.path, follow=True, block_size=block_size) as source:
        got = [next_number(source) for _ in range(before)]
        source.stop()
        assert [*got, *numbers(source)] == [1, 2, 3]
        file.write(records(4)[-1:])
        with pytest.raises(EOFError):
            source.next_packet()


@pytest.mark.parametrize("there", [[], [1]])
def test_stop_ends_a_wait(growing, reading, there):
    file = growing(capture(*there))
    with open_file(file.path, follow=True) as source:
        reader = reading(source)
        time.sleep(0.05)
        assert reader.finish(within=0.5) == there
        with pytest.raises(EOFError):
            source.next_packet()


@pytest.mark.parametrize("half", [b"", b"half"])
@pytest.mark.parametrize("held", [False, True])
def test_a_file_that_is_removed(growing, reading, half, held):
    """Whether a writer still has it open or not."""
    file = growing(capture(1))
    writer = file.path.open("ab") if held else contextlib.nullcontext()
    with open_file(file.path, follow=True) as source, writer:
        reader = reading(source)
        reader.wait_for(1)
        time.sleep(0.02)
        file.write(records(2) + half)
        file.path.unlink()
        with pytest.raises(TruncatedFileError) if half else contextlib.nullcontext():
            reader.end(2)
        assert reader.numbers == [1, 2]


def test_a_file_that_was_removed_in_a_packet(growing):
    file = growing(capture(1) + records(2)[:-1])
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        file.path.unlink()
        with pytest.raises(TruncatedFileError):
            source.next_packet(timeout=5)


def test_a_file_that_is_renamed_is_followed_on(growing, tmp_path):
    file = growing(capture(1))
    with open_file(file.path, follow=True, timeout=5) as source:
        source.next_packet()
        file.path = file.path.rename(tmp_path / "renamed")
        file.write(records(2))
        assert next_number(source) == 2


@pytest.mark.parametrize("size", [30, len(capture(1))])
@pytest.mark.parametrize("waiting", [False, True])
def test_a_file_that_is_cut(growing, background, size, waiting):
    file = growing(capture(1, 2, 3))
    with open_file(file.path, follow=True, timeout=5) as source:
        assert [next_number(source) for _ in range(3)] == [1, 2, 3]
        calls = [source.next_packet] * 2
        if waiting:
            wait = background(source.next_packet)
            time.sleep(0.02)
            calls[0] = lambda: wait.result(2)
        os.truncate(file.path, size)
        for call in calls:
            with pytest.raises(FileFormatError, match="cut to") as raised:
                call()
            assert raised.value.path == str(file.path)
            assert raised.value.packet_index == 3


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
def test_compressed(growing, packer, cut):
    """Each packet comes when its piece is whole, whether that is written at once or in two parts."""
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
                with contextlib.suppress(
                    TimeoutError
                ):  # some give all that they have, some a whole block only
                    came = next_number(source, timeout=0.01)
                file.write(piece[cut:])
            assert (next_number(source) if came is None else came) == number
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.05)
        source.stop()
        assert list(source) == []
        with pytest.raises(EOFError):
            source.next_packet()


# ---- FIFOs, and files that do not grow


def test_a_fifo_with_two_writers(tmp_path, background):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    waits = background(lambda: open_file(path, follow=True, timeout=5))
    time.sleep(0.02)
    path.write_bytes(capture(1, 2) + records(3)[:7])
    with waits.result() as source:
        assert [next_number(source) for _ in range(2)] == [1, 2]
        path.write_bytes(records(3)[7:])
        assert next_number(source) == 3
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.05)
        path.write_bytes(records(4))
        source.stop()
        assert list(numbers(source)) == [4]
        with pytest.raises(EOFError):
            source.next_packet()


def test_stop_of_a_fifo(fifo, reading):
    fifo.write(capture(1, 2))
    with open_file(fifo.path) as source:
        reader = reading(source)
        reader.wait_for(2)
        assert reader.finish() == [1, 2]


def test_stop_of_a_busy_fifo(fifo, background):
    """What is written after the stop is not waited for, though there is always more."""
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
    while writer.is_alive():  # it may wait for room
        with contextlib.suppress(BlockingIOError):
            os.read(rest, 1 << 16)
    os.close(rest)
    writer.result()


def test_stop_of_what_does_not_grow(tmp_path):
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
def test_stop_hides_no_damage_of_what_does_not_grow(tmp_path, opened):
    path = tmp_path / "damaged"
    path.write_bytes(capture(1, 2)[:-1])
    with opened(path) as source:
        source.stop()
        assert next_number(source) == 1
        with pytest.raises(TruncatedFileError):
            source.next_packet()


# ---- sets of files


@pytest.fixture
def rotation(tmp_path, reading):
    """`rotation()` reads in a thread the files `cap*` of the folder, as they come."""
    with contextlib.ExitStack() as opened:
        yield lambda: reading(
            opened.enter_context(open_files(str(tmp_path / "cap*"), follow=True, timeout=10))
        )


def test_files_that_appear(growing, rotation):
    reader = rotation()
    assert isinstance(reader.source, RotatedSource)
    assert "file 0" in repr(reader.source)
    for number in range(8):
        file = growing(capture(), f"cap{number}")
        growing(capture(99), f"other{number}")
        for packet in range(3):
            file.write(records(3 * number + packet))
            if number % 2:
                time.sleep(0.03)
    reader.wait_for(24)
    assert reader.finish() == list(range(24))


def test_several_at_once(growing, rotation):
    for number in (8, 9):
        growing(capture(number), f"cap{number}")
    reader = rotation()
    time.sleep(0.03)
    for number in range(10, 40):
        growing(capture(number), f"cap{number}")
    reader.wait_for(32)
    assert reader.finish() == list(range(8, 40))


def test_several_are_moved_in(growing, tmp_path, rotation):
    """In the order in which they were written; the last one is followed."""
    growing(capture(0), "cap0")
    reader = rotation()
    reader.wait_for(1)
    for number in range(1, 6):
        file = growing(capture(number), f"hidden{number}")
        time.sleep(0.01)
    for number in range(1, 6):
        file.path = (tmp_path / f"hidden{number}").rename(tmp_path / f"cap{number}")
    reader.wait_for(6)
    file.write(records(6))
    reader.wait_for(7)
    assert reader.finish() == list(range(7))


def test_names_with_numbers(tmp_path, rotation):
    """By name where the clock of the file system does not tell; all, though the stop comes at once."""
    names = ["cap", "cap1", "cap2", "cap9", "cap10", "cap100"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(capture(number))
    for name in itertools.chain(names, ["."]):
        os.utime(tmp_path / name, (1, 1))
    assert rotation().finish() == list(range(len(names)))


def test_a_file_without_packets_in_the_middle(growing, rotation):
    for number, data in enumerate([capture(0), capture(), capture(1)]):
        file = growing(data, f"cap{number}")
        time.sleep(0.01)
    reader = rotation()
    reader.wait_for(2)
    file.write(records(2))
    reader.wait_for(3)
    assert reader.finish() == [0, 1, 2]


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
    reader.wait_for(3)
    assert reader.finish() == [1, 2, 3]


def test_renames_while_the_folder_is_looked_into(tmp_path, rotation, monkeypatch):
    """They fall between finding names and finding out which files these are: one has a name not found."""
    find, todo = glob.glob, []

    def find_then_rename(pattern):
        found = find(pattern)
        while todo:
            todo.pop(0)()
        return found

    monkeypatch.setattr(glob, "glob", find_then_rename)
    (tmp_path / "cap").write_bytes(capture(1))
    reader = rotation()
    reader.wait_for(1)
    (tmp_path / "cap").rename(tmp_path / "cap.1")
    (tmp_path / "cap").write_bytes(capture(2))
    reader.wait_for(2)
    todo += [
        lambda: (tmp_path / "cap.1").rename(tmp_path / "cap.2"),
        lambda: (tmp_path / "cap").rename(tmp_path / "cap.1"),
        lambda: (tmp_path / "cap").write_bytes(capture(3)),
    ]
    (tmp_path / "cap0").write_bytes(capture())  # which makes it look
    reader.wait_for(3)
    (tmp_path / "cap9").write_bytes(capture(4))
    reader.wait_for(4)
    assert reader.finish() == [1, 2, 3, 4]


@pytest.fixture
def first_read(tmp_path):
    """A set of two files, `cap1` and `cap2` with one packet each, of which the first was read."""
    for number in (1, 2):
        (tmp_path / f"cap{number}").write_bytes(capture(number))
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=10) as source:
        assert next_number(source) == 1
        yield source


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_renamed_before_its_turn(tmp_path, first_read, replaced):
    (tmp_path / "cap2").rename(tmp_path / "cap2.old")
    if replaced:
        time.sleep(0.01)
        (tmp_path / "cap2").write_bytes(capture(3))
    first_read.stop()
    assert list(numbers(first_read)) == ([2, 3] if replaced else [2])


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone_before_its_turn(tmp_path, first_read, replaced):
    if replaced:
        (tmp_path / "new").write_bytes(capture(3))
        (tmp_path / "new").replace(tmp_path / "cap2")
    else:
        (tmp_path / "cap2").unlink()
    with pytest.raises(FileNotFoundError, match="cap2"):
        first_read.next_packet()
    first_read.stop()
    assert list(numbers(first_read)) == ([3] if replaced else [])


def test_stop_leaves_out_no_file_that_is_there(growing, tmp_path):
    growing(capture(1, 2), "cap1")
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=10) as source:
        assert next_number(source) == 1
        growing(capture(3), "cap2")
        source.stop()
        assert list(numbers(source)) == [2, 3]


def test_a_ring_of_files(growing, tmp_path, rotation):
    """As dumpcap -b files:2 makes: the oldest is removed, and its inode may be taken by the next."""
    reader = rotation()
    for number in range(20):
        growing(capture(number), f"cap{number}")
        time.sleep(0.02)
        reader.wait_for(number + 1)
        if number >= 2:
            (tmp_path / f"cap{number - 2}").unlink()
    assert reader.finish() == list(range(20))


def test_tcpdump_rotates(tmp_path, need_tool, rotation):
    tcpdump = need_tool("tcpdump")
    count = 60_000
    (tmp_path / "big").write_bytes(capture(*range(count)))
    reader = rotation()
    command = [tcpdump, "-Z", "root", "-r", tmp_path / "big", "-C", "1", "-w", tmp_path / "cap"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert len(list(tmp_path.glob("cap*"))) > 4
    reader.wait_for(count, within=30)
    assert reader.finish() == list(range(count))


def test_a_list_of_paths(growing, reading):
    """One after the other as they are given, until the last is removed."""
    first, last = growing(capture(1, 2), "b"), growing(capture(3), "a")
    with open_files([first.path, last.path], follow=True, timeout=5) as source:
        reader = reading(source)
        time.sleep(0.03)
        last.write(records(4))
        last.path.unlink()
        assert reader.end(3) == [1, 2, 3, 4]
        assert len(source.links) == 2
        assert source.total_stats.packets_received == 4


@pytest.mark.parametrize("good", [[], [1]])
def test_a_damaged_file_is_told_once(growing, tmp_path, good):
    damaged = growing(capture(*good, 2)[:-1], "cap1")
    time.sleep(0.01)
    growing(capture(3), "cap2")
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=5) as source:
        assert [next_number(source) for _ in good] == good
        with pytest.raises(TruncatedFileError) as raised:
            source.next_packet()
        assert raised.value.path == str(damaged.path)
        assert next_number(source) == 3
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.01)
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            source.next_packet()


def test_close_and_unblock_of_a_set(growing, tmp_path, background):
    source = open_files(str(tmp_path / "cap*"), follow=True)
    with pytest.raises(TimeoutError):
        source.next_packet(timeout=0.02)
    waits = background(source.next_packet)
    time.sleep(0.03)
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        waits.result()
    growing(capture(1), "cap1")
    assert next_number(source, timeout=5) == 1
    waits = background(source.next_packet)
    time.sleep(0.03)
    source.close()
    with pytest.raises(CaptureStopped):
        waits.result()


def test_sets_that_cannot_be_followed(tmp_path, data_path):
    for name in ("cap*", "cap"):
        with pytest.raises(ValueError, match="one folder"):
            open_files(str(tmp_path / "*" / name), follow=True)
    with pytest.raises(FileNotFoundError):
        open_files(str(tmp_path / "missing" / "cap*"), follow=True)
    with pytest.raises(FileNotFoundError):
        open_files([tmp_path / "missing"], follow=True)
    with (data_path / "mixed.pcap").open("rb") as file, pytest.raises(ValueError, match="path"):
        open_files([file], follow=True)
    with pytest.raises(ValueError, match="no files"):
        open_files([], follow=True)


# ---- descriptors


def test_a_forked_child_may_close_its_copy(growing, tmp_path):
    file = growing(capture(1), "cap1")
    with open_files(str(tmp_path / "cap*"), follow=True, timeout=5) as source:
        assert next_number(source) == 1
        assert in_child(source.close) == "None"
        for number in (2, 3):
            file.write(records(number))
            assert next_number(source, timeout=0.5) == number


def test_nothing_is_left_open(growing, tmp_path):
    file = growing(capture(1), "cap1")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with open_files(str(tmp_path / "cap*"), follow=True) as source:
            source.next_packet()
        with open_file(file.path, follow=True) as source:
            source.next_packet()
    assert len(os.listdir("/proc/self/fd")) == before
