"""Fields of headers, each bit of them: packets are written as bytes, and no other program is asked."""

from __future__ import annotations

import io
import struct
from itertools import product
from typing import Any

import communityid
import pytest

import slimcap
from support.builders.pcap import pcap_header, pcap_record

MACS = bytes.fromhex("020000000002 020000000001")
IPV4, IPV6, TCP, UDP, FRAGMENT = 0x0800, 0x86DD, 6, 17, 44
HOP_BY_HOP, AUTHENTICATION, DESTINATION = 0, 51, 60
PORTS = struct.pack("!HH", 4321, 53)


def headers_of(frame: bytes, total_len: int | None = None, inner: bool = False) -> Any:
    """The header columns of one Ethernet frame, as pcap has it."""
    data = pcap_header() + pcap_record(frame, orig_len=total_len)
    return slimcap.read(io.BytesIO(data)).headers(inner=inner)[0]


def ethernet(ethertype: int, payload: bytes, *tags: tuple[int, int]) -> bytes:
    """A frame with tags, each a TPID and a TCI."""
    return MACS + b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", ethertype) + payload


def ipv4(payload: bytes, protocol: int = UDP, fragment: int = 0, options: bytes = b"", tos: int = 0) -> bytes:
    words = 5 + len(options) // 4
    length = 4 * words + len(payload)
    return (
        struct.pack("!BBHHHBBH", 0x40 | words, tos, length, 0xBEEF, fragment, 61, protocol, 0)
        + bytes([10, 0, 0, 1, 10, 0, 0, 2])
        + options
        + payload
    )


def ipv6(payload: bytes, next_header: int = UDP, traffic_class: int = 0, flow: int = 0) -> bytes:
    word = 6 << 28 | traffic_class << 20 | flow
    addresses = bytes(15) + b"\1" + bytes(15) + b"\2"
    return struct.pack("!IHBB", word, len(payload), next_header, 63) + addresses + payload


def udp(payload: bytes, length: int | None = None) -> bytes:
    return PORTS + struct.pack("!HH", 8 + len(payload) if length is None else length, 0) + payload


def tcp(flags: int) -> bytes:
    return PORTS + struct.pack("!IIHHHH", 0xFEDCBA98, 0x89ABCDEF, 5 << 12 | flags, 0xF00D, 0, 0)


@pytest.mark.parametrize("vlan", [0, 1, 0x7FF, 0x800, 0xFFF])
def test_vlan_numbers_have_12_bits(vlan):
    frame = ethernet(IPV4, ipv4(udp(b"")), (0x88A8, 0xA000 | vlan), (0x8100, 0xE000 | vlan ^ 0xFFF))
    row = headers_of(frame)
    assert (row["vlan_id"], row["inner_vlan_id"]) == (vlan, vlan ^ 0xFFF)
    assert row["ethertype"] == IPV4


@pytest.mark.parametrize("offset", [0, 1, 185, 0x1000, 0x1FFF])
@pytest.mark.parametrize("more", [False, True])
def test_ipv4_fragment_fields_are_parsed(offset, more):
    row = headers_of(ethernet(IPV4, ipv4(udp(bytes(16)), fragment=offset | more << 13)))
    assert (row["frag_offset"], bool(row["more_fragments"]), row["ip_id"]) == (offset * 8, more, 0xBEEF)
    assert (row["status"] == slimcap.HeaderStatus.FRAGMENT) == (offset > 0)


@pytest.mark.parametrize("offset", [0, 1, 181, 0x1000, 0x1FFF])
@pytest.mark.parametrize("more", [False, True])
def test_ipv6_fragment_fields_are_parsed(offset, more):
    extension = struct.pack("!BBHI", UDP, 0, offset << 3 | more, 0xDEADBEEF)
    row = headers_of(ethernet(IPV6, ipv6(extension + udp(bytes(16)), FRAGMENT)))
    assert (row["frag_offset"], bool(row["more_fragments"]), row["ip_id"]) == (offset * 8, more, 0xDEADBEEF)
    assert row["protocol"] == UDP
    assert (row["status"] == slimcap.HeaderStatus.FRAGMENT) == (offset > 0)


