"""Packet, which owns its bytes in the Go library's layout; PacketView, where they lie; build_packet."""

import copy
import gc
import mmap
import pickle
import random
import socket
import struct
from ipaddress import ip_address

import numpy as np
import pytest

from slimcap import (
    NO_IP,
    PACKET_HDR_OFFSET,
    RECORD_DTYPE,
    Batch,
    Packet,
    PacketType,
    PacketView,
    RecordFlag,
    build_packet,
    open_file,
    read,
)

INLINE = 148  # bytes of payload that a packet has room for in itself
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


def batch_of(*payloads, **row):
    """A batch of these payloads, with a row of the same values for each."""
    data = bytearray(b"\xee" * 7)
    records = np.zeros(len(payloads), RECORD_DTYPE)
    for record, payload in zip(records, payloads, strict=True):
        for name, value in {"total_len": len(payload), "ip_offset": NO_IP, **row}.items():
            record[name] = value
        record["offset"], record["cap_len"] = len(data), len(payload)
        data += payload + b"\xee" * 7
    return Batch(records, bytes(data))


def facts_of(packet):
    """All that a packet tells."""
    return (
        *(packet.timestamp, packet.total_len, packet.cap_len, len(packet), packet.type, packet.is_inbound),
        *(packet.ip_layer_offset, packet.interface, packet.vlan_tci, packet.vlan_tpid, packet.flags),
        *(bytes(packet.payload), bytes(packet.ip_layer)),
    )


# ---- layout


@pytest.mark.parametrize("length", LENGTHS)
def test_layout(length):
    payload = CONTENT[:length]
    packet = Packet.from_payload(payload, PacketType.OUTGOING, 0x01020304, 18)
    expected = struct.pack("=BBI", 4, 18, 0x01020304) + payload
    assert len(expected) == PACKET_HDR_OFFSET + length
    assert bytes(packet) == memoryview(packet).tobytes() == np.frombuffer(packet, "u1").tobytes() == expected


@pytest.mark.parametrize(
    ("offset", "byte"), [(0, 0), (14, 14), (254, 254), (255, 255), (256, 255), (65534, 255), (NO_IP, 255)]
)
def test_the_layouts_one_byte_for_the_ip_layers_offset(offset, byte):
    packet = Packet.from_payload(CONTENT, ip_layer_offset=offset)
    assert (packet.ip_layer_offset, bytes(packet)[1]) == (offset, byte)
    assert Packet(packet).ip_layer_offset == (NO_IP if byte == 255 else offset)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("as_buffer", [bytes, bytearray, memoryview, np.array, Packet])
def test_round_trip_through_bytes(length, as_buffer):
    data = struct.pack("=BBI", 1, 14, 99_999) + CONTENT[:length]
    packet = Packet(as_buffer(memoryview(data)))
    assert bytes(packet) == data
    assert facts_of(packet) == (
        *(0, 99_999, length, length, PacketType.BROADCAST, True, 14, 0, 0, 0, RecordFlag.TRUNCATED),
        *(CONTENT[:length], CONTENT[14:length]),
    )


def test_a_packet_copies_its_bytes():
    data = bytearray(bytes(6) + CONTENT[:50])
    made = [Packet(data), Packet.from_payload(memoryview(data)[6:])]
    data[:] = bytes(len(data))
    assert [bytes(packet.payload) for packet in made] == [CONTENT[:50]] * 2
    data.clear()  # nobody holds on to it


def test_the_buffer_is_read_only_bytes():
    packet = Packet.from_payload(CONTENT[:60])
    view = memoryview(packet)
    assert (view.readonly, view.format, view.nbytes) == (True, "B", 66)
    with pytest.raises(ValueError, match="WRITEABLE"):
        np.frombuffer(packet, "u1").flags.writeable = True
    with pytest.raises(TypeError):
        packet[0]


# ---- from_payload


def test_defaults():
    packet = Packet.from_payload(CONTENT[:60])
    assert facts_of(packet) == (
        *(0, 60, 60, 60, PacketType.UNKNOWN, True, 14, 0, 0, 0, RecordFlag(0)),
        *(CONTENT[:60], CONTENT[14:60]),
    )


def test_arguments_by_name():
    packet = Packet.from_payload(
        payload=CONTENT[:60], pkt_type=2, total_len=61, ip_layer_offset=20, timestamp=-(2**63)
    )
    assert facts_of(packet) == (
        *(-(2**63), 61, 60, 60, PacketType.MULTICAST, True, 20, 0, 0, 0, RecordFlag.TRUNCATED),
        *(CONTENT[:60], CONTENT[20:60]),
    )


