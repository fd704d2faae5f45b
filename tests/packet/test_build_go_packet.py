"""build_go_packet: the bytes of the Go library's BuildPacket."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest

from slimcap import HeaderStatus, Link, LinkType
from slimcap.mock import build_go_packet
from support.batches import batch_of


def ethernet_ipv4(src, dst, protocol, rest, total_len=0):
    head = struct.pack(">14xBxHxxxxxBxx", 0x45, total_len & 0xFFFF, protocol)
    return head + socket.inet_aton(src) + socket.inet_aton(dst) + rest


def ethernet_ipv6(src, dst, protocol, rest, total_len=0):
    head = struct.pack(">14xBxxxHBx", 0x60, total_len & 0xFFFF, protocol)
    addresses = (socket.inet_pton(socket.AF_INET6, address) for address in (src, dst))
    return head + b"".join(addresses) + rest


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
def test_build_go_packet_writes_these_bytes(name):
    arguments, expected = BUILT[name]
    packet = build_go_packet(*arguments)
    pkt_type, total_len = (*arguments, 255, 0)[6:8] if len(arguments) > 6 else (255, 0)
    assert packet.to_go_bytes() == struct.pack("=BBI", pkt_type, 14, total_len) + expected
    assert packet.ip_layer == expected[14:]


@pytest.mark.parametrize(("src", "dst"), [(A4, B4), (A6, B6)])
def test_a_built_packet_reads_as_it_was_built(src, dst):
    layer = build_go_packet(src, dst, src_port=1, dst_port=65535, protocol=17, payload=bytes(20)).ip_layer
    assert (layer.src, layer.src_port, layer.dst, layer.dst_port, layer.protocol) == (src, 1, dst, 65535, 17)


@pytest.mark.parametrize(("src", "dst", "version"), [(A4, B4, 4), (A6, B6, 6)])
def test_the_headers_of_a_built_packet_are_valid(src, dst, version):
    layer = build_go_packet(
        src, dst, 1, 65535, 17, payload=bytes(4), total_len=28 if version == 4 else 8
    ).ip_layer
    batch = batch_of([bytes(layer)], links=[Link("lo", 0, LinkType.RAW)])
    (row,) = batch.headers(["status", "ip_version", "src_port", "dst_port", "l4_offset"])
    assert row.tolist() == (HeaderStatus.OK, version, 1, 65535, len(layer) - 8)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"src": "no address"}),
        (ValueError, {"dst": "1.2.3"}),
        (ValueError, {"src": A6}),
        (ValueError, {"dst": A6}),
        (ValueError, {"src_port": 65536, "dst_port": 1}),
        (ValueError, {"src_port": 1, "dst_port": -1}),
        (ValueError, {"protocol": 256}),
        (ValueError, {"protocol": -1}),
        (ValueError, {"total_len": 2**32}),
        (ValueError, {"total_len": -1}),
        (ValueError, {"pkt_type": 256}),
        (TypeError, {"src": 1}),
        (TypeError, {"dst": A4.encode()}),
        (TypeError, {"payload": "text"}),
        (TypeError, {"payload": 5}),
        (TypeError, {"pkt_type": "HOST"}),
    ],
    ids=str,
)
def test_build_go_packet_refuses_wrong_arguments(error, arguments):
    with pytest.raises(error, match="|".join(arguments)):
        build_go_packet(**{"src": A4, "dst": B4, **arguments})
