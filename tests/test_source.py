"""The contract of a source: every way of reading gives every packet once, in order, whatever happens."""

from __future__ import annotations

import array
import contextlib
import copy
import gc
import io
import mmap
import os
import pickle
import random
import signal
import threading
import time
import weakref

import make_samples
import numpy as np
import pytest
from make_samples import pcap_file, pcap_header, pcap_record

from slimcap import (
    NO_IP,
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    IPLayer,
    Packet,
    PacketType,
    PcapSource,
    RecordFlag,
    Source,
    Stats,
    View,
    ZeroCopySource,
    read,
)

FRAME = make_samples.ethernet(make_samples.packet4())
NOT_IP = make_samples.ethernet(make_samples.arp_request(), make_samples.ARP)


def numbered(count, start=0):
    """Records of `count` packets that can be told apart."""
    return b"".join(pcap_record(FRAME + bytes([i])) for i in range(start, start + count))


def number_of(payload):
    return bytes(payload)[-1]


# What reads one packet and gives its bytes. FRAME has an IP layer, so that all of them give each packet.
READERS = {
    "next_packet": lambda source, **options: source.next_packet(**options).payload,
    "next_packet in place": lambda source, **options: (
        source.next_packet(source.new_packet(), **options).payload
    ),
    "next_payload": lambda source, **options: source.next_payload(**options)[0],
    "next_payload in place": lambda source, **options: source.next_payload(bytearray(2000), **options)[0],
    "next_ip_packet": lambda source, **options: source.next_ip_packet(**options)[0],
    "next_ip_packet in place": lambda source, **options: source.next_ip_packet(bytearray(2000), **options)[0],
    "next_packet_fn": lambda source, **options: source.next_packet_fn(lambda p, *rest: bytes(p), **options),
    "next_payload_zero_copy": lambda source, **options: source.next_payload_zero_copy(**options)[0],
    "next_ip_packet_zero_copy": lambda source, **options: source.next_ip_packet_zero_copy(**options)[0],
    "next_batch": lambda source, **options: source.next_batch(1, **options).payload(0),
}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


def loop(source):
    return [number_of(packet.payload) for packet in source]


def batch_loop(source):
    return [number_of(packet.payload) for batch in source.batches() for packet in batch]


every_loop = pytest.mark.parametrize("loop", [loop, batch_loop])


@pytest.fixture
def file_of(tmp_path):
    """Gives the path of a capture file with these records."""

    def write(records):
        path = tmp_path / "some.pcap"
        path.write_bytes(pcap_header() + records)
        return path

    return write


@pytest.fixture
def live(fifo):
    """A source that waits for what is written to `fifo`."""
    fifo.write(pcap_header())
    with PcapSource(fifo.path) as source:
        yield source


def ip_rows(sample):
    """The packets with an IP layer, and where that starts."""
    pairs = zip(sample.rows, sample.ip_offsets, strict=True)
    return [(row, at) for row, at in pairs if at != NO_IP]


def all_of(call):
    """What `call` gives until it raises EOFError; that it does so again."""
    given = []
    with contextlib.suppress(EOFError):
        while True:
            given.append(call())
    with pytest.raises(EOFError):
        call()
    return given


# ---- one by one, on every sample


@pytest.fixture
def source(good):
    with PcapSource(good.path) as opened:
        yield opened


def expected_types(good):
    return read(good.path)["pkt_type"].tolist()


def test_next_packet(good, source):
    packets = all_of(source.next_packet)
    assert [bytes(packet.payload) for packet in packets] == [row.data for row in good.rows]
    assert [packet.timestamp for packet in packets] == [row.timestamp for row in good.rows]
    assert [packet.total_len for packet in packets] == [row.total_len for row in good.rows]
    assert [len(packet) for packet in packets] == [len(row.data) for row in good.rows]
    assert [packet.ip_layer_offset for packet in packets] == good.ip_offsets
    assert [packet.type for packet in packets] == expected_types(good)
    assert all(type(packet) is Packet and type(packet.type) is PacketType for packet in packets)