@pytest.mark.parametrize("total_len", [0, 59, 60, 61, 2**32 - 1])
def test_only_what_is_longer_on_the_wire_is_truncated(total_len):
    packet = Packet.from_payload(CONTENT[:60], total_len=total_len)
    assert (packet.total_len, packet.cap_len) == (total_len, 60)
    assert packet.flags == (RecordFlag.TRUNCATED if total_len > 60 else 0)
    assert Packet(bytes(packet)).flags == packet.flags


@pytest.mark.parametrize("offset", [0, 1, 59, 60, 61, 254, 65534, NO_IP])
def test_ip_layer_starts_at_its_offset_or_is_empty(offset):
    packet = Packet.from_payload(CONTENT[:60], ip_layer_offset=offset)
    assert packet.ip_layer == CONTENT[:60][offset:]


def test_no_ip_is_no_offset_in_a_packet_that_is_longer():
    packet = Packet.from_payload(bytes(70_000), ip_layer_offset=NO_IP)
    assert len(packet.ip_layer) == 0
    assert len(Packet.from_payload(bytes(70_000), ip_layer_offset=NO_IP - 1).ip_layer) == 70_000 - NO_IP + 1


@pytest.mark.parametrize("kind", [*range(6), 254, 255])
def test_types(kind):
    packet = Packet.from_payload(b"", kind)
    assert packet.type is PacketType(kind)
    assert packet.is_inbound == (kind != PacketType.OUTGOING)
    assert bytes(packet)[0] == kind


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
def test_numbers_that_do_not_fit(numbers):
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
def test_wrong_types(arguments):
    with pytest.raises(TypeError):
        Packet.from_payload(**arguments)


@pytest.mark.parametrize("data", ["text", None, 6, [1, 2, 3, 4, 5, 6]], ids=str)
def test_a_packet_is_made_of_a_buffer(data):
    with pytest.raises(TypeError):
        Packet(data)


@pytest.mark.parametrize("length", range(6))
def test_data_shorter_than_the_header(length):
    with pytest.raises(ValueError, match=f"at least 6 bytes, not {length}"):
        Packet(bytes(length))


@pytest.mark.parametrize(
    ("make", "size"),
    [(Packet.from_payload, 2**31), (Packet.from_payload, 2**32 + 1), (Packet, 2**32 + 7)],
)
def test_no_packet_has_gigabytes(make, size, tmp_path):
    # A sparse file: it takes neither disk nor memory.
    with (tmp_path / "huge").open("w+b") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as area, pytest.raises(OverflowError):
            make(area)


# ---- capacity and buf


@pytest.mark.parametrize("length", LENGTHS)
def test_capacity(length):
    made = [Packet(bytes(6 + length)), Packet.from_payload(bytes(length)), batch_of(bytes(length))[0].copy()]
    assert [packet.capacity for packet in made] == [max(length, INLINE)] * 3


@pytest.mark.parametrize("room", [INLINE, INLINE + 1, 1000])
def test_buf_is_filled_again_and_again(room):
    buf = Packet.from_payload(bytes(room), NO_IP >> 8, 7, 3, 9)
    chance = random.Random(room)
    for number in range(300):
        length = chance.choice((0, 1, room - 1, room, room + 1, 2 * room, chance.randrange(room)))
        payload = chance.randbytes(length)
        packet = Packet.from_payload(payload, number % 5, 100_000, number % 254, number, buf=buf)
        assert packet is buf
        assert packet.capacity == room
        kept = payload[:room]
        assert facts_of(packet) == (
            *(number, 100_000, len(kept), len(kept), number % 5, number % 5 != 4, number % 254),
            *(0, 0, 0, RecordFlag.TRUNCATED, kept, kept[number % 254 :]),
        )
        assert bytes(packet) == struct.pack("=BBI", number % 5, number % 254, 100_000) + kept


def test_what_is_cut_is_flagged():
    buf = Packet.from_payload(b"")
    assert Packet.from_payload(bytes(INLINE), buf=buf).flags == 0
    assert Packet.from_payload(bytes(INLINE + 1), buf=buf).flags == RecordFlag.TRUNCATED
    assert (buf.cap_len, buf.total_len) == (INLINE, INLINE + 1)
    assert Packet.from_payload(b"whole", buf=buf).flags == 0


@pytest.mark.parametrize("shift", [0, 1, 7, 500])
@pytest.mark.parametrize("length", [100, 1000, 70_000])
def test_a_packet_filled_with_a_part_of_itself(length, shift):
    packet = Packet.from_payload(CONTENT[:length])
    Packet.from_payload(packet.payload[shift:], buf=packet)
    assert packet.payload == CONTENT[shift:length]


