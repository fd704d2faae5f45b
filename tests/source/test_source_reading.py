"""Every reader gives each packet of every sample once, in order."""

from __future__ import annotations

import contextlib
import io
import random

import pytest

from make_samples import pcap_file
from slimcap import NO_IP, IPLayer, Packet, PacketType, PcapSource, RecordFlag, Stats, View, read
from support.batches import facts_of, payloads_of
from support.readers import ALL_READERS, READERS


def ip_rows(sample):
    """Return the packets that have an IP layer, and its offset in each."""
    pairs = zip(sample.rows, sample.ip_offsets, strict=True)
    return [(row, at) for row, at in pairs if at != NO_IP]


def all_of(call):
    """Return all results of `call` until it raises EOFError, which it must do again."""
    given = []
    with contextlib.suppress(EOFError):
        while True:
            given.append(call())
    with pytest.raises(EOFError):
        call()
    return given


@pytest.fixture
def source(good):
    with PcapSource(good.path) as opened:
        yield opened


def expected_types(good):
    return read(good.path)["pkt_type"].tolist()


# ---- one method, on every sample


def test_next_packet_gives_every_packet(good, source):
    packets = all_of(source.next_packet)
    assert [bytes(packet.payload) for packet in packets] == [row.data for row in good.rows]
    assert [packet.timestamp for packet in packets] == [row.timestamp for row in good.rows]
    assert [packet.total_len for packet in packets] == [row.total_len for row in good.rows]
    assert [len(packet) for packet in packets] == [len(row.data) for row in good.rows]
    assert [packet.ip_layer_offset for packet in packets] == good.ip_offsets
    assert [packet.type for packet in packets] == expected_types(good)
    assert all(type(packet) is Packet and type(packet.type) is PacketType for packet in packets)


def test_next_payload_gives_every_payload(good, source):
    given = all_of(source.next_payload)
    assert [payload for payload, _, _ in given] == [row.data for row in good.rows]
    assert [kind for _, kind, _ in given] == expected_types(good)
    assert [total for _, _, total in given] == [row.total_len for row in good.rows]
    assert all(type(payload) is bytes and type(kind) is PacketType for payload, kind, _ in given)


def test_next_ip_packet_skips_packets_without_an_ip_layer(good, source):
    given = all_of(source.next_ip_packet)
    rows = ip_rows(good)
    assert [bytes(layer) for layer, _, _ in given] == [row.data[at:] for row, at in rows]
    assert [total for _, _, total in given] == [row.total_len for row, _ in rows]
    kinds = [kind for kind, at in zip(expected_types(good), good.ip_offsets, strict=True) if at != NO_IP]
    assert [kind for _, kind, _ in given] == kinds
    assert all(type(layer) is IPLayer for layer, _, _ in given)
    assert source.total_stats.packets_received == len(good.rows)


def test_next_packet_fn_is_called_with_every_packet(good, source):
    given = all_of(lambda: source.next_packet_fn(lambda *args: (bytes(args[0]), *args[1:], type(args[0]))))
    rows = zip(good.rows, expected_types(good), good.ip_offsets, strict=True)
    assert given == [(row.data, row.total_len, kind, at, View) for row, kind, at in rows]


def test_next_payload_zero_copy_gives_every_payload(good, source):
    given = all_of(source.next_payload_zero_copy)
    assert [(bytes(view), total) for view, _, total in given] == [
        (row.data, row.total_len) for row in good.rows
    ]
    assert [kind for _, kind, _ in given] == expected_types(good)
    assert all(type(view) is View and type(kind) is PacketType for view, kind, _ in given)


def test_next_ip_packet_zero_copy_gives_every_ip_layer(good, source):
    given = all_of(source.next_ip_packet_zero_copy)
    assert [(bytes(view), total) for view, _, total in given] == [
        (row.data[at:], row.total_len) for row, at in ip_rows(good)
    ]
    assert all(type(view) is IPLayer for view, _, _ in given)


def test_iteration_gives_every_packet(good, source):
    assert iter(source) is source
    packets = list(source)
    assert facts_of(packets) == good.facts
    assert list(source) == []
    with pytest.raises(StopIteration):
        next(source)


