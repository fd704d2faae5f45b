"""`unblock` interrupts one read, and loses no packet."""

from __future__ import annotations

import pytest

from slimcap import CaptureUnblocked, PcapSource
from support.numbered import number_of, numbered, numbers_of
from support.readers import every_loop, every_reader


@every_reader
def test_unblock_before_a_read_raises_once(file_of, reader):
    with PcapSource(file_of(numbered(3))) as source:
        for expected in range(3):
            source.unblock()
            source.unblock()
            with pytest.raises(CaptureUnblocked):
                reader(source)
            assert number_of(reader(source).data) == expected


@every_reader
def test_unblock_ends_a_wait(fifo_source, fifo, background, reader):
    waiting = background(lambda: reader(fifo_source))
    waiting.wait_until_blocked()
    fifo_source.unblock()
    with pytest.raises(CaptureUnblocked):
        waiting.result()
    fifo.write(numbered(1))
    assert number_of(reader(fifo_source).data) == 0


@every_loop
def test_unblock_interrupts_a_loop_that_never_waits(file_of, loop):
    """All packets are available; none is lost."""
    with PcapSource(file_of(numbered(5))) as source:
        seen = [number_of(source.next_packet().payload), number_of(next(source).payload)]
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            loop(source)
        seen += numbers_of(loop(source))
    assert seen == [0, 1, 2, 3, 4]


@every_loop
def test_unblock_interrupts_a_loop_that_waits(fifo_source, fifo, background, loop):
    waiting = background(lambda: loop(fifo_source))
    waiting.wait_until_blocked()
    fifo_source.unblock()
    with pytest.raises(CaptureUnblocked):
        waiting.result()
    fifo.write(numbered(2))
    fifo.close()
    assert numbers_of(loop(fifo_source)) == [0, 1]


def test_unblock_in_the_middle_of_a_packet_loses_nothing(fifo_source, fifo):
    record = numbered(1)
    for byte in record[:-1]:
        fifo.write(bytes([byte]))
        fifo_source.unblock()
        with pytest.raises(CaptureUnblocked):
            fifo_source.next_packet()
        with pytest.raises(TimeoutError):
            fifo_source.next_packet(timeout=0)
    fifo.write(record[-1:])
    assert number_of(fifo_source.next_packet().payload) == 0