def test_a_packet_view_cannot_be_written_to(data_path):
    # It shows a batch's bytes, and has none of its own.
    batch = batch_of(b"shown")
    view = batch[0]
    with pytest.raises(TypeError):
        Packet.from_payload(b"written", buf=view)
    with pytest.raises(TypeError):
        Packet.__init__(view, bytes(6) + b"written")
    with open_file(data_path / "mixed.pcap") as source:
        with pytest.raises(TypeError):
            source.next_packet(view)
        assert source.total_stats.packets_received == 0
    assert (view.payload, batch.payload(0)) == (b"shown", b"shown")


def test_a_new_packet_of_a_source_is_empty(data_path):
    with open_file(data_path / "mixed.pcap", snaplen=2000) as source:
        packets = []
        for _ in range(20):
            dirt = [b"\xaa" * n for n in (2001, 2006) for _ in range(20)]
            del dirt
            packets.append(source.new_packet())
    for packet in packets:
        assert packet.capacity == 2000
        assert bytes(packet) == struct.pack("=BBI", 255, 255, 0)
        assert facts_of(packet) == (0, 0, 0, 0, PacketType.UNKNOWN, True, NO_IP, 0, 0, 0, 0, b"", b"")


# ---- made twice, or not at all


@pytest.mark.parametrize(
    ("first", "second"), [(60, 60), (60, 10), (10, INLINE), (1000, 999), (1000, 1000), (1000, 5)]
)
def test_init_again_takes_what_fits(first, second):
    packet = Packet.from_payload(CONTENT[:first], 1, 5, 3, 4)
    capacity = packet.capacity
    packet.__init__(bytes(6) + CONTENT[:second])
    assert (packet.payload, packet.total_len, packet.timestamp) == (CONTENT[:second], 0, 0)
    assert packet.capacity == capacity


def test_init_again_may_move_a_small_packet_once():
    packet = Packet(bytes(6) + CONTENT[:60])
    small, inside = packet.payload, memoryview(packet)
    packet.__init__(bytes(6) + CONTENT[:1000])
    assert packet.payload == CONTENT[:1000]
    with pytest.raises(TypeError, match="made once"):
        packet.__init__(bytes(6) + CONTENT[:1001])
    assert packet.payload == CONTENT[:1000]
    del packet
    assert churn()
    assert (small, bytes(inside)) == (CONTENT[:60], bytes(6) + CONTENT[:60])


def test_init_again_with_no_packet_changes_nothing():
    packet = Packet.from_payload(CONTENT[:60])
    for error, data in ((ValueError, b"short"), (TypeError, None)):
        with pytest.raises(error):
            packet.__init__(data)
    assert packet.payload == CONTENT[:60]


@pytest.mark.parametrize("kind", [Packet, PacketView])
def test_without_init_there_is_nothing(kind):
    packet = kind.__new__(kind)
    assert (len(packet), packet.cap_len, packet.total_len, packet.timestamp) == (0, 0, 0, 0)
    assert (packet.payload, packet.ip_layer, packet.copy().payload) == (b"", b"", b"")
    assert bytes(packet) == bytes(6)
    assert repr(packet) == f"<{kind.__name__}: THIS_HOST no IP layer, 0 of 0 bytes>"
    assert pickle.loads(pickle.dumps(packet)).payload == b""


def test_without_init_it_can_be_filled(data_path):
    made = [Packet.__new__(Packet) for _ in range(3)]
    made[0].__init__(bytes(6) + CONTENT[:1000])
    Packet.from_payload(CONTENT, buf=made[1])
    with open_file(data_path / "raw101.pcap") as source:
        first = next(source)
    with open_file(data_path / "raw101.pcap") as source:
        source.next_packet(made[2])
    assert made[0].payload == CONTENT[:1000]
    assert made[1].payload == CONTENT[:INLINE]
    assert facts_of(made[2]) == facts_of(first)


def test_subclasses_do_not_disturb_the_free_list():
    class Named(Packet):
        def __init__(self, data, name):
            super().__init__(data)
            self.name = name

    kept = []
    for number in range(200):
        named = Named(bytes(6) + CONTENT[:number], number)
        kept += [(number, named), (number, Packet.from_payload(CONTENT[:number]))]
        del named
    assert all(packet.payload == CONTENT[:number] for number, packet in kept)
    assert all(packet.name == number for number, packet in kept[::2])


# ---- views of a packet that is used again


