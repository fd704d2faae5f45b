"""Filling a packet again: capacity, `buf`, calling init again, and views of a packet that is reused."""

from __future__ import annotations

import gc
import pickle
import random

import numpy as np
import pytest

from slimcap import NO_IP, Packet, PacketType, PacketView, RecordFlag, open_file, read
from support.batches import batch_of
from support.packets import GAP, INLINE, churn, properties_of

LENGTHS = (0, 1, 14, INLINE - 1, INLINE, INLINE + 1, 1514, 70_000)
CONTENT = random.Random(1).randbytes(max(LENGTHS))


# ---- capacity and buf


@pytest.mark.parametrize("length", LENGTHS)
def test_capacity_is_the_payload_but_at_least_148_bytes(length):
    made = [
        Packet(bytes(length)),
        Packet.from_payload(bytes(length)),
        batch_of([bytes(length)])[0].copy(),
    ]
    assert [packet.capacity for packet in made] == [max(length, INLINE)] * 3


@pytest.mark.parametrize("room", [INLINE, INLINE + 1, 1000])
def test_buf_can_be_filled_again_and_again(room):
    buf = Packet.from_payload(bytes(room), NO_IP >> 8, 7, 3, 9)
    chance = random.Random(room)
    for number in range(300):
        length = chance.choice((0, 1, room - 1, room, room + 1, 2 * room, chance.randrange(room)))
        payload = chance.randbytes(length)
        packet = Packet.from_payload(payload, number % 5, 100_000, number % 254, number, buf=buf)
        assert packet is buf
        assert packet.capacity == room
        kept = payload[:room]
        assert properties_of(packet) == (
            *(number, 100_000, len(kept), len(kept), number % 5, number % 5 != 4, number % 254),
            *(0, 0, 0, RecordFlag.TRUNCATED, kept, kept[number % 254 :]),
        )
        assert bytes(packet) == kept


def test_payloads_cut_to_the_capacity_are_flagged():
    buf = Packet.from_payload(b"")
    assert Packet.from_payload(bytes(INLINE), buf=buf).flags == 0
    assert Packet.from_payload(bytes(INLINE + 1), buf=buf).flags == RecordFlag.TRUNCATED
    assert (buf.cap_len, buf.total_len) == (INLINE, INLINE + 1)
    assert Packet.from_payload(b"whole", buf=buf).flags == 0


@pytest.mark.parametrize("shift", [0, 1, 7, 500])
@pytest.mark.parametrize("length", [100, 1000, 70_000])
def test_a_packet_can_be_filled_with_a_part_of_itself(length, shift):
    packet = Packet.from_payload(CONTENT[:length])
    Packet.from_payload(packet.payload[shift:], buf=packet)
    assert packet.payload == CONTENT[shift:length]


def test_a_packet_view_cannot_be_written_to(data_path):
    # It shows the bytes of a batch.
    batch = batch_of([b"shown"], before=GAP)
    view = batch[0]
    with pytest.raises(TypeError):
        Packet.from_payload(b"written", buf=view)
    with pytest.raises(TypeError):
        Packet.__init__(view, b"written")
    with open_file(data_path / "mixed.pcap") as source:
        with pytest.raises(TypeError):
            source.next_packet(view)
        assert source.total_stats.packets_received == 0
    assert (view.payload, batch.payload(0)) == (b"shown", b"shown")


def test_a_new_packet_of_a_source_is_empty(data_path):
    with open_file(data_path / "mixed.pcap", snaplen=2000) as source:
        packets = []
        for _ in range(20):
            dirt = [b"\xaa" * n for n in (1995, 2001) for _ in range(20)]
            del dirt
            packets.append(source.new_packet())
    for packet in packets:
        assert packet.capacity == 2000
        assert bytes(packet) == b""
        assert properties_of(packet) == (0, 0, 0, 0, PacketType.UNKNOWN, True, NO_IP, 0, 0, 0, 0, b"", b"")


# ---- init called again, or not at all


@pytest.mark.parametrize(
    ("first", "second"), [(60, 60), (60, 10), (10, INLINE), (1000, 999), (1000, 1000), (1000, 5)]
)
def test_init_again_accepts_payloads_that_fit(first, second):
    packet = Packet.from_payload(CONTENT[:first], 1, 5, 3, 4)
    capacity = packet.capacity
    packet.__init__(CONTENT[:second])
    assert (packet.payload, packet.total_len, packet.timestamp) == (CONTENT[:second], second, 0)
    assert packet.capacity == capacity