@pytest.mark.parametrize("max_packets", [1, 2, 7, 1000, None])
def test_batches_give_every_packet(good, source, max_packets):
    batches = list(source.batches(max_packets=max_packets))
    assert [data for batch in batches for data in payloads_of(batch)] == [row.data for row in good.rows]
    assert all(0 < len(batch) <= (max_packets or len(batch)) for batch in batches)
    assert list(source.batches(max_packets)) == []
    with pytest.raises(EOFError):
        source.next_batch()


# ---- into a buffer that is given


def test_next_packet_in_place_fills_the_given_packet(good, source):
    buf = source.new_packet()
    assert len(buf) == 0
    for row, at in zip(good.rows, good.ip_offsets, strict=True):
        assert source.next_packet(buf) is buf
        assert (bytes(buf.payload), buf.timestamp, buf.total_len) == (row.data, row.timestamp, row.total_len)
        assert bytes(buf.ip_layer) == (b"" if at == NO_IP else row.data[at:])
    with pytest.raises(EOFError):
        source.next_packet(buf)


@pytest.mark.parametrize("size", [0, 100, 149, 600])
def test_next_packet_in_place_truncates_to_the_capacity(good, source, size):
    buf = Packet(bytes(size))
    for row in good.rows:
        source.next_packet(buf)
        have = min(len(row.data), buf.capacity)
        assert bytes(buf.payload) == row.data[:have]
        assert (buf.cap_len, buf.total_len) == (have, row.total_len)
        assert (RecordFlag.TRUNCATED in buf.flags) == (have < row.total_len)
    assert buf.capacity >= size


@pytest.mark.parametrize("size", [0, 1, 14, 60, 300_000])
def test_next_payload_in_place_writes_only_what_it_returns(good, source, size):
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


@pytest.mark.parametrize("size", [0, 1, 19, 20, 300_000])
def test_next_ip_packet_in_place_truncates_to_the_buffer(good, source, size):
    buf = bytearray(size)
    for row, at in ip_rows(good):
        layer, _, total = source.next_ip_packet(buf)
        assert type(layer) is IPLayer
        assert layer == row.data[at : at + size] == buf[: len(layer)]
        assert total == row.total_len
    with pytest.raises(EOFError):
        source.next_ip_packet(buf)


# ---- several methods


def test_batches_continue_where_another_iterator_stopped(sample_of):
    sample = sample_of("mixed.pcap")
    with PcapSource(sample.path, block_size=4096) as source:
        first = next(source.batches(3))
        second = next(source.batches(5))
        rest = list(source.batches())
    assert (len(first), len(second)) == (3, 5)
    assert [fact for batch in (first, second, *rest) for fact in facts_of(batch)] == sample.facts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("block_size", [64, 2000, 1 << 20])
def test_all_readers_mixed_lose_no_packet(sample_of, seed, block_size):
    """Each packet comes once, in order; `next_ip_packet` skips those without an IP layer."""
    sample = sample_of("mixed.pcap")
    pick = random.Random(seed)
    left = list(zip(sample.rows, sample.ip_offsets, strict=True))
    with PcapSource(sample.path, block_size=block_size) as source:
        while left:
            name = pick.choice([*ALL_READERS, "next_batch of some"])
            if name == "next_batch of some":
                batch = source.next_batch(pick.randint(1, 4))
                assert [bytes(p.payload) for p in batch] == [row.data for row, _ in left[: len(batch)]]
                del left[: len(batch)]
            elif ALL_READERS[name].ip_layer:
                while left and left[0][1] == NO_IP:
                    del left[0]
                if left:
                    row, at = left.pop(0)
                    assert bytes(ALL_READERS[name](source).data) == row.data[at:]
            else:
                assert bytes(ALL_READERS[name](source).data) == left.pop(0)[0].data, name
            assert source.total_stats.packets_received >= len(sample.rows) - len(left) - 1
        with pytest.raises(EOFError):
            source.next_ip_packet()
        assert source.total_stats.packets_received == len(sample.rows)


def test_an_empty_capture_raises_eof_error_and_loops_end():
    with PcapSource(io.BytesIO(pcap_file([]))) as source:
        for reader in READERS.values():
            with pytest.raises(EOFError):
                reader(source)
        assert list(source) == list(source.batches()) == []
        assert source.stats() == Stats(0, 0, 0)