def test_next_packet_in_place(good, source):
    buf = source.new_packet()
    assert len(buf) == 0
    for row, at in zip(good.rows, good.ip_offsets, strict=True):
        assert source.next_packet(buf) is buf
        assert (bytes(buf.payload), buf.timestamp, buf.total_len) == (row.data, row.timestamp, row.total_len)
        assert bytes(buf.ip_layer) == (b"" if at == NO_IP else row.data[at:])
    with pytest.raises(EOFError):
        source.next_packet(buf)


@pytest.mark.parametrize("size", [0, 100, 149, 600])
def test_next_packet_in_a_short_packet_gets_what_fits(good, source, size):
    buf = Packet(bytes(6 + size))
    for row in good.rows:
        source.next_packet(buf)
        have = min(len(row.data), buf.capacity)
        assert bytes(buf.payload) == row.data[:have]
        assert (buf.cap_len, buf.total_len) == (have, row.total_len)
        assert (RecordFlag.TRUNCATED in buf.flags) == (have < row.total_len)
    assert buf.capacity >= size


def test_next_payload(good, source):
    given = all_of(source.next_payload)
    assert [payload for payload, _, _ in given] == [row.data for row in good.rows]
    assert [kind for _, kind, _ in given] == expected_types(good)
    assert [total for _, _, total in given] == [row.total_len for row in good.rows]
    assert all(type(payload) is bytes and type(kind) is PacketType for payload, kind, _ in given)


@pytest.mark.parametrize("size", [0, 1, 14, 60, 300_000])
def test_next_payload_in_place(good, source, size):
    buf = bytearray(b"\xa5" * size)
    for row, kind in zip(good.rows, expected_types(good), strict=True):
        payload, pkt_type, total = source.next_payload(buf)
        have = min(size, len(row.data))
        assert type(payload) is View
        assert payload == row.data[:have] == buf[:have]
        assert (pkt_type, total) == (kind, row.total_len)
        assert buf[have : have + 8] == b"\xa5" * min(8, size - have)
        buf[:have] = b"\xa5" * have
    with pytest.raises(EOFError):
        source.next_payload(buf)


def test_next_ip_packet(good, source):
    given = all_of(source.next_ip_packet)
    rows = ip_rows(good)
    assert [bytes(layer) for layer, _, _ in given] == [row.data[at:] for row, at in rows]
    assert [total for _, _, total in given] == [row.total_len for row, _ in rows]
    kinds = [kind for kind, at in zip(expected_types(good), good.ip_offsets, strict=True) if at != NO_IP]
    assert [kind for _, kind, _ in given] == kinds
    assert all(type(layer) is IPLayer for layer, _, _ in given)
    assert source.total_stats.packets_received == len(good.rows)


@pytest.mark.parametrize("size", [0, 1, 19, 20, 300_000])
def test_next_ip_packet_in_place(good, source, size):
    buf = bytearray(size)
    for row, at in ip_rows(good):
        layer, _, total = source.next_ip_packet(buf)
        assert type(layer) is IPLayer
        assert layer == row.data[at : at + size] == buf[: len(layer)]
        assert total == row.total_len
    with pytest.raises(EOFError):
        source.next_ip_packet(buf)


def test_next_packet_fn(good, source):
    given = all_of(lambda: source.next_packet_fn(lambda *args: (bytes(args[0]), *args[1:], type(args[0]))))
    rows = zip(good.rows, expected_types(good), good.ip_offsets, strict=True)
    assert given == [(row.data, row.total_len, kind, at, View) for row, kind, at in rows]


def test_next_payload_zero_copy(good, source):
    given = all_of(source.next_payload_zero_copy)
    assert [(bytes(view), total) for view, _, total in given] == [
        (row.data, row.total_len) for row in good.rows
    ]
    assert [kind for _, kind, _ in given] == expected_types(good)
    assert all(type(view) is View and type(kind) is PacketType for view, kind, _ in given)


def test_next_ip_packet_zero_copy(good, source):
    given = all_of(source.next_ip_packet_zero_copy)
    assert [(bytes(view), total) for view, _, total in given] == [
        (row.data[at:], row.total_len) for row, at in ip_rows(good)
    ]
    assert all(type(view) is IPLayer for view, _, _ in given)


def test_iteration(good, source):
    assert iter(source) is source
    packets = list(source)
    assert [(packet.timestamp, packet.total_len, bytes(packet.payload)) for packet in packets] == good.facts
    assert list(source) == []
    with pytest.raises(StopIteration):
        next(source)


