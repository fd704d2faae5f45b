"""`follow=True`: packets that are appended to a file, and what ends the wait for them."""

from __future__ import annotations

import contextlib
import io
import os
import time

import pytest

from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    PcapSource,
    TruncatedFileError,
    open_file,
)
from support.following import FollowingReader, capture, next_number, numbers, records

SOON = 0.05  # seconds from writing a packet to reading it


# ---- packets that are appended


@pytest.mark.parametrize("name", ["mixed.pcap", "mixed_be.pcap", "sections.pcapng", "interfaces.pcapng"])
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_file_can_be_written_in_pieces_of_any_size(growing, background, data_path, name, step):
    """From an empty file on."""
    size = 1500 if step == 1 else 3000
    data = (data_path / name).read_bytes()[:size]
    file = growing()
    writer = file.write_slowly(data[at : at + step] for at in range(0, len(data), step))
    with open_file(file.path, follow=True, timeout=10) as source:
        got = background(lambda: [bytes(packet.payload) for packet in source])
        writer.join()
        got.wait_until_blocked()
        source.stop()
        payloads = got.result()
        assert source.progress == (len(data), len(data))
    with open_file(data_path / name) as source:
        whole = [bytes(packet.payload) for packet in source]
    assert payloads == whole[: len(payloads)]
    assert len(payloads) > 2
    assert len(data) == size or len(payloads) == len(whole)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("held", [False, True])
def test_packet_arrives_soon_after_it_is_written(growing, background, step, held):
    """The writer keeps the file open, or opens it for each packet."""
    file = growing(capture())
    with open_file(file.path, follow=True) as source, file.path.open("ab", buffering=0) as opened:
        write = opened.write if held else file.write
        late = []
        for number in range(20):
            data = records(number)
            waits = background(lambda: (next_number(source), time.monotonic()))
            waits.wait_until_blocked()
            for at in range(0, len(data), step):
                written = time.monotonic()
                write(data[at : at + step])
            came, when = waits.result(1)
            assert came == number
            late.append(when - written)
    assert sorted(late)[len(late) // 2] < SOON


def test_waiting_takes_no_cpu_time(growing):
    file = growing(capture(1))
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        before = time.process_time()
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.3)
        assert time.process_time() - before < 0.05


@pytest.mark.parametrize("cut", [0, 1, 10, 23])
@pytest.mark.parametrize("opened", [open_file, PcapSource])
def test_opening_times_out_while_the_header_is_incomplete(growing, opened, cut):
    file = growing(capture()[:cut])
    with pytest.raises(TimeoutError):
        opened(file.path, follow=True, timeout=0.02)


def test_only_paths_can_be_followed(tmp_path, data_path):
    with pytest.raises(ValueError, match="path"):
        PcapSource(io.BytesIO(capture()), follow=True)
    with (data_path / "mixed.pcap").open("rb") as file, pytest.raises(ValueError, match="path"):
        PcapSource(file, follow=True)
    with pytest.raises(FileNotFoundError):
        PcapSource(tmp_path / "missing", follow=True)


# ---- the end of a wait


@pytest.mark.parametrize("end", ["close", "unblock"])
@pytest.mark.parametrize("half", [0, 20])
def test_close_and_unblock_end_a_wait(growing, background, end, half):
    """Between packets, and in the middle of one."""
    file = growing(capture(1) + records(2)[:half])
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        waits = background(source.next_packet)
        waits.wait_until_blocked()
        getattr(source, end)()
        with pytest.raises(CaptureStopped if end == "close" else CaptureUnblocked):
            waits.result(1)
        if end == "unblock":
            file.write(records(2)[half:])
            assert next_number(source, timeout=1) == 2


@pytest.mark.parametrize(("before", "block_size"), [(0, 1 << 20), (1, 64)])
def test_stop_ends_after_the_packets_that_are_whole(growing, before, block_size):
    file = growing(capture(1, 2, 3) + records(4)[:-1])
    with open_file(file.path, follow=True, block_size=block_size) as source:
        got = [next_number(source) for _ in range(before)]
        source.stop()
        assert [*got, *numbers(source)] == [1, 2, 3]
        file.write(records(4)[-1:])
        with pytest.raises(EOFError):
            source.next_packet()


@pytest.mark.parametrize("there", [[], [1]])
def test_stop_ends_a_wait(growing, there):
    file = growing(capture(*there))
    with open_file(file.path, follow=True) as source:
        reader = FollowingReader(source)
        assert reader.finish(within=1) == there
        with pytest.raises(EOFError):
            source.next_packet()


# ---- files that are removed, renamed or cut


@pytest.mark.parametrize("half", [b"", b"half"])
@pytest.mark.parametrize("held", [False, True])
def test_removed_file_is_read_to_its_end(growing, half, held):
    """The file may still be open in a writer, or not."""
    file = growing(capture(1))
    writer = file.path.open("ab") if held else contextlib.nullcontext()
    with open_file(file.path, follow=True) as source, writer:
        reader = FollowingReader(source)
        reader.wait_for(1)
        reader.wait_until_blocked()
        file.write(records(2) + half)
        file.path.unlink()
        with pytest.raises(TruncatedFileError) if half else contextlib.nullcontext():
            reader.end(2)
        assert reader.numbers == [1, 2]


def test_file_removed_in_the_middle_of_a_packet_is_truncated(growing):
    file = growing(capture(1) + records(2)[:-1])
    with open_file(file.path, follow=True) as source:
        source.next_packet()
        file.path.unlink()
        with pytest.raises(TruncatedFileError):
            source.next_packet(timeout=5)


def test_renamed_file_is_followed(growing, tmp_path):
    file = growing(capture(1))
    with open_file(file.path, follow=True, timeout=5) as source:
        source.next_packet()
        file.path = file.path.rename(tmp_path / "renamed")
        file.write(records(2))
        assert next_number(source) == 2


@pytest.mark.parametrize("size", [30, len(capture(1))])
@pytest.mark.parametrize("waiting", [False, True])
def test_file_that_gets_shorter_is_an_error(growing, background, size, waiting):
    file = growing(capture(1, 2, 3))
    with open_file(file.path, follow=True, timeout=5) as source:
        assert [next_number(source) for _ in range(3)] == [1, 2, 3]
        calls = [source.next_packet] * 2
        if waiting:
            wait = background(source.next_packet)
            wait.wait_until_blocked()
            calls[0] = lambda: wait.result(2)
        os.truncate(file.path, size)
        for call in calls:
            with pytest.raises(FileFormatError, match="truncated to") as raised:
                call()
            assert raised.value.path == str(file.path)
            assert raised.value.packet_index == 3
