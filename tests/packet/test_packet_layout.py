"""Packet: its bytes, those in the layout of the Go library, and making one from either."""

from __future__ import annotations

import mmap
import random
import struct

import numpy as np
import pytest

from slimcap import NO_IP, Packet, PacketType, RecordFlag
from slimcap.packet.enums import PACKET_HDR_OFFSET
from support.packets import INLINE, properties_of

LENGTHS = (0, 1, 14, INLINE - 1, INLINE, INLINE + 1, 1514, 70_000)
CONTENT = random.Random(1).randbytes(max(LENGTHS))


# ---- bytes


@pytest.mark.parametrize("length", LENGTHS)
def test_bytes_are_the_payload(length):
    payload = CONTENT[:length]
    packet = Packet.from_payload(payload, PacketType.OUTGOING, 0x01020304, 18)
    assert bytes(packet) == memoryview(packet).tobytes() == np.array(packet).tobytes() == payload


@pytest.mark.parametrize("length", LENGTHS)
def test_go_bytes_are_header_and_payload(length):
    payload = CONTENT[:length]
    packet = Packet.from_payload(payload, PacketType.OUTGOING, 0x01020304, 18)
    expected = struct.pack("=BBI", 4, 18, 0x01020304) + payload
    assert len(expected) == PACKET_HDR_OFFSET + length
    assert packet.to_go_bytes() == expected


@pytest.mark.parametrize(
    ("offset", "byte"), [(0, 0), (14, 14), (254, 254), (255, 255), (256, 255), (65534, 255), (NO_IP, 255)]
)
def test_ip_layer_offsets_above_254_become_255_in_the_go_bytes(offset, byte):
    packet = Packet.from_payload(CONTENT, ip_layer_offset=offset)
    assert (packet.ip_layer_offset, packet.to_go_bytes()[1]) == (offset, byte)
    assert Packet.from_go_bytes(packet.to_go_bytes()).ip_layer_offset == (NO_IP if byte == 255 else offset)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("as_buffer", [bytes, bytearray, memoryview, np.array, Packet])
def test_packets_survive_a_round_trip_through_go_bytes(length, as_buffer):
    data = struct.pack("=BBI", 1, 14, 99_999) + CONTENT[:length]
    packet = Packet.from_go_bytes(as_buffer(memoryview(data)))
    assert packet.to_go_bytes() == data
    assert properties_of(packet) == (
        *(0, 99_999, length, length, PacketType.BROADCAST, True, 14, 0, 0, 0, RecordFlag.TRUNCATED),
        *(CONTENT[:length], CONTENT[14:length]),
    )


def test_a_packet_copies_its_bytes():
    data = bytearray(bytes(6) + CONTENT[:50])
    payload = memoryview(data)[6:]
    made = [Packet.from_go_bytes(data), Packet(payload), Packet.from_payload(payload)]
    payload.release()
    data[:] = bytes(len(data))
    assert [bytes(packet.payload) for packet in made] == [CONTENT[:50]] * 3
    data.clear()  # no other reference is left


def test_the_buffer_is_read_only_bytes():
    packet = Packet.from_payload(CONTENT[:60])
    view = memoryview(packet)
    assert (view.readonly, view.format, view.nbytes) == (True, "B", 60)
    with pytest.raises(ValueError, match="WRITEABLE"):
        np.frombuffer(packet, "u1").flags.writeable = True
    with pytest.raises(TypeError):
        packet[0]


# ---- from_payload


@pytest.mark.parametrize("make", [Packet, Packet.from_payload])
def test_packets_of_a_payload_have_these_defaults(make):
    packet = make(CONTENT[:60])
    assert properties_of(packet) == (
        *(0, 60, 60, 60, PacketType.UNKNOWN, True, 14, 0, 0, 0, RecordFlag(0)),
        *(CONTENT[:60], CONTENT[14:60]),
    )


def test_from_payload_accepts_arguments_by_name():
    packet = Packet.from_payload(
        payload=CONTENT[:60], pkt_type=2, total_len=61, ip_layer_offset=20, timestamp=-(2**63)
    )
    assert properties_of(packet) == (
        *(-(2**63), 61, 60, 60, PacketType.MULTICAST, True, 20, 0, 0, 0, RecordFlag.TRUNCATED),
        *(CONTENT[:60], CONTENT[20:60]),
    )


