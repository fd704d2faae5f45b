"""Timeouts of a call and of a source."""

from __future__ import annotations

import threading
import time

import pytest

from make_samples import pcap_header, pcap_record
from slimcap import PcapSource
from support.numbered import NOT_IP, number_of, numbered, numbers_of, rest_of
from support.readers import READERS, every_loop, every_reader


@every_reader
def test_timeout_of_a_call_raises_when_no_packet_comes(fifo_source, fifo, reader):
    with pytest.raises(TimeoutError):
        reader(fifo_source, timeout=0.02)
    fifo.write(numbered(1))
    assert number_of(reader(fifo_source, timeout=5).data) == 0


@every_reader
def test_timeout_of_a_source_applies_to_every_read(fifo, reader):
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=0.02) as source:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                reader(source)
        fifo.write(numbered(1))
        assert number_of(reader(source).data) == 0
        with pytest.raises(TimeoutError):
            reader(source)


@every_reader
def test_timeout_of_a_call_overrides_that_of_the_source(fifo, background, reader):
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=0.01) as source:
        waiting = background(lambda: reader(source, timeout=float("inf")))
        time.sleep(0.03)
        fifo.write(numbered(1))
        assert number_of(waiting.result().data) == 0


@every_loop
def test_timeout_raises_from_a_loop_which_can_be_continued(fifo, loop):
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=0.02) as source:
        with pytest.raises(TimeoutError):
            loop(source)
        fifo.write(numbered(2))
        fifo.close()
        assert numbers_of(loop(source)) == [0, 1]


def test_timeout_of_batches_applies_to_every_batch(fifo_source, fifo):
    batches = fifo_source.batches(timeout=0.02)
    with pytest.raises(TimeoutError):
        next(batches)
    fifo.write(numbered(1))
    assert len(next(batches)) == 1


@every_reader
def test_timeout_0_reads_available_packets_only(fifo_source, fifo, reader):
    with pytest.raises(TimeoutError):
        reader(fifo_source, timeout=0)
    fifo.write(numbered(2))
    assert [number_of(reader(fifo_source, timeout=0).data) for _ in range(2)] == [0, 1]
    with pytest.raises(TimeoutError):
        reader(fifo_source, timeout=0)


@every_reader
@pytest.mark.parametrize("timeout", [-1, -1e-9, float("nan"), float("-inf")])
def test_timeout_out_of_range_raises_value_error(fifo_source, fifo, reader, timeout):
    fifo.write(numbered(1))
    with pytest.raises(ValueError, match="timeout"):
        reader(fifo_source, timeout=timeout)
    assert number_of(reader(fifo_source).data) == 0


def test_timeout_is_checked_even_if_packets_are_available(file_of):
    with PcapSource(file_of(numbered(3))) as source:
        source.next_packet()
        for reader in READERS.values():
            for timeout in (-1, float("nan")):
                with pytest.raises(ValueError, match="timeout"):
                    reader(source, timeout=timeout)
        assert rest_of(source) == [1, 2]


@pytest.mark.parametrize("timeout", ["1", object()])
def test_timeout_of_another_type_raises_type_error(fifo_source, timeout):
    with pytest.raises(TypeError):
        fifo_source.next_packet(timeout=timeout)


def test_timeout_in_the_middle_of_a_packet_loses_nothing(fifo_source, fifo):
    for start in range(3):
        record = numbered(1, start)
        for at in range(0, len(record), 9):
            with pytest.raises(TimeoutError):
                fifo_source.next_packet(timeout=0)
            fifo.write(record[at : at + 9])
        assert number_of(fifo_source.next_packet(timeout=0).payload) == start


def test_timeout_is_not_extended_by_packets_that_are_skipped(fifo_source, fifo, background):
    done = threading.Event()

    def chatter():
        while not done.wait(0.02):
            fifo.write(pcap_record(NOT_IP))

    talking = background(chatter)
    started = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            fifo_source.next_ip_packet(timeout=0.2)
        took = time.monotonic() - started
    finally:
        done.set()
        talking.result()
    assert 0.2 <= took < 5
    assert fifo_source.total_stats.packets_received > 0


def test_timeout_while_opening_leaks_no_descriptor(fifo, open_descriptors):
    before = open_descriptors()
    with pytest.raises(TimeoutError):
        PcapSource(fifo.path, timeout=0.02)
    fifo.write(pcap_header()[:10])
    with pytest.raises(TimeoutError):
        PcapSource(fifo.path, timeout=0.02)
    assert open_descriptors() == before
