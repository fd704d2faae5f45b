"""File objects as input: what they have to offer, and what happens when they answer wrong."""

from __future__ import annotations

import gc
import gzip
import io
import socket
import sys
import tempfile
from itertools import count

import numpy as np
import pytest

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import FileFormatError, PcapSource, TruncatedFileError, open_file, read

FRAME = make_samples.ethernet(make_samples.packet4())
RECORD = pcap_record(FRAME)


class OnlyRead:
    """A file object with `read` and nothing else."""

    def __init__(self, data, step=1000):
        self._file, self._step = io.BytesIO(data), step

    def read(self, size):
        assert size > 0
        return self._file.read(min(size, self._step))


class OnlyRead1(OnlyRead):
    def read1(self, size):
        return super().read(size)

    def read(self, size):
        raise AssertionError("read1 should have been called")


class OnlyReadinto:
    def __init__(self, data, step=1000):
        self._file, self._step = io.BytesIO(data), step

    def readinto(self, buffer):
        assert isinstance(buffer, memoryview)
        assert (buffer.format, buffer.ndim, buffer.readonly, buffer.c_contiguous) == ("B", 1, False, True)
        assert len(buffer) > 0
        return self._file.readinto(buffer[: self._step])


def spooled(data):
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


class Buffers(OnlyRead):
    """Returns each kind of buffer in turn."""

    kinds = bytes, bytearray, memoryview, lambda data: np.frombuffer(data, "u1")

    def read(self, size):
        kind = self.kinds[self._file.tell() // 100 % len(self.kinds)]
        return kind(self._file.read(min(size, 100)))


@pytest.mark.parametrize(
    "make",
    [
        io.BytesIO,
        lambda data: io.BufferedReader(io.BytesIO(data), 512),
        spooled,
        lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
        OnlyRead,
        lambda data: OnlyRead(data, 1),
        OnlyRead1,
        OnlyReadinto,
        lambda data: OnlyReadinto(data, 1),
        Buffers,
    ],
    ids=[
        "BytesIO",
        "BufferedReader",
        "SpooledTemporaryFile",
        "GzipFile",
        "read",
        "read by bytes",
        "read1",
        "readinto",
        "readinto by bytes",
        "read of any buffer",
    ],
)
@pytest.mark.parametrize("block_size", [64, 1 << 20])
def test_file_object_needs_one_method_to_read(sample, drain, make, block_size):
    file = make(sample.data)
    with PcapSource(file, block_size=block_size) as source:
        assert drain(source).facts == sample.facts
        assert source.progress == (len(sample.data), None)
    if hasattr(file, "close"):
        file.close()


@pytest.mark.parametrize("buffering", [0, -1])
def test_file_from_open_is_read_by_its_name(sample, drain, buffering):
    with open(sample.path, "rb", buffering=buffering) as file, PcapSource(file) as source:
        assert source.name == str(sample.path)
        assert drain(source).facts == sample.facts


def test_reading_starts_where_the_file_object_is(sample, drain):
    file = io.BytesIO(b"x" * 50 + sample.data)
    file.seek(50)
    with PcapSource(file) as source:
        assert drain(source).facts == sample.facts


def test_socket_file_gives_packets_as_they_arrive():
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb") as file:
        ours.sendall(pcap_header() + RECORD)
        with PcapSource(file) as source:
            assert source.next_payload()[0] == FRAME
            ours.sendall(RECORD * 3)
            assert len(source.next_batch()) == 3


def test_name_can_be_given(sample, tmp_path):
    with open_file(io.BytesIO(sample.data), name="eth7") as source:
        assert source.name == source.link.name == "eth7"
        assert source.next_batch().links[0].name == "eth7"
    with pytest.raises(FileFormatError, match=r"^eth7: "):
        open_file(io.BytesIO(b"no capture file, of 24 bytes"), name="eth7")
    with pytest.raises(ValueError, match="name must be None for a path"):
        open_file(sample.path, name="eth7")
    with pytest.raises(TypeError, match="name must be a str"):
        open_file(io.BytesIO(sample.data), name=7)


def test_name_is_the_type_or_the_name_attribute(sample):
    assert PcapSource(io.BytesIO(sample.data)).name == "<BytesIO>"
    file = OnlyRead(b"")
    file.name = 7
    with pytest.raises(TruncatedFileError) as raised:
        PcapSource(file)
    assert raised.value.path == "7"


def test_text_file_raises_type_error(sample):
    with pytest.raises(TypeError, match="binary"):
        PcapSource(io.StringIO("text"))
    with open(sample.path, encoding="latin1") as file, pytest.raises(TypeError, match="binary"):
        PcapSource(file)


class Scripted:
    """A file object with the method `readinto` or `read`, which returns these answers in turn."""

    def __init__(self, method, *answers):
        self._answers = list(answers)
        setattr(self, method, self._answer)

    def _answer(self, into):
        answer = self._answers.pop(0) if self._answers else b""
        if callable(answer):
            answer = answer(into if isinstance(into, int) else len(into))
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(into, int) or not isinstance(answer, bytes):
            return answer
        into[: len(answer)] = answer
        return len(answer)


# (method, answer, exception): answers that are not valid, and exceptions that a method raises
WRONG = [
    pytest.param(
        method, answer, error, id=f"{method} {type(answer(3)).__name__} {answer(3)!r}".split(" at 0x")[0][:30]
    )
    for method, answer, error in (
        ("readinto", lambda size: size + 1, ValueError),
        ("readinto", lambda size: sys.maxsize, ValueError),
        ("readinto", lambda size: 1 << 70, OverflowError),
        ("readinto", lambda size: -1, ValueError),
        ("readinto", lambda size: -(1 << 40), ValueError),
        ("readinto", lambda size: None, BlockingIOError),
        ("readinto", lambda size: "many", TypeError),
        ("readinto", lambda size: 1.5, TypeError),
        ("read", lambda size: bytes(size + 1), ValueError),
        ("read", lambda size: bytes(size * 2), ValueError),
        ("read", lambda size: None, BlockingIOError),
        ("read", lambda size: "text", TypeError),
        ("read", lambda size: 7, TypeError),
        ("read", lambda size: memoryview(bytes(100))[::2], BufferError),
        ("readinto", lambda size: OSError("no luck"), OSError),
        ("read", lambda size: KeyError("no luck"), KeyError),
        ("readinto", lambda size: KeyboardInterrupt(), KeyboardInterrupt),
    )
]


every_wrong_answer = pytest.mark.parametrize(("method", "answer", "error"), WRONG)


@every_wrong_answer
def test_wrong_answer_raises_after_the_packets_before_it_and_reading_continues(method, answer, error):
    file = Scripted(method, pcap_header() + RECORD, RECORD + RECORD[:30], answer, RECORD[30:] + RECORD)
    with PcapSource(file, block_size=4096) as source:
        assert source.next_payload()[0] == FRAME
        assert source.next_payload()[0] == FRAME
        with pytest.raises(error):
            source.next_payload()
        assert len(source.next_batch()) == 2
        with pytest.raises(EOFError):
            source.next_payload()
        assert source.total_stats.packets_received == 4


@every_wrong_answer
@pytest.mark.parametrize(
    "before", [b"", b"\x1f", pcap_header()[:7]], ids=["nothing", "half of the gzip magic", "half of a header"]
)
def test_wrong_answer_raises_while_opening(method, answer, error, before):
    answers = [before, answer] if before else [answer]
    with pytest.raises(error):
        PcapSource(Scripted(method, *answers))


@every_wrong_answer
def test_wrong_answer_in_a_compressed_file_raises_and_reading_continues(method, answer, error):
    data = make_samples.gzip_member(pcap_header() + RECORD * 3, 0)
    file = Scripted(method, data[:200], answer, data[200:])
    with PcapSource(file) as source:
        assert source.next_payload()[0] == FRAME
        with pytest.raises(error):
            source.next_payload()
        assert len(list(source)) == 2
        assert source.progress == (len(data), None)


def test_exception_of_the_name_attribute_is_passed_on():
    class Bad:
        @property
        def name(self):
            raise RuntimeError("no name")

        def read(self, size):
            return b""

    with pytest.raises(RuntimeError, match="no name"):
        PcapSource(Bad())


def test_file_object_may_keep_the_memoryviews_it_was_given(sample):
    """They stay valid and writing to them does no harm, whether over a block or a decompressor's input."""

    class Keeper(io.BytesIO):
        kept: list[memoryview]

        def readinto1(self, buffer):
            self.kept.append(buffer)
            return super().readinto(buffer[:500])

        readinto = readinto1

    for data in (sample.data, gzip.compress(sample.data)):
        file = Keeper(data)
        file.kept = []
        with PcapSource(file, block_size=2048) as source:
            assert sum(len(batch) for batch in source.batches()) == 195
        del source
        gc.collect()
        others = [read(sample.path, block_size=2048) for _ in range(3)]
        assert len(file.kept) > 10
        for view in file.kept:
            assert len(view) == len(bytes(view)) > 0
            view[:] = b"\xff" * len(view)
        assert all(np.array_equal(other.records, others[0].records) for other in others)
        assert all(other.payload(194) == sample.rows[194].data for other in others)


@pytest.mark.parametrize(
    "read_all",
    [list, lambda s: list(s.batches()), lambda s: [s.next_packet() for _ in count()]],
    ids=["iteration", "batches", "next_packet"],
)
def test_eof_error_of_a_file_object_means_truncated(sample_of, read_all):
    """Python's decompressors raise it for a cut stream; a source raises it at a good end."""
    data = sample_of("mixed.pcap.gz").path.read_bytes()
    with PcapSource(gzip.GzipFile(fileobj=io.BytesIO(data[:-100]))) as source:
        for _ in range(2):
            with pytest.raises(TruncatedFileError, match="end-of-stream"):
                read_all(source)
        assert source.total_stats.packets_received > 0