@pytest.mark.parametrize("total_len", [0, 59, 60, 61, 2**32 - 1])
def test_packets_longer_on_the_wire_are_flagged_truncated(total_len):
    packet = Packet.from_payload(CONTENT[:60], total_len=total_len)
    assert (packet.total_len, packet.cap_len) == (total_len, 60)
    assert packet.flags == (RecordFlag.TRUNCATED if total_len > 60 else 0)
    assert Packet.from_go_bytes(packet.to_go_bytes()).flags == packet.flags


@pytest.mark.parametrize("offset", [0, 1, 59, 60, 61, 254, 65534, NO_IP])
def test_ip_layer_starts_at_its_offset_or_is_empty(offset):
    packet = Packet.from_payload(CONTENT[:60], ip_layer_offset=offset)
    assert packet.ip_layer == CONTENT[:60][offset:]


def test_no_ip_means_no_ip_layer_in_a_longer_packet():
    packet = Packet.from_payload(bytes(70_000), ip_layer_offset=NO_IP)
    assert len(packet.ip_layer) == 0
    assert len(Packet.from_payload(bytes(70_000), ip_layer_offset=NO_IP - 1).ip_layer) == 70_000 - NO_IP + 1


@pytest.mark.parametrize("kind", [*range(6), 254, 255])
def test_every_packet_type_is_kept_in_the_first_go_byte(kind):
    packet = Packet.from_payload(b"", kind)
    assert packet.type is PacketType(kind)
    assert packet.is_inbound == (kind != PacketType.OUTGOING)
    assert packet.to_go_bytes()[0] == kind


# ---- refused arguments


@pytest.mark.parametrize(
    "numbers",
    [
        {"pkt_type": 256},
        {"pkt_type": -1},
        {"total_len": 2**32},
        {"total_len": -1},
        {"ip_layer_offset": 65536},
        {"ip_layer_offset": -1},
        {"timestamp": 2**63},
        {"timestamp": -(2**63) - 1},
    ],
    ids=str,
)
def test_numbers_out_of_range_raise_overflow_error(numbers):
    buf = Packet.from_payload(b"before", 1)
    for target in (None, buf):
        with pytest.raises(OverflowError):
            Packet.from_payload(b"after", buf=target, **numbers)
    assert bytes(buf.payload) == b"before"


@pytest.mark.parametrize(
    "arguments",
    [
        {"payload": "text"},
        {"payload": None},
        {"payload": 5},
        {"payload": b"", "pkt_type": "HOST"},
        {"payload": b"", "pkt_type": None},
        {"payload": b"", "total_len": "60"},
        {"payload": b"", "ip_layer_offset": "14"},
        {"payload": b"", "timestamp": None},
        {"payload": b"", "buf": bytearray(100)},
        {"payload": b"", "buf": b"bytes"},
        {"payload": b"", "colour": 1},
        {},
    ],
    ids=str,
)
def test_arguments_of_wrong_types_are_refused(arguments):
    with pytest.raises(TypeError):
        Packet.from_payload(**arguments)


@pytest.mark.parametrize("data", ["text", None, 6, [1, 2, 3, 4, 5, 6]], ids=str)
def test_data_without_a_buffer_is_refused(data):
    for make in (Packet, Packet.from_go_bytes):
        with pytest.raises(TypeError):
            make(data)


@pytest.mark.parametrize("length", range(6))
def test_go_bytes_shorter_than_the_header_is_refused(length):
    with pytest.raises(ValueError, match=f"at least 6 bytes, the packet header, not {length}"):
        Packet.from_go_bytes(bytes(length))


@pytest.mark.parametrize(
    ("make", "size"),
    [(Packet.from_payload, 2**31), (Packet, 2**32 + 1), (Packet.from_go_bytes, 2**32 + 7)],
)
def test_payloads_of_gigabytes_are_refused(make, size, tmp_path):
    # A sparse file uses neither disk nor memory.
    with (tmp_path / "huge").open("w+b") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as area, pytest.raises(OverflowError):
            make(area)