@pytest.mark.parametrize("words", range(11))
def test_ipv4_options_come_before_the_upper_layer(words):
    row = headers_of(ethernet(IPV4, ipv4(udp(bytes(5)), options=bytes(4 * words))))
    assert (row["l4_offset"], row["l7_offset"], row["l7_len"]) == (34 + 4 * words, 42 + 4 * words, 5)
    assert (row["src_port"], row["dst_port"]) == (4321, 53)


@pytest.mark.parametrize("units", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("kind", [HOP_BY_HOP, DESTINATION, AUTHENTICATION])
def test_ipv6_extension_headers_come_before_the_upper_layer(kind, units):
    if kind == AUTHENTICATION:  # its length is in words, less two
        length, size = units, (units + 2) * 4
    else:
        length, size = units, (units + 1) * 8
    extension = bytes([UDP, length]) + bytes(size - 2)
    row = headers_of(ethernet(IPV6, ipv6(extension + udp(bytes(5)), kind)))
    assert (row["protocol"], row["l4_offset"], row["l7_len"]) == (UDP, 54 + size, 5)


def authentication(next_header: int, words: int = 4) -> bytes:
    """An authentication header, by default without integrity check value."""
    return bytes([next_header, words - 2]) + bytes(4 * words - 2)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_ipv4_authentication_headers_come_before_the_upper_layer(count):
    headers = authentication(AUTHENTICATION, 5) * (count - 1) + authentication(UDP, 6)
    frame = ethernet(IPV4, ipv4(headers + udp(bytes(5)), AUTHENTICATION))
    row = headers_of(frame)
    assert (row["protocol"], row["src_port"], row["dst_port"], row["l7_len"]) == (UDP, 4321, 53, 5)
    assert row["l4_offset"] == 34 + len(headers)
    layer = slimcap.Packet.from_payload(frame, 0, len(frame), 14).ip_layer
    assert (layer.protocol, layer.src_port, layer.dst_port) == (UDP, 4321, 53)


def test_cut_authentication_headers_are_truncated_and_too_many_are_malformed():
    frame = ethernet(IPV4, ipv4(authentication(UDP) + udp(bytes(5)), AUTHENTICATION))
    for size in range(34, 34 + 16):
        row = headers_of(frame[:size], total_len=len(frame))
        assert row["status"] == slimcap.HeaderStatus.TRUNCATED
        assert (row["src_port"], row["l4_offset"]) == (0, 0)
        assert row["protocol"] == (AUTHENTICATION if size < 42 else UDP)
    many = ethernet(IPV4, ipv4(authentication(AUTHENTICATION) * 8 + udp(b""), AUTHENTICATION))
    assert headers_of(many)["status"] == slimcap.HeaderStatus.MALFORMED
    past_the_end = ethernet(IPV4, ipv4(bytes([UDP, 200]) + bytes(30), AUTHENTICATION))
    assert headers_of(past_the_end)["status"] == slimcap.HeaderStatus.MALFORMED


@pytest.mark.parametrize("size", [0, 1, 4, 19])
def test_first_fragments_may_end_within_the_transport_header(size):
    """The rest of it is in the next fragment (RFC 1858 section 3)."""
    part = tcp(2)[:size]
    for frame in (
        ethernet(IPV4, ipv4(part, TCP, fragment=0x2000)),
        ethernet(IPV6, ipv6(struct.pack("!BBHI", TCP, 0, 1, 7) + part, FRAGMENT)),
    ):
        assert headers_of(frame)["status"] == slimcap.HeaderStatus.TRUNCATED
    assert headers_of(ethernet(IPV4, ipv4(part, TCP)))["status"] == slimcap.HeaderStatus.MALFORMED


@pytest.mark.parametrize("flags", [0, *(1 << bit for bit in range(12)), 0xFFF])
def test_tcp_fields_are_parsed(flags):
    row = headers_of(ethernet(IPV4, ipv4(tcp(flags), TCP)))
    assert row["tcp_flags"] == flags
    assert (row["tcp_seq"], row["tcp_ack"], row["tcp_window"]) == (0xFEDCBA98, 0x89ABCDEF, 0xF00D)


def test_ipv6_flow_label_and_traffic_class_are_parsed():
    row = headers_of(ethernet(IPV6, ipv6(udp(b""), traffic_class=0xB9, flow=0xABCDE)))
    assert (row["tos"], row["flow_label"], row["ttl"]) == (0xB9, 0xABCDE, 63)


@pytest.mark.parametrize("padding", [0, 1, 18])
def test_padding_after_the_ip_packet_is_not_part_of_it(padding):
    row = headers_of(ethernet(IPV4, ipv4(tcp(0x10) + b"abc", TCP)) + bytes(padding))
    assert (row["l7_len"], row["status"]) == (3, slimcap.HeaderStatus.OK)
    cut = ipv4(PORTS, UDP)  # the header of UDP ends in the padding
    assert headers_of(ethernet(IPV4, cut) + bytes(18))["status"] == slimcap.HeaderStatus.MALFORMED


@pytest.mark.parametrize(("length", "carried"), [(8, 0), (12, 4), (28, 20), (29, 20), (65535, 20), (0, 20)])
def test_udp_length_is_limited_to_the_ip_packet(length, carried):
    assert headers_of(ethernet(IPV4, ipv4(udp(bytes(20), length))))["l7_len"] == carried


@pytest.mark.parametrize("pad", [0, 1, 7, 8])
def test_jumbo_option_is_found_up_to_the_end_of_its_header(pad):
    """It comes after `pad` Pad1 options, in a hop-by-hop header of 8 or 16 bytes."""
    jumbo = struct.pack("!BBI", 0xC2, 4, 100_000)
    hop_by_hop = (bytes([UDP, 1]) + bytes(pad) + jumbo).ljust(16 if pad > 0 else 8, b"\0")
    hop_by_hop = bytes([UDP, len(hop_by_hop) // 8 - 1]) + hop_by_hop[2:]
    packet = ipv6(hop_by_hop + udp(bytes(20), 0), HOP_BY_HOP)
    packet = packet[:4] + b"\0\0" + packet[6:]  # no payload length
    row = headers_of(ethernet(IPV6, packet), total_len=100_100)
    assert row["ip_len"] == 100_040


@pytest.mark.parametrize(
    ("oui", "ip_offset"),
    [(0x000000, 22), (0x0000F8, 22), (0x0000F9, None), (0x0001F8, None), (0x010000, None)],
)
def test_snap_header_leads_to_ip(oui, ip_offset):
    """With the OUI of RFC 1042, or of the bridge tunnel of IEEE 802.1H."""
    snap = b"\xaa\xaa\x03" + oui.to_bytes(3, "big") + struct.pack("!H", IPV4)
    payload = snap + ipv4(udp(b""))
    frame = ethernet(len(payload), payload)
    batch = slimcap.read(io.BytesIO(pcap_header() + pcap_record(frame)))
    assert batch["ip_offset"][0] == (slimcap.NO_IP if ip_offset is None else ip_offset)


@pytest.mark.parametrize("ports", list(product([1, 2, 255, 256, 65535], repeat=2)))
def test_community_id_of_a_host_that_talks_to_itself_is_that_of_the_reference(ports):
    """With equal addresses, the smaller port is that of the first end."""
    segment = struct.pack("!HH", *ports) + tcp(0)[4:]
    packet = ipv4(segment, TCP)
    packet = packet[:16] + packet[12:16] + packet[20:]  # to its own address
    data = pcap_header() + pcap_record(ethernet(IPV4, packet))
    found = slimcap.read(io.BytesIO(data)).headers(["community_id"])["community_id"][0]
    flow = communityid.FlowTuple.make_tcp("10.0.0.1", "10.0.0.1", *ports)
    assert found.decode() == communityid.CommunityID().calc(flow)


@pytest.mark.parametrize("tags", [0, 1, 2])
@pytest.mark.parametrize("packet", [ipv4(udp(b"")), ipv6(udp(b""))], ids=["ipv4", "ipv6"])
def test_ip_offset_requires_one_byte_of_the_ip_header(packet, tags):
    frame = ethernet(IPV4 if packet[0] >> 4 == 4 else IPV6, packet, *[(0x8100, 7)] * tags)
    lengths = range(len(frame) + 1)
    data = pcap_header() + b"".join(pcap_record(frame[:length]) for length in lengths)
    offset = 14 + 4 * tags
    found = slimcap.read(io.BytesIO(data))["ip_offset"].tolist()
    assert found == [offset if length > offset else slimcap.NO_IP for length in lengths]
