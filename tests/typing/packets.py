"""The types of packets and views of them. Read by mypy, and run by tests/package/test_typing.py."""

from ipaddress import IPv4Address
from typing import Literal, assert_type

import slimcap
from slimcap import NO_IP, IPLayer, Packet, PacketType, PacketView, RecordFlag, View
from slimcap.mock import build_go_packet, build_packet


def check_making(packet: Packet) -> None:
    assert_type(build_packet("192.0.2.1", IPv4Address("192.0.2.2")), Packet)
    assert_type(build_packet("::1", "::2", 1, 2, 6, b"payload", PacketType.OUTGOING, total_len=100), Packet)
    assert_type(build_packet("::1", "::2", timestamp=1, vlan=None, tcp_flags=2), Packet)
    assert_type(
        build_packet("::1", "::2", vlan=7, src_mac="02:00:00:00:00:01", dst_mac="02:00:00:00:00:03"), Packet
    )
    assert_type(build_go_packet("::1", "::2", 1, 2, 6, b"payload", PacketType.OUTGOING, 60), Packet)
    assert_type(Packet(bytes(packet)), Packet)
    assert_type(Packet(packet), Packet)
    assert_type(Packet.from_go_bytes(packet.to_go_bytes()), Packet)
    assert_type(Packet.from_payload(packet.payload), Packet)
    assert_type(Packet.from_payload(b"", 0, None, NO_IP, 1, buf=packet), Packet)
    assert_type(Packet.from_payload(b"", pkt_type=PacketType.OUTGOING, total_len=9, timestamp=1), Packet)


def check_packet(packet: Packet) -> None:
    assert_type(len(packet), int)
    assert_type(packet.timestamp, int)
    assert_type(packet.total_len, int)
    assert_type(packet.cap_len, int)
    assert_type(packet.type, PacketType)
    assert_type(packet.is_inbound, bool)
    assert_type(packet.ip_layer_offset, int)
    assert_type(packet.interface, int)
    assert_type(packet.vlan_tci, int)
    assert_type(packet.vlan_tpid, int)
    assert_type(packet.flags, RecordFlag)
    assert_type(packet.payload, View)
    assert_type(packet.ip_layer, IPLayer)
    assert_type(packet.capacity, int)
    assert_type(packet.copy(), Packet)
    assert_type(bytes(packet), bytes)
    assert_type(memoryview(packet)[0], int)
    assert_type(packet.to_go_bytes(), bytes)


def check_packet_view(view: PacketView) -> None:
    check_packet(view)
    assert_type(view.copy(), Packet)


def check_view(view: View) -> None:
    assert_type(len(view), int)
    assert_type(view[0], int)
    assert_type(view[2:4], View)
    assert_type(view[:], View)
    assert_type(view[::2], View | bytes)
    assert_type(list(view), list[int])
    assert_type(bytes(view), bytes)
    assert_type(memoryview(view)[0], int)
    assert_type(b"".join([view, view]), bytes)
    assert_type(view.tobytes(), bytes)
    assert_type(view.hex(), str)
    assert_type(view.hex(":", 2), str)
    assert_type(view == b"\x08\x00", bool)
    assert_type(view != b"\x08\x00", bool)
    assert_type(hash(view), int)
    assert_type({view: 1}, dict[View, int])


def check_ip_layer(layer: IPLayer) -> None:
    check_view(layer)
    assert_type(layer.type, int)
    assert_type(layer.protocol, int)
    assert_type(layer.src, str)
    assert_type(layer.dst, str)
    assert_type(layer.src_port, int)
    assert_type(layer.dst_port, int)
    assert_type(str(layer), str)


def check_vocabulary() -> None:
    assert_type(PacketType(4), PacketType)
    assert_type(PacketType.OUTGOING.name, Literal["OUTGOING"])
    assert_type(RecordFlag.VLAN | RecordFlag.TRUNCATED, RecordFlag)


def check_errors(error: slimcap.FileFormatError) -> None:
    assert_type(error.reason, str)
    assert_type(error.path, str)
    assert_type(error.offset, int)
    assert_type(error.packet_index, int)


def refused(packet: Packet, view: View) -> None:
    """Never run: each of these lines is an error that a type checker finds."""
    Packet()  # type: ignore[call-arg]
    PacketView()  # type: ignore[call-arg]
    View()  # type: ignore[call-arg]
    IPLayer()  # type: ignore[call-arg]
    Packet("text")  # type: ignore[arg-type]
    Packet.from_payload(b"", buffer=packet)  # type: ignore[call-arg]
    build_packet(1, 2)  # type: ignore[arg-type]
    packet.total_len = 9  # type: ignore[misc]
    _ = packet.payload.src  # type: ignore[attr-defined]
    view[0] = 1  # type: ignore[index]
    view["0"]  # type: ignore[call-overload]