def churn():
    """Take memory of the sizes that packets have, and write to it."""
    return [Packet(b"\xaa" * (6 + n)) for n in (60, INLINE, 300, 1000) for _ in range(100)]


@pytest.mark.parametrize("room", [INLINE, 1000])
def test_views_show_what_a_packet_now_has(room):
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
    assert all(bytes(buffer) == struct.pack("=BBI", 4, 14, room) + payload for buffer in buffers)


def test_views_of_any_age_stay_readable(data_path):
    """One packet for all of a file: each view of it keeps its length, and shows the packet's memory."""
    expected = read(data_path / "mixed.pcap")
    with open_file(data_path / "mixed.pcap") as source:
        buf = source.new_packet()
        views, most = [], b""
        for index in range(len(expected)):
            packet = source.next_packet(buf)
            assert packet is buf
            payload = bytes(expected.payload(index))
            most = payload + most[len(payload) :]  # what is in the packet's memory by now
            views += [packet.payload, packet.ip_layer, memoryview(packet)[6:]]
            assert (packet.payload, packet.ip_layer) == (payload, expected.ip_layer(index))
            assert all(most.startswith(bytes(view)) for view in views[::3])
            assert all(most.startswith(bytes(view)) for view in views[2::3])
    del packet, buf, source
    gc.collect()
    assert churn()
    assert all(most.startswith(bytes(view)) for view in views[::3])


# ---- properties, whichever way the packet came


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
def test_properties(way, length):
    payload = CONTENT[:length]
    packet = WAYS[way](batch_of(payload, **ROW))
    assert facts_of(packet) == (
        *(ROW["timestamp"], ROW["total_len"], length, length, PacketType.OTHER_HOST, True),
        *(18, 513, 0xE123, 0x88A8, RecordFlag(0x80000005), payload, payload[18:]),
    )
    assert bytes(packet) == struct.pack("=BBI", 3, 18, ROW["total_len"]) + payload
    assert type(packet.type) is PacketType
    assert type(packet.flags) is RecordFlag


@pytest.mark.parametrize("way", WAYS)
def test_kind(way):
    packet = WAYS[way](batch_of(CONTENT[:60]))
    assert type(packet) is (PacketView if way in ("view", "iterated", "sub_batch", "batch_copy") else Packet)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_packets_of_a_file_survive_pickling(protocol, data_path):
    batch = read(data_path / "ethernet_vlan.pcap")
    again = pickle.loads(pickle.dumps([*batch], protocol))
    assert [facts_of(packet) for packet in again] == [facts_of(packet) for packet in batch]
    assert any(packet.flags & RecordFlag.VLAN for packet in again)


@pytest.mark.parametrize("name", ["timestamp", "total_len", "cap_len", "type", "payload", "flags", "note"])
@pytest.mark.parametrize("way", ["view", "copy"])
def test_properties_cannot_be_set(way, name):
    with pytest.raises(AttributeError):
        setattr(WAYS[way](batch_of(CONTENT)), name, 1)


def test_repr():
    packet = build_packet("1.2.3.4", "6.7.8.9", 5, 80, 6, b"more", PacketType.OUTGOING, 100)
    assert repr(packet) == "<Packet: OUTGOING 1.2.3.4:5 => 6.7.8.9:80 (proto: 6), 42 of 100 bytes>"
    view = batch_of(b"\x01\x02", pkt_type=77)[0]
    assert repr(view) == "<PacketView: UNKNOWN no IP layer, 2 of 2 bytes>"


# ---- PacketView


def test_a_packet_view_is_no_buffer():
    view = batch_of(CONTENT)[0]
    for ask in (memoryview, lambda packet: np.frombuffer(packet, "u1"), Packet, bytearray):
        with pytest.raises(BufferError, match="payload"):
            ask(view)
    assert memoryview(view.payload) == CONTENT


def test_packet_views_are_made_by_batches():
    for arguments in ((), (bytes(60),)):
        with pytest.raises(TypeError):
            PacketView(*arguments)
    assert isinstance(batch_of(CONTENT)[0], Packet)


def test_a_packet_view_shows_the_batchs_memory():
    batch = batch_of(CONTENT[:60], CONTENT[60:99], ip_offset=14)
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
    expected = [facts_of(packet) for packet in read(data_path / "mixed.pcap")]
    with open_file(data_path / "mixed.pcap", block_size=2000) as source:
        views = [view for batch in source.batches() for view in batch]
    del source
    assert churn()
    assert [facts_of(view) for view in views] == expected


# ---- build_packet


