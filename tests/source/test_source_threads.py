"""Sources and threads: one reader at a time, `close` and `unblock` from any thread."""

from __future__ import annotations

import contextlib
import io
import threading
import time

import pytest

from make_samples import pcap_header
from slimcap import CaptureStopped, CaptureUnblocked, PcapSource
from support.numbered import number_of, numbered
from support.readers import every_reader


@every_reader
def test_a_second_reader_raises_runtime_error(fifo_source, fifo, background, reader):
    waiting = background(fifo_source.next_packet)
    waiting.wait_until_blocked()
    with pytest.raises(RuntimeError, match="one reader"):
        reader(fifo_source, timeout=0)
    with pytest.raises(RuntimeError, match="one reader"):
        next(fifo_source)
    with pytest.raises(RuntimeError, match="one reader"):
        next(fifo_source.batches())
    fifo.write(numbered(1))
    assert number_of(waiting.result().payload) == 0


def test_readers_in_turn_share_the_packets(background, sample_of):
    """Each thread tries again when it is refused; each packet is read by one of them."""
    sample = sample_of("mixed.pcap")

    class Slow(io.BytesIO):
        def readinto1(self, buffer):
            time.sleep(0.0002)  # lets the other thread run
            return super().readinto(memoryview(buffer)[:700])

    def take():
        mine = []
        while True:
            try:
                packet = source.next_packet()
            except RuntimeError:
                continue
            except EOFError:
                return mine
            mine.append((packet.timestamp, packet.total_len, bytes(packet.payload)))

    with PcapSource(Slow(sample.data)) as source:
        threads = [background(take) for _ in range(3)]
        given = [facts for thread in threads for facts in thread.result(30)]
    assert sorted(given) == sorted(sample.facts)


def test_close_and_unblock_work_from_other_threads_at_any_time(background):
    """Closes 100 sources, each a little later than the one before."""
    data = pcap_header() + numbered(200)
    for turn in range(100):
        source = PcapSource(io.BytesIO(data), block_size=64)
        done = threading.Event()

        def disturb(source=source, done=done):
            while not done.is_set():
                source.unblock()
                time.sleep(0)

        def stop(source=source, turn=turn):
            time.sleep(turn * 1e-5)
            source.close()

        threads = [background(disturb), background(stop)]
        seen = []
        with contextlib.suppress(CaptureStopped, EOFError):
            while True:
                with contextlib.suppress(CaptureUnblocked):
                    seen.append(number_of(source.next_payload_zero_copy()[0]))
        done.set()
        for thread in threads:
            thread.result()
        assert seen == list(range(len(seen)))
        assert source.closed