@pytest.mark.parametrize("most", [1, 2, 7, 1000, None])
def test_batches(good, source, most):
    batches = list(source.batches(max_packets=most))
    payloads = [bytes(batch.payload(i)) for batch in batches for i in range(len(batch))]
    assert payloads == [row.data for row in good.rows]
    assert all(0 < len(batch) <= (most or len(batch)) for batch in batches)
    assert list(source.batches(most)) == []
    with pytest.raises(EOFError):
        source.next_batch()


def test_batches_go_on_where_another_stopped(sample_of):
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path, block_size=4096) as source:
        first = next(source.batches(3))
        second = next(source.batches(5))
        rest = list(source.batches())
    facts = [(p.timestamp, p.total_len, bytes(p.payload)) for batch in (first, second, *rest) for p in batch]
    assert (len(first), len(second)) == (3, 5)
    assert facts == sample.facts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("block_size", [64, 2000, 1 << 20])
def test_all_ways_mixed_lose_nothing(sample_of, seed, block_size):
    """Each packet comes once, in order; `next_ip_packet` passes over those without an IP layer."""
    sample = sample_of("mixed.pcap")
    pick = random.Random(seed)
    left = list(zip(sample.rows, sample.ip_offsets, strict=True))
    with PcapSource(sample.path, block_size=block_size) as source:
        while left:
            name = pick.choice([*READERS, "iteration", "next_batch of some"])
            if name == "iteration":
                assert bytes(next(source).payload) == left.pop(0)[0].data
            elif name == "next_batch of some":
                batch = source.next_batch(pick.randint(1, 4))
                assert [bytes(p.payload) for p in batch] == [row.data for row, _ in left[: len(batch)]]
                del left[: len(batch)]
            elif "ip" in name.split("_"):
                while left and left[0][1] == NO_IP:
                    del left[0]
                if left:
                    row, at = left.pop(0)
                    assert bytes(READERS[name](source)) == row.data[at:]
            else:
                assert bytes(READERS[name](source)) == left.pop(0)[0].data, name
            assert source.total_stats.packets_received >= len(sample.rows) - len(left) - 1
        with pytest.raises(EOFError):
            source.next_ip_packet()
        assert source.total_stats.packets_received == len(sample.rows)


# ---- buffers that are given