def ethernet_ipv4(src, dst, protocol, behind, total_len=0):
    head = struct.pack(">14xBxHxxxxxBxx", 0x40, total_len & 0xFFFF, protocol)
    return head + socket.inet_aton(src) + socket.inet_aton(dst) + behind


def ethernet_ipv6(src, dst, protocol, behind, total_len=0):
    head = struct.pack(">14xBxxxHBx", 0x60, total_len & 0xFFFF, protocol)
    addresses = (socket.inet_pton(socket.AF_INET6, address) for address in (src, dst))
    return head + b"".join(addresses) + behind


A4, B4, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8:ffff::2"
PORTS = b"\xc0\x01\x00\x50"  # 49153, 80
BUILT = {
    "ipv4": ((A4, B4), ethernet_ipv4(A4, B4, 0, b"")),
    "ipv4_ports": ((A4, B4, 49153, 80, 6), ethernet_ipv4(A4, B4, 6, PORTS)),
    "ipv4_payload": ((A4, B4, 0, 0, 1, b"ping"), ethernet_ipv4(A4, B4, 1, b"ping")),
    "ipv4_all": ((A4, B4, 49153, 80, 17, b"data", 4, 300), ethernet_ipv4(A4, B4, 17, PORTS + b"data", 300)),
    "ipv4_one_port": ((A4, B4, 49153, 0, 6, b"data"), ethernet_ipv4(A4, B4, 6, b"data")),
    "ipv4_other_port": ((A4, B4, 0, 80, 6, b"data"), ethernet_ipv4(A4, B4, 6, b"data")),
    "ipv6": ((A6, B6), ethernet_ipv6(A6, B6, 0, bytes(4))),
    "ipv6_ports": ((A6, B6, 49153, 80, 6), ethernet_ipv6(A6, B6, 6, PORTS)),
    "ipv6_payload": ((A6, B6, 0, 0, 58, b"ping"), ethernet_ipv6(A6, B6, 58, b"ping" + bytes(4))),
    "ipv6_all": ((A6, B6, 49153, 80, 17, b"data", 4, 300), ethernet_ipv6(A6, B6, 17, PORTS + b"data", 300)),
    "ipv6_long": ((A6, B6, 0, 0, 1, b"", 4, 70_000), ethernet_ipv6(A6, B6, 1, bytes(4), 70_000)),
    "ipv6_one_port": ((A6, B6, 49153, 0, 6, b"data"), ethernet_ipv6(A6, B6, 6, b"data" + bytes(4))),
    "mapped": ((f"::ffff:{A4}", f"::ffff:{B4}", 49153, 80, 6), ethernet_ipv4(A4, B4, 6, PORTS)),
    "mapped_and_plain": ((f"::ffff:{A4}", B4, 49153, 80, 6), ethernet_ipv4(A4, B4, 6, PORTS)),
    "objects": ((ip_address(A4), ip_address(f"::ffff:{B4}")), ethernet_ipv4(A4, B4, 0, b"")),
    "objects_ipv6": ((ip_address(A6), B6, 49153, 80, 6), ethernet_ipv6(A6, B6, 6, PORTS)),
}


@pytest.mark.parametrize("name", BUILT)
def test_build_packet(name):
    arguments, expected = BUILT[name]
    packet = build_packet(*arguments)
    pkt_type, total_len = (*arguments, 255, 0)[6:8] if len(arguments) > 6 else (255, 0)
    assert bytes(packet) == struct.pack("=BBI", pkt_type, 14, total_len) + expected
    assert packet.ip_layer == expected[14:]


@pytest.mark.parametrize(("src", "dst"), [(A4, B4), (A6, B6)])
def test_a_built_packet_reads_as_it_was_built(src, dst):
    layer = build_packet(src, dst, sport=1, dport=65535, protocol=17, payload=bytes(20)).ip_layer
    assert (layer.src, layer.sport, layer.dst, layer.dport, layer.protocol) == (src, 1, dst, 65535, 17)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"src": "no address"}),
        (ValueError, {"dst": "1.2.3"}),
        (ValueError, {"src": A6}),
        (ValueError, {"dst": A6}),
        (struct.error, {"sport": 65536, "dport": 1}),
        (struct.error, {"protocol": 256}),
        (struct.error, {"protocol": -1}),
        (OverflowError, {"total_len": 2**32}),
        (OverflowError, {"total_len": -1}),
        (OverflowError, {"pkt_type": 256}),
        (TypeError, {"payload": "text"}),
        (TypeError, {"pkt_type": "HOST"}),
    ],
    ids=str,
)
def test_build_packet_refuses(error, arguments):
    with pytest.raises(error):
        build_packet(**{"src": A4, "dst": B4, **arguments})
