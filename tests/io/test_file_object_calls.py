"""File objects that call their source while it reads from them, and sources that are closed meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import io
import threading
import time

import pytest

import make_samples
from make_samples import pcap_header, pcap_record
from slimcap import CaptureStopped, CaptureUnblocked, PcapSource
from slimcap.source.file.merged import MergedSource

FRAME = make_samples.ethernet(make_samples.packet4())
RECORD = pcap_record(FRAME)


class Meddler(io.BytesIO):
    """Calls `meddle(source)` in each read once `source` is set; `seen` is the result or the exception."""

    source = None
    seen = None

    def __init__(self, data, meddle):
        super().__init__(data)
        self._meddle = meddle

    def readinto1(self, buffer):
        if self.source is not None:
            try:
                self.seen = self._meddle(self.source)
            except Exception as error:
                self.seen = error
        return super().readinto(memoryview(buffer)[:200])


def test_file_object_may_close_its_source(sample):
    file = Meddler(sample.data, lambda source: source.close())
    source = file.source = PcapSource(file)
    seen = list(source)
    assert 0 < len(seen) < 195
    assert [bytes(packet.payload) for packet in seen] == [row.data for row in sample.rows[: len(seen)]]
    with pytest.raises(CaptureStopped):
        source.next_packet()


@pytest.mark.parametrize(
    "method",
    ["next_packet", "next_payload", "next_batch", "next_payload_zero_copy", "next_ip_packet_zero_copy"],
)
def test_file_object_cannot_read_from_its_source(sample, method):
    file = Meddler(sample.data, lambda source: getattr(source, method)())
    with PcapSource(file) as source:
        file.source = source
        assert len(list(source)) == 195
    assert isinstance(file.seen, RuntimeError)


def test_file_object_cannot_initialise_its_source_again(sample):
    file = Meddler(sample.data, lambda source: source.__init__(io.BytesIO(sample.data)))
    with PcapSource(file) as source:
        file.source = source
        assert len(list(source)) == 195
    assert isinstance(file.seen, TypeError)


@pytest.mark.parametrize(
    "meddle",
    [
        lambda source: source.close(),
        lambda source: source.next_packet(),
        lambda source: source.next_batch(),
        lambda source: source.__init__(io.BytesIO(pcap_header() + RECORD)),
    ],
    ids=["close", "next_packet", "next_batch", "__init__"],
)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_calls_to_a_source_that_is_being_opened_do_no_harm(sample, meddle, compressed):
    """It gives the file's packets or raises."""
    data = gzip.compress(sample.data) if compressed else sample.data

    class Slow(Meddler):
        def readinto1(self, buffer):
            return super().readinto1(memoryview(buffer)[:3])

        readinto = readinto1

    source = PcapSource.__new__(PcapSource)
    file = Slow(data, meddle)
    file.source = source
    try:
        source.__init__(file)
        file.source = None
        count = len(list(source))
    except (CaptureStopped, AttributeError, TypeError, ValueError, EOFError):
        count = None
    source.close()
    assert count in (None, 195)


MEDDLING = {
    "next_packet": lambda source: source.next_packet(),
    "next_batch": lambda source: source.next_batch(),
    "iteration": lambda source: next(source),
    "batches": lambda source: next(source.batches()),
    "__init__": lambda source: source.__init__(io.BytesIO(pcap_header() + RECORD)),
    "properties": lambda source: [
        getattr(source, name) for name in dir(type(source)) if not name.startswith("_")
    ],
    "repr": repr,
    "unfilterable": lambda source: source.unfilterable,
}