@pytest.mark.parametrize(
    "make",
    [
        bytearray,
        lambda size: memoryview(bytearray(size)),
        lambda size: memoryview(bytearray(size + 8))[4:-4],
        lambda size: np.zeros(size, "u1"),
        lambda size: np.zeros((4, size // 4), "u1"),
        lambda size: array.array("I", bytes(size)),
        lambda size: mmap.mmap(-1, size),
    ],
    ids=["bytearray", "memoryview", "slice", "numpy", "numpy 2d", "array", "mmap"],
)
def test_any_writable_buffer_will_do(file_of, make):
    with PcapSource(file_of(numbered(2))) as source:
        buf = make(4096)
        first, _, _ = source.next_payload(buf)
        assert bytes(first) == FRAME + b"\0" == bytes(memoryview(buf).cast("B"))[: len(FRAME) + 1]
        del first
        assert bytes(source.next_ip_packet(buf)[0]) == FRAME[14:] + b"\1"


@pytest.mark.parametrize("method", ["next_payload", "next_ip_packet"])
@pytest.mark.parametrize(
    ("buf", "error"),
    [
        (bytes(100), BufferError),
        (memoryview(bytearray(100))[::2], BufferError),
        ("text", TypeError),
        (7, TypeError),
    ],
    ids=["read-only", "strided", "text", "number"],
)
def test_a_buffer_that_cannot_be_written_costs_no_packet(file_of, method, buf, error):
    with PcapSource(file_of(numbered(3))) as source:
        for _ in range(2):
            with pytest.raises(error):
                getattr(source, method)(buf)
        assert source.total_stats.packets_received == 0
        assert loop(source) == [0, 1, 2]


@pytest.mark.parametrize("buf", [bytearray(100), b"", 7])
def test_next_packet_takes_packets_only(file_of, buf):
    with PcapSource(file_of(numbered(1))) as source:
        with pytest.raises(TypeError):
            source.next_packet(buf)
        assert loop(source) == [0]


def test_next_packet_in_a_packet_view_is_refused_or_safe(file_of):
    """A PacketView has no memory of its own to write to: its payload must not outlive what it shows."""
    path = file_of(numbered(3))
    view = read(path)[2]
    with PcapSource(path) as source:
        try:
            source.next_packet(view)
        except (TypeError, ValueError, BufferError):
            assert loop(source) == [0, 1, 2]
            return
        payload = view.payload
        del view
        others = list(PcapSource(io.BytesIO(pcap_header() + numbered(100, 100))))
        assert number_of(payload) == 0
        assert len(others) == 100


def test_a_packet_given_again_keeps_the_memory_of_its_views(file_of):
    with PcapSource(file_of(numbered(3))) as source:
        buf = source.new_packet()
        view = source.next_packet(buf).payload
        source.next_packet(buf)
        assert number_of(view) == 1  # as documented: it changes with the packet
        del buf
        assert number_of(view) == 1


def test_a_given_buffer_is_held_until_another_is_given_or_the_source_closed(file_of):
    first, second = bytearray(100), bytearray(100)
    with PcapSource(file_of(numbered(3))) as source:
        source.next_payload(first)
        with pytest.raises(BufferError):
            first.extend(b"more")
        source.next_payload(second)
        first.extend(b"more")
        with pytest.raises(BufferError):
            second.extend(b"more")
    second.extend(b"more")


def test_views_of_a_given_buffer_keep_it(file_of):
    with PcapSource(file_of(numbered(1))) as source:
        view, _, _ = source.next_payload(bytearray(100))
    del source
    gc.collect()
    assert bytes(view) == FRAME + b"\0"


@pytest.mark.parametrize(
    ("most", "error"), [(0, ValueError), (-1, ValueError), ("x", TypeError), (1.5, TypeError)]
)
def test_max_packets_out_of_range(file_of, most, error):
    with PcapSource(file_of(numbered(3))) as source:
        with pytest.raises(error):
            source.next_batch(most)
        with pytest.raises(error):
            next(source.batches(most))
        assert loop(source) == [0, 1, 2]


@pytest.mark.parametrize("snaplen", [1, 148, 149, 1000])
def test_new_packet_can_hold_any_packet(sample_of, snaplen):
    with PcapSource(sample_of("mixed.pcap").path, snaplen=snaplen) as source:
        assert source.new_packet().capacity >= snaplen
    with PcapSource(
        sample_of("oversnap.pcap").path
    ) as source:  # whose header says less than its packets have
        assert source.new_packet().capacity == 262144


# ---- counters


def test_stats(sample_of):
    with PcapSource(sample_of("mixed.pcap").path, block_size=4096) as source:
        assert source.stats() == source.total_stats == Stats(0, 0, 0)
        for _ in range(7):
            source.next_packet()
        assert source.total_stats == Stats(7, 0, 0)
        assert source.stats() == Stats(7, 0, 0)
        assert source.stats() == Stats(0, 0, 0)
        got = len(source.next_batch())
        assert source.stats() == Stats(got, 0, 0)
        assert source.total_stats == Stats(7 + got, 0, 0)
        left = len(list(source))
        assert source.stats() == Stats(left, 0, 0)
        assert source.total_stats == Stats(195, 0, 0)
    assert source.total_stats == Stats(195, 0, 0)


def test_stats_count_what_was_given_out_not_what_was_decoded(sample_of):
    with PcapSource(sample_of("mixed.pcap").path) as source:
        source.next_batch(10)
    assert source.total_stats == Stats(10, 0, 0)
    assert source.stats().packets_received == 10


def test_stats_count_packets_passed_over(file_of):
    with PcapSource(file_of(pcap_record(NOT_IP) * 3 + numbered(1) + pcap_record(NOT_IP))) as source:
        source.next_ip_packet()
        assert source.stats().packets_received == 4
        with pytest.raises(EOFError):
            source.next_ip_packet_zero_copy()
        assert source.total_stats.packets_received == 5


# ---- unblock


@every_reader
def test_unblock_before_a_read_raises_once(file_of, reader):
    with PcapSource(file_of(numbered(3))) as source:
        for expected in range(3):
            source.unblock()
            source.unblock()
            with pytest.raises(CaptureUnblocked):
                reader(source)
            assert number_of(reader(source)) == expected


@every_reader
def test_unblock_during_a_wait(live, fifo, background, reader):
    waiting = background(lambda: reader(live))
    time.sleep(0.05)
    live.unblock()
    with pytest.raises(CaptureUnblocked):
        waiting.result()
    fifo.write(numbered(1))
    assert number_of(reader(live)) == 0


@every_loop
def test_unblock_is_seen_by_a_reader_that_never_waits(file_of, loop):
    """All packets are there: the signal interrupts the loop all the same, and nothing is lost by it."""
    with PcapSource(file_of(numbered(5))) as source:
        seen = [number_of(source.next_packet().payload), number_of(next(source).payload)]
        source.unblock()
        with pytest.raises(CaptureUnblocked):
            loop(source)
        seen += loop(source)
    assert seen == [0, 1, 2, 3, 4]


@every_loop
def test_unblock_goes_through_a_loop_that_waits(live, fifo, background, loop):
    waiting = background(lambda: loop(live))
    time.sleep(0.05)
    live.unblock()
    with pytest.raises(CaptureUnblocked):
        waiting.result()
    fifo.write(numbered(2))
    fifo.close()
    assert loop(live) == [0, 1]


def test_unblock_in_the_middle_of_a_packet_loses_nothing(live, fifo):
    record = numbered(1)
    for byte in record[:-1]:
        fifo.write(bytes([byte]))
        live.unblock()
        with pytest.raises(CaptureUnblocked):
            live.next_packet()
        with pytest.raises(TimeoutError):
            live.next_packet(timeout=0)
    fifo.write(record[-1:])
    assert number_of(live.next_packet().payload) == 0


# ---- close


@every_reader
def test_close_during_a_wait(live, background, reader):
    waiting = background(lambda: reader(live))
    time.sleep(0.05)
    live.close()
    with pytest.raises(CaptureStopped):
        waiting.result()
    with pytest.raises(CaptureStopped):
        reader(live)


@every_loop
def test_close_during_a_wait_ends_a_loop(live, fifo, background, loop):
    fifo.write(numbered(2))
    waiting = background(lambda: loop(live))
    deadline = time.monotonic() + 10
    while live.total_stats.packets_received < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    live.close()
    assert waiting.result() == [0, 1]


def test_close_during_a_wait_on_a_pipe(background):
    reading, writing = os.pipe()
    os.write(writing, pcap_header() + numbered(1))
    with PcapSource(f"/dev/fd/{reading}") as source:
        assert number_of(source.next_packet().payload) == 0
        waiting = background(source.next_packet)
        time.sleep(0.05)
        source.close()
        with pytest.raises(CaptureStopped):
            waiting.result()
    os.close(reading)
    os.close(writing)


def test_close_in_a_loop_ends_it(file_of):
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
def test_use_after_close(file_of, reader):
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


def test_what_is_known_stays_after_close(file_of):
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


def test_with_closes_when_something_is_raised(file_of):
    with pytest.raises(KeyError), PcapSource(file_of(numbered(3))) as source:
        raise KeyError
    assert source.closed


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
    # Let whoever wants to overwrite memory that is free.
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


def test_close_with_views_open(sample_of):
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path) as source:
        batch = source.next_batch()
        source.close()
        assert [bytes(packet.payload) for packet in batch] == [row.data for row in sample.rows]
        batch.release()
        with pytest.raises(ValueError, match="released"):
            batch.payload(0)


def test_a_batch_gives_its_memory_back_while_the_source_reads_on(sample_of):
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path, block_size=1000) as source:
        seen = []
        for batch in source.batches():
            seen += [bytes(packet.payload) for packet in batch]
            batch.release()
    assert seen == [row.data for row in sample.rows]


