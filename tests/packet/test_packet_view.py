"""Properties of a packet, wherever it came from; PacketView, which shows the memory of its batch."""

from __future__ import annotations

import copy
import pickle
import random
import struct

import numpy as np
import pytest

from slimcap import NO_IP, RECORD_DTYPE, Batch, Packet, PacketType, PacketView, RecordFlag, open_file, read
from slimcap.mock import build_packet
from support.batches import batch_of
from support.packets import GAP, INLINE, churn, properties_of

LENGTHS = (0, 1, 14, INLINE - 1, INLINE, INLINE + 1, 1514, 70_000)
CONTENT = random.Random(1).randbytes(max(LENGTHS))
ROW = {
    "timestamp": -1_234_567_890_123_456_789,
    "total_len": 4_000_000_000,
    "ip_offset": 18,
    "interface": 513,
    "vlan_tci": 0xE123,
    "vlan_tpid": 0x88A8,
    "pkt_type": 3,
    "flags": 0x80000005,
}


# ---- properties


WAYS = {
    "view": lambda batch: batch[0],
    "iterated": lambda batch: next(iter(batch)),
    "copy": lambda batch: batch[0].copy(),
    "copy_of_copy": lambda batch: batch[0].copy().copy(),
    "pickled_view": lambda batch: pickle.loads(pickle.dumps(batch[0])),
    "pickled_packet": lambda batch: pickle.loads(pickle.dumps(batch[0].copy())),
    "copy_module": lambda batch: copy.copy(batch[0]),
    "deepcopy": lambda batch: copy.deepcopy(batch[0].copy()),
    "sub_batch": lambda batch: batch[[0]][0],
    "batch_copy": lambda batch: batch.copy()[0],
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("way", WAYS)
def test_properties_are_those_of_the_record(way, length):
    payload = CONTENT[:length]
    packet = WAYS[way](batch_of([payload], before=GAP, after=GAP, **ROW))
    assert properties_of(packet) == (
        *(ROW["timestamp"], ROW["total_len"], length, length, PacketType.OTHER_HOST, True),
        *(18, 513, 0xE123, 0x88A8, RecordFlag(0x80000005), payload, payload[18:]),
    )
    assert bytes(packet) == bytes(memoryview(packet)) == payload
    assert packet.to_go_bytes() == struct.pack("=BBI", 3, 18, ROW["total_len"]) + payload
    assert type(packet.type) is PacketType
    assert type(packet.flags) is RecordFlag


@pytest.mark.parametrize("way", WAYS)
def test_batches_give_views_and_copies_give_packets(way):
    packet = WAYS[way](batch_of([CONTENT[:60]]))
    assert type(packet) is (PacketView if way in ("view", "iterated", "sub_batch", "batch_copy") else Packet)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_packets_of_a_file_survive_pickling(protocol, data_path):
    batch = read(data_path / "ethernet_vlan.pcap")
    again = pickle.loads(pickle.dumps([*batch], protocol))
    assert [properties_of(packet) for packet in again] == [properties_of(packet) for packet in batch]
    assert any(packet.flags & RecordFlag.VLAN for packet in again)


@pytest.mark.parametrize("name", ["timestamp", "total_len", "cap_len", "type", "payload", "flags", "note"])
@pytest.mark.parametrize("way", ["view", "copy"])
def test_properties_cannot_be_set(way, name):
    with pytest.raises(AttributeError):
        setattr(WAYS[way](batch_of([CONTENT])), name, 1)


def test_repr_shows_type_addresses_and_lengths():
    packet = build_packet("1.2.3.4", "6.7.8.9", 5, 80, 6, b"more", PacketType.OUTGOING, total_len=100)
    assert repr(packet) == "<Packet: OUTGOING 1.2.3.4:5 => 6.7.8.9:80 (proto: 6), 58 of 100 bytes>"
    view = batch_of([b"\x01\x02"], pkt_type=77, ip_offset=NO_IP)[0]
    assert repr(view) == "<PacketView: UNKNOWN no IP layer, 2 of 2 bytes>"


# ---- PacketView


def test_a_packet_view_is_a_read_only_buffer_of_the_batchs_memory():
    batch = batch_of([CONTENT[:9], CONTENT[9:99]], before=GAP)
    view = batch[1]
    shown = np.frombuffer(view, "u1")
    assert shown.ctypes.data == batch.data.ctypes.data + int(batch["offset"][1])
    assert memoryview(view).readonly
    assert bytes(view) == shown.tobytes() == bytes(Packet(view)) == CONTENT[9:99]
    with pytest.raises(BufferError, match="views"):
        batch.release()
    del view
    assert churn()
    assert shown.tobytes() == CONTENT[9:99]


def test_packet_views_cannot_be_made_directly():
    for arguments in ((), (bytes(60),)):
        with pytest.raises(TypeError):
            PacketView(*arguments)
    assert isinstance(batch_of([CONTENT])[0], Packet)


def test_a_packet_view_shows_the_batchs_memory():
    batch = batch_of([CONTENT[:60], CONTENT[60:99]], before=GAP, ip_offset=14)
    base = batch.data.ctypes.data
    for index, packet in enumerate(batch):
        at = base + int(batch["offset"][index])
        assert np.frombuffer(packet.payload, "u1").ctypes.data == at
        assert np.frombuffer(packet.ip_layer, "u1").ctypes.data == at + 14


def test_a_packet_view_outlives_its_batch():
    memory = bytearray(CONTENT)
    records = np.zeros(3, RECORD_DTYPE)
    records["offset"], records["cap_len"], records["total_len"] = (5, 100, 900), (60, 700, 9), (1, 2, 3)
    views = [*Batch(records, memory)]
    with pytest.raises(BufferError):
        memory.append(0)
    expected = [CONTENT[5:65], CONTENT[100:800], CONTENT[900:909]]
    assert churn()
    assert [bytes(view.payload) for view in views] == expected
    assert [view.total_len for view in views] == [1, 2, 3]
    copies = [view.copy() for view in views]
    del views
    memory.append(0)  # back
    memory[:] = bytes(len(memory))
    assert [bytes(packet.payload) for packet in copies] == expected


def test_packet_views_of_a_file_outlive_the_source(data_path):
    expected = [properties_of(packet) for packet in read(data_path / "mixed.pcap")]
    with open_file(data_path / "mixed.pcap", block_size=2000) as source:
        views = [view for batch in source.batches() for view in batch]
    del source
    assert churn()
    assert [properties_of(view) for view in views] == expected
