"""`close` ends reads and loops; views stay valid."""

from __future__ import annotations

import gc
import os

import pytest

from make_samples import pcap_header
from slimcap import NO_IP, CaptureStopped, PcapSource, Stats, read
from support.numbered import number_of, numbered, numbers_of
from support.readers import every_loop, every_reader
from support.threads import wait_until


@every_reader
def test_close_ends_a_wait(fifo_source, background, reader):
    waiting = background(lambda: reader(fifo_source))
    waiting.wait_until_blocked()
    fifo_source.close()
    with pytest.raises(CaptureStopped):
        waiting.result()
    with pytest.raises(CaptureStopped):
        reader(fifo_source)


@every_loop
def test_close_ends_a_loop_that_waits(fifo_source, fifo, background, loop):
    fifo.write(numbered(2))
    waiting = background(lambda: loop(fifo_source))
    wait_until(lambda: fifo_source.total_stats.packets_received == 2)
    fifo_source.close()
    assert numbers_of(waiting.result()) == [0, 1]


def test_close_ends_a_wait_on_a_pipe(background):
    reading, writing = os.pipe()
    os.write(writing, pcap_header() + numbered(1))
    with PcapSource(f"/dev/fd/{reading}") as source:
        assert number_of(source.next_packet().payload) == 0
        waiting = background(source.next_packet)
        waiting.wait_until_blocked()
        source.close()
        with pytest.raises(CaptureStopped):
            waiting.result()
    os.close(reading)
    os.close(writing)


def test_close_within_a_loop_ends_the_loop(file_of):
    with PcapSource(file_of(numbered(5))) as source:
        seen = []
        for packet in source:
            seen.append(number_of(packet.payload))
            if len(seen) == 2:
                source.close()
        assert seen == [0, 1]
    with PcapSource(file_of(numbered(5))) as source:
        seen = []
        for batch in source.batches(1):
            seen.append(number_of(batch.payload(0)))
            if len(seen) == 2:
                source.close()
        assert seen == [0, 1]


@every_reader
def test_reading_a_closed_source_raises_capture_stopped(file_of, reader):
    source = PcapSource(file_of(numbered(3)))
    assert not source.closed
    reader(source)
    source.close()
    source.close()
    assert source.closed
    for _ in range(2):
        with pytest.raises(CaptureStopped):
            reader(source)
    with pytest.raises(CaptureStopped):
        iter(source)
    with pytest.raises(CaptureStopped):
        source.batches()
    with pytest.raises(StopIteration):
        next(source)


def test_attributes_remain_after_close(file_of):
    path = file_of(numbered(3))
    with PcapSource(path) as source:
        source.next_packet()
    source.unblock()
    assert source.link.name == source.name == str(path)
    assert (source.version, source.byte_order, source.resolution) == ((2, 4), "little", 1000)
    assert source.stats() == Stats(1, 0, 0)
    assert source.new_packet().capacity == 262144
    assert source.progress == (path.stat().st_size,) * 2
    assert "closed" in repr(source)


def test_with_closes_the_source_when_an_exception_is_raised(file_of):
    with pytest.raises(KeyError), PcapSource(file_of(numbered(3))) as source:
        raise KeyError
    assert source.closed


def test_close_leaves_the_file_object_open(sample_of):
    with open(sample_of("null.pcap").path, "rb") as file:
        with PcapSource(file) as source:
            assert len(list(source)) == 7
        assert not file.closed


# ---- views


def test_views_outlive_their_source(sample_of):
    sample = sample_of("mixed.pcap")
    source = PcapSource(sample.path, block_size=2000)
    batch = source.next_batch(2)
    views = [source.next_payload_zero_copy()[0] for _ in range(50)]
    layers = [source.next_ip_packet_zero_copy()[0] for _ in range(50)]
    kept = []
    source.next_packet_fn(lambda payload, *rest: kept.append(payload))
    data, column, payload, packet = batch.data, batch["total_len"], batch.payload(0), batch[1]
    list(source)
    source.close()
    del source, batch
    gc.collect()
    # Reuse freed memory, so that a dangling view would show other bytes.
    others = [read(sample.path) for _ in range(5)]
    assert [bytes(view) for view in views] == [row.data for row in sample.rows[2:52]]
    rest = [
        (row, at) for row, at in zip(sample.rows[52:], sample.ip_offsets[52:], strict=True) if at != NO_IP
    ]
    assert [bytes(layer) for layer in layers] == [row.data[at:] for row, at in rest[:50]]
    assert bytes(kept[0]) in [row.data for row in sample.rows]
    assert bytes(data) == sample.data[: len(data)]
    assert column.tolist() == [row.total_len for row in sample.rows[:2]]
    assert bytes(payload) == sample.rows[0].data
    assert bytes(packet.payload) == sample.rows[1].data
    assert len(others) == 5


def test_close_leaves_open_views_valid(sample_of):
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path) as source:
        batch = source.next_batch()
        source.close()
        assert [bytes(packet.payload) for packet in batch] == [row.data for row in sample.rows]
        batch.release()
        with pytest.raises(ValueError, match="released"):
            batch.payload(0)


def test_a_batch_can_be_released_while_the_source_reads_on(sample_of):
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path, block_size=1000) as source:
        seen = []
        for batch in source.batches():
            seen += [bytes(packet.payload) for packet in batch]
            batch.release()
    assert seen == [row.data for row in sample.rows]