# ---- timeouts


@every_reader
def test_timeout_of_a_call(live, fifo, reader):
    with pytest.raises(TimeoutError):
        reader(live, timeout=0.02)
    fifo.write(numbered(1))
    assert number_of(reader(live, timeout=5)) == 0


@every_reader
def test_timeout_of_a_source(fifo, reader):
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=0.02) as source:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                reader(source)
        fifo.write(numbered(1))
        assert number_of(reader(source)) == 0
        with pytest.raises(TimeoutError):
            reader(source)


@every_reader
def test_timeout_of_a_call_goes_before_that_of_the_source(fifo, background, reader):
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=0.02) as source:
        waiting = background(lambda: reader(source, timeout=float("inf")))
        time.sleep(0.1)
        fifo.write(numbered(1))
        assert number_of(waiting.result()) == 0


@every_loop
def test_timeout_goes_through_a_loop(fifo, loop):
    fifo.write(pcap_header())
    with PcapSource(fifo.path, timeout=0.02) as source:
        with pytest.raises(TimeoutError):
            loop(source)
        fifo.write(numbered(2))
        fifo.close()
        assert loop(source) == [0, 1]


def test_timeout_of_batches(live, fifo):
    batches = live.batches(timeout=0.02)
    with pytest.raises(TimeoutError):
        next(batches)
    fifo.write(numbered(1))
    assert len(next(batches)) == 1