@pytest.mark.parametrize("kind", [PcapSource, MergedSource])
@pytest.mark.parametrize("meddle", MEDDLING)
def test_a_source_that_is_being_opened_can_neither_be_read_nor_opened(sample, kind, meddle):
    files = [Meddler(sample.data, MEDDLING[meddle]) for _ in range(3 if kind is MergedSource else 1)]
    source = kind.__new__(kind)
    for file in files:
        file.source = source
    source.__init__(files if kind is MergedSource else files[0])
    seen = [file.seen for file in files]
    for file in files:
        file.source = None
    assert len(list(source)) == 195 * len(files)
    if meddle in ("next_packet", "next_batch", "iteration", "batches"):
        assert all(isinstance(one, RuntimeError) for one in seen), seen
    if meddle == "__init__":
        assert all(isinstance(one, TypeError) for one in seen), seen
    source.close()


@pytest.mark.parametrize("kind", [PcapSource, MergedSource])
def test_a_source_that_is_closed_while_it_is_being_opened_closes(sample, kind):
    file = Meddler(sample.data, lambda source: source.close())
    source = file.source = kind.__new__(kind)
    with contextlib.suppress(CaptureStopped):
        source.__init__([file] if kind is MergedSource else file)
    assert source.closed
    with pytest.raises(CaptureStopped):
        source.next_packet()


def test_another_thread_cannot_read_from_a_source_that_is_being_opened(background, sample):
    inside, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def readinto1(self, buffer):
            inside.set()
            assert go_on.wait(10)
            return super().readinto(buffer)

    source = MergedSource.__new__(MergedSource)
    opening = background(lambda: source.__init__([Slow(sample.data), io.BytesIO(sample.data)]))
    assert inside.wait(10)
    with pytest.raises(RuntimeError, match="opens it"):
        source.next_packet()
    with pytest.raises(TypeError, match="once"):
        source.__init__([io.BytesIO(sample.data)])
    go_on.set()
    opening.result()
    assert len(list(source)) == 2 * 195


def test_close_from_another_thread_waits_for_no_read_of_a_file_object(background):
    """Buffers stay allocated until the read that is under way returns."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def readinto1(self, buffer):
            if self.tell():
                inside.set()
                assert go_on.wait(10)
            return super().readinto(memoryview(buffer)[: 24 + len(RECORD)])

    source = PcapSource(Slow(pcap_header() + RECORD * 3))
    assert source.next_payload()[0] == FRAME
    reading = background(source.next_payload)
    assert inside.wait(10)
    source.close()
    assert source.closed
    go_on.set()
    with contextlib.suppress(CaptureStopped):
        assert reading.result()[0] == FRAME
    with pytest.raises(CaptureStopped):
        source.next_payload()


@pytest.mark.parametrize(("signal", "error"), [("close", CaptureStopped), ("unblock", CaptureUnblocked)])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_close_and_unblock_take_effect_between_two_reads_of_a_file_object(
    background, signal, error, compressed
):
    """Not only after a packet that arrives in small pieces."""
    data = pcap_header() + pcap_record(make_samples.noise(100_000, "slow"))
    data = gzip.compress(data, 0) if compressed else data
    started, stopped = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def readinto1(self, buffer):
            if stopped.is_set():
                return 0
            if self.tell() > 1000:
                started.set()
            time.sleep(0.001)
            return super().readinto(memoryview(buffer)[:24])

        readinto = readinto1

    source = PcapSource(Slow(data))
    reading = background(source.next_packet)
    assert started.wait(10)
    getattr(source, signal)()
    try:
        with pytest.raises(error):
            reading.result(2)
    finally:
        stopped.set()
        reading.join(10)


def test_stop_iteration_of_a_file_object_is_an_error():
    """It must not end the loop as if the file had ended."""

    class Broken(io.BytesIO):
        def readinto1(self, buffer):
            if self.tell() > 1000:
                raise StopIteration("no more")
            return super().readinto(memoryview(buffer)[:200])

    with PcapSource(Broken(pcap_header() + RECORD * 100)) as source:
        with pytest.raises(RuntimeError, match="reading raised StopIteration: no more"):
            for _ in source:
                pass
        with pytest.raises(RuntimeError, match="StopIteration"):
            list(source.batches())