def test_init_again_may_move_a_small_packet_once():
    packet = Packet(CONTENT[:60])
    small, inside = packet.payload, memoryview(packet)
    packet.__init__(CONTENT[:1000])
    assert packet.payload == CONTENT[:1000]
    with pytest.raises(TypeError, match="initialised already"):
        packet.__init__(CONTENT[:1001])
    assert packet.payload == CONTENT[:1000]
    del packet
    assert churn()
    assert (small, bytes(inside)) == (CONTENT[:60], CONTENT[:60])


def test_init_again_with_invalid_data_changes_nothing():
    packet = Packet.from_payload(CONTENT[:60])
    for error, payload in ((BufferError, memoryview(CONTENT)[::2]), (TypeError, None)):
        with pytest.raises(error):
            packet.__init__(payload)
    assert packet.payload == CONTENT[:60]


@pytest.mark.parametrize("kind", [Packet, PacketView])
def test_a_packet_without_init_is_empty(kind):
    packet = kind.__new__(kind)
    assert (len(packet), packet.cap_len, packet.total_len, packet.timestamp) == (0, 0, 0, 0)
    assert (packet.payload, packet.ip_layer, packet.copy().payload) == (b"", b"", b"")
    assert (bytes(packet), bytes(memoryview(packet)), packet.to_go_bytes()) == (b"", b"", bytes(6))
    assert repr(packet) == f"<{kind.__name__}: THIS_HOST no IP layer, 0 of 0 bytes>"
    assert pickle.loads(pickle.dumps(packet)).payload == b""


def test_a_packet_without_init_can_be_filled(data_path):
    made = [Packet.__new__(Packet) for _ in range(3)]
    made[0].__init__(CONTENT[:1000])
    Packet.from_payload(CONTENT, buf=made[1])
    with open_file(data_path / "raw101.pcap") as source:
        first = next(source)
    with open_file(data_path / "raw101.pcap") as source:
        source.next_packet(made[2])
    assert made[0].payload == CONTENT[:1000]
    assert made[1].payload == CONTENT[:INLINE]
    assert properties_of(made[2]) == properties_of(first)


def test_subclasses_do_not_mix_with_the_free_list():
    class Named(Packet):
        def __init__(self, payload, name):
            super().__init__(payload)
            self.name = name

    kept = []
    for number in range(200):
        named = Named(CONTENT[:number], number)
        kept += [(number, named), (number, Packet.from_payload(CONTENT[:number]))]
        del named
    assert all(packet.payload == CONTENT[:number] for number, packet in kept)
    assert all(packet.name == number for number, packet in kept[::2])


# ---- views of a packet that is reused


@pytest.mark.parametrize("room", [INLINE, 1000])
def test_views_show_the_current_bytes_of_a_packet(room):
    packet = Packet.from_payload(bytes(room))
    views = [packet.payload, packet.payload[3:], packet.ip_layer, np.frombuffer(packet.payload, "u1")]
    buffers = [memoryview(packet), np.frombuffer(packet, "u1")]
    for number in range(20):
        payload = bytes([number]) * room
        Packet.from_payload(payload, number % 5, buf=packet)
        assert all(set(bytes(view)) == {number} for view in views)
        assert all(bytes(buffer) == bytes(packet) for buffer in buffers)
    del packet
    assert churn()
    assert all(set(bytes(view)) == {19} for view in views)
    assert all(bytes(buffer) == payload for buffer in buffers)


def test_views_of_any_age_stay_readable(data_path):
    """Read a file into one packet: each view keeps its length, and shows the packet's memory."""
    expected = read(data_path / "mixed.pcap")
    with open_file(data_path / "mixed.pcap") as source:
        buf = source.new_packet()
        views, most = [], b""
        for index in range(len(expected)):
            packet = source.next_packet(buf)
            assert packet is buf
            payload = bytes(expected.payload(index))
            most = payload + most[len(payload) :]  # what is in the packet's memory by now
            views += [packet.payload, packet.ip_layer, memoryview(packet)]
            assert (packet.payload, packet.ip_layer) == (payload, expected.ip_layer(index))
            assert all(most.startswith(bytes(view)) for view in views[::3])
            assert all(most.startswith(bytes(view)) for view in views[2::3])
    del packet, buf, source
    gc.collect()
    assert churn()
    assert all(most.startswith(bytes(view)) for view in views[::3])