@every_reader
def test_timeout_0_takes_what_is_there(live, fifo, reader):
    with pytest.raises(TimeoutError):
        reader(live, timeout=0)
    fifo.write(numbered(2))
    assert [number_of(reader(live, timeout=0)) for _ in range(2)] == [0, 1]
    with pytest.raises(TimeoutError):
        reader(live, timeout=0)


@every_reader
@pytest.mark.parametrize("timeout", [-1, -1e-9, float("nan"), float("-inf")])
def test_timeout_out_of_range(live, fifo, reader, timeout):
    fifo.write(numbered(1))
    with pytest.raises(ValueError, match="timeout"):
        reader(live, timeout=timeout)
    assert number_of(reader(live)) == 0


def test_timeout_out_of_range_when_packets_are_there(file_of):
    """Whether a wrong argument is refused does not depend on what has been read ahead."""
    with PcapSource(file_of(numbered(3))) as source:
        source.next_packet()
        for reader in READERS.values():
            for timeout in (-1, float("nan")):
                with pytest.raises(ValueError, match="timeout"):
                    reader(source, timeout=timeout)
        assert loop(source) == [1, 2]


@pytest.mark.parametrize("timeout", ["1", object()])
def test_timeout_of_another_type(live, timeout):
    with pytest.raises(TypeError):
        live.next_packet(timeout=timeout)


def test_timeout_in_the_middle_of_a_packet_loses_nothing(live, fifo):
    for start in range(3):
        record = numbered(1, start)
        for at in range(0, len(record), 9):
            with pytest.raises(TimeoutError):
                live.next_packet(timeout=0)
            fifo.write(record[at : at + 9])
        assert number_of(live.next_packet(timeout=0).payload) == start


def test_timeout_covers_packets_that_are_passed_over(live, fifo, background):
    """A stream of packets without an IP layer does not make the wait for one with it longer."""
    done = threading.Event()

    def chatter():
        while not done.wait(0.02):
            fifo.write(pcap_record(NOT_IP))

    talking = background(chatter)
    started = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            live.next_ip_packet(timeout=0.3)
        took = time.monotonic() - started
    finally:
        done.set()
        talking.result()
    assert 0.3 <= took < 5
    assert live.total_stats.packets_received > 0


def test_timeout_while_opening(fifo, open_descriptors):
    before = open_descriptors()
    with pytest.raises(TimeoutError):
        PcapSource(fifo.path, timeout=0.02)
    fifo.write(pcap_header()[:10])
    with pytest.raises(TimeoutError):
        PcapSource(fifo.path, timeout=0.02)
    assert open_descriptors() == before


# ---- one reader at a time


@every_reader
def test_a_second_reader_is_refused(live, fifo, background, reader):
    waiting = background(live.next_packet)
    refused = False
    deadline = time.monotonic() + 10
    while not refused and time.monotonic() < deadline:
        try:
            reader(live, timeout=0)
        except TimeoutError:  # the first is not inside yet
            time.sleep(0.001)
        except RuntimeError:
            refused = True
    assert refused
    with pytest.raises(RuntimeError, match="one reader"):
        next(live)
    with pytest.raises(RuntimeError, match="one reader"):
        next(live.batches())
    fifo.write(numbered(1))
    assert number_of(waiting.result().payload) == 0


def test_readers_in_turn_share_the_packets(background, sample_of):
    """Whoever is refused tries again: each packet comes to one of them."""
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


def test_close_and_unblock_from_many_threads(background):
    """Signals at any moment, a hundred times over: reads end, and nothing breaks."""
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


# ---- functions that are called


def test_what_a_function_raises_goes_through_and_the_packet_counts(file_of):
    def fail(payload, *rest):
        raise KeyError(number_of(payload))

    with PcapSource(file_of(numbered(3))) as source:
        with pytest.raises(KeyError, match="0"):
            source.next_packet_fn(fail)
        assert source.total_stats.packets_received == 1
        assert loop(source) == [1, 2]


def test_a_function_may_read(file_of):
    with PcapSource(file_of(numbered(5))) as source:

        def read_on(payload, *rest):
            return number_of(payload), number_of(source.next_packet().payload), len(source.next_batch(1))

        assert source.next_packet_fn(read_on) == (0, 1, 1)
        assert loop(source) == [3, 4]


def test_a_function_may_close(file_of):
    with PcapSource(file_of(numbered(5))) as source:

        def close(payload, *rest):
            source.close()
            return payload

        assert number_of(source.next_packet_fn(close)) == 0
        with pytest.raises(CaptureStopped):
            source.next_packet_fn(close)


def test_a_function_may_unblock(file_of):
    with PcapSource(file_of(numbered(3))) as source:
        source.next_packet_fn(lambda *args: source.unblock())
        with pytest.raises(CaptureUnblocked):
            source.next_packet()
        assert loop(source) == [1, 2]


@pytest.mark.parametrize("fn", [None, 7, lambda: None])
def test_what_is_no_function_of_four_arguments(file_of, fn):
    with PcapSource(file_of(numbered(1))) as source, pytest.raises(TypeError):
        source.next_packet_fn(fn)


# ---- signals


@pytest.fixture
def interrupted():
    """Starts a thread that sends SIGINT to this process in a moment; gives when it did."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sent = []
    threads = []

    def interrupt():
        time.sleep(0.05)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def start():
        threads.append(threading.Thread(target=interrupt, daemon=True))
        threads[-1].start()
        return sent

    yield start
    for thread in threads:
        thread.join(10)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "wait",
    [
        lambda source: source.next_packet(timeout=20),
        lambda source: source.next_batch(timeout=20),
        lambda source: source.next_packet(),
        next,
        lambda source: next(source.batches()),
    ],
    ids=["next_packet with timeout", "next_batch with timeout", "next_packet", "iteration", "batches"],
)
def test_ctrl_c_ends_a_wait(live, fifo, interrupted, wait):
    sent = interrupted()
    with pytest.raises(KeyboardInterrupt):
        wait(live)
    assert time.monotonic() - sent[0] < 1
    fifo.write(numbered(1))
    assert number_of(live.next_packet().payload) == 0


def test_ctrl_c_while_opening(fifo, interrupted, open_descriptors):
    before = open_descriptors()
    sent = interrupted()
    with pytest.raises(KeyboardInterrupt):
        PcapSource(fifo.path)
    assert time.monotonic() - sent[0] < 1
    assert open_descriptors() == before


def test_a_signal_that_raises_nothing_ends_no_wait(live, background, fifo):
    came = []
    before = signal.signal(signal.SIGALRM, lambda *args: came.append(args))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with pytest.raises(TimeoutError):
            live.next_packet(timeout=0.2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(came) > 1


# ---- life and death


@pytest.fixture
def open_descriptors():
    """Gives the number of open file descriptors."""
    return lambda: len(os.listdir("/proc/self/fd"))


def test_no_descriptor_leaks(sample_of, data_path, open_descriptors):
    path, bad = sample_of("null.pcap").path, data_path / "bad" / "bad_magic.pcap"
    gc.collect()
    before = open_descriptors()
    for i in range(1000):
        source = PcapSource(path)
        if i % 2:
            source.next_packet()
        if i % 3:
            source.close()
        del source
        with pytest.raises(FileFormatError):
            PcapSource(bad)
        with pytest.raises(FileNotFoundError):
            PcapSource("no such file")
    assert open_descriptors() == before


def test_an_open_file_object_stays_open(sample_of):
    with open(sample_of("null.pcap").path, "rb") as file:
        with PcapSource(file) as source:
            assert len(list(source)) == 7
        assert not file.closed


def test_a_source_in_a_cycle_is_collected(sample_of):
    class File(io.BytesIO):
        pass

    file = File(sample_of("null.pcap").data)
    file.source = PcapSource(file)
    file.source.next_payload_zero_copy()
    gone = weakref.ref(file)
    del file
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", [Source, ZeroCopySource])
def test_what_sources_have_in_common_is_none(kind):
    with pytest.raises(TypeError, match="open_file"):
        kind()


def bare_methods():
    calls = {name: reader for name, reader in READERS.items() if "in place" not in name}
    calls["iteration"] = next
    calls["batches"] = lambda source: next(source.batches())
    return calls


@pytest.mark.parametrize("kind", [Source, ZeroCopySource, PcapSource])
@pytest.mark.parametrize("call", bare_methods().values(), ids=bare_methods())
def test_never_initialised_raises(kind, call):
    source = kind.__new__(kind)
    if not hasattr(source, "next_payload_zero_copy"):
        assert kind is Source
    with pytest.raises((EOFError, StopIteration, NotImplementedError, TypeError, ValueError, AttributeError)):
        call(source)
    source.close()
    with pytest.raises((CaptureStopped, StopIteration, AttributeError)):
        call(source)


ATTRIBUTES = ["name", "snaplen", "version", "byte_order", "resolution", "progress", "link", "links", "closed"]


@pytest.mark.parametrize("name", [*ATTRIBUTES, "total_stats"])
def test_never_initialised_attributes(name):
    source = PcapSource.__new__(PcapSource)
    with contextlib.suppress(AttributeError, ValueError):
        assert getattr(source, name) in (None, (), False, Stats(0, 0, 0))


def test_never_initialised_new_packet_raises_or_works():
    """Nothing is printed, as by an exception that cannot be raised: pytest makes an error of that."""
    source = PcapSource.__new__(PcapSource)
    with contextlib.suppress(AttributeError, ValueError, TypeError):
        assert len(source.new_packet()) == 0


def test_never_initialised_repr():
    source = PcapSource.__new__(PcapSource)
    with contextlib.suppress(AttributeError, ValueError):
        assert "PcapSource" in repr(source)


@pytest.mark.parametrize("closed", [False, True])
def test_initialised_once(file_of, closed):
    path = file_of(numbered(3))
    with PcapSource(path) as source:
        first = source.next_payload_zero_copy()[0]
        if closed:
            source.close()
        for _ in range(2):
            with pytest.raises(TypeError, match="once"):
                source.__init__(path)
        assert number_of(first) == 0
        if not closed:
            assert loop(source) == [1, 2]


def test_initialised_after_a_failure(file_of):
    source = PcapSource.__new__(PcapSource)
    with pytest.raises(FileNotFoundError):
        source.__init__("no such file")
    with contextlib.suppress(TypeError):
        source.__init__(file_of(numbered(2)))
        assert loop(source) == [0, 1]


def test_a_subclass_of_source_in_python_reads_nothing():
    class Own(Source):
        def __init__(self):
            pass

    with pytest.raises(NotImplementedError):
        Own().next_packet()


def test_pcap_source_is_final():
    with pytest.raises(TypeError):
        type("Own", (PcapSource,), {})


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_pickling(file_of, duplicate):
    with PcapSource(file_of(numbered(1))) as source:
        with pytest.raises(TypeError, match="pickled"):
            duplicate(source)
        assert loop(source) == [0]


def test_repr(file_of):
    path = file_of(numbered(3))
    with PcapSource(path) as source:
        source.next_packet()
        assert repr(source) == f"<PcapSource {str(path)!r}: ETHERNET, 1 packets read>"


def test_an_empty_capture(background):
    with PcapSource(io.BytesIO(pcap_file([]))) as source:
        for reader in READERS.values():
            with pytest.raises(EOFError):
                reader(source)
        assert list(source) == list(source.batches()) == []
        assert source.stats() == Stats(0, 0, 0)
