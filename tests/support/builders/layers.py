"""Build packets from IP upwards: protocol headers with valid checksums, tunnels, fragments."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from ipaddress import ip_address

ICMP, IGMP, IPIP, TCP, UDP, SIX_IN_FOUR, FRAGMENT, ICMPV6, DESTINATION = 1, 2, 4, 6, 17, 41, 44, 58, 60
HOP_BY_HOP, DCCP, ROUTING, GRE, ESP, AH, NO_NEXT, OSPF, SCTP, UDP_LITE = (
    0,
    33,
    43,
    47,
    50,
    51,
    59,
    89,
    132,
    136,
)
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
IPV4, ARP, VLAN, IPV6, MPLS, QINQ = 0x0800, 0x0806, 0x8100, 0x86DD, 0x8847, 0x88A8
PPPOE_DISCOVERY, PPPOE_SESSION, LLDP, OLD_QINQ = 0x8863, 0x8864, 0x88CC, 0x9100
LCP, IPCP, PPP_IPV4, PPP_IPV6 = 0xC021, 0x8021, 0x0021, 0x0057
ROUTER_ALERT = b"\x94\x04\0\0"


def noise(count: int, seed: str) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(count)


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def filled(segment: bytes, at: int, src: str, dst: str, protocol: int) -> bytes:
    """Write the checksum of a segment and its pseudo-header at byte `at`."""
    pseudo = ip_address(src).packed + ip_address(dst).packed + struct.pack(">II", len(segment), protocol)
    return segment[:at] + struct.pack(">H", checksum(pseudo + segment) or 0xFFFF) + segment[at + 2 :]


def mac(number: int) -> bytes:
    return (0x02_00_00_00_00_00 | number).to_bytes(6, "big")


def ethertype_of(packet: bytes) -> int:
    return IPV4 if packet[0] >> 4 == 4 else IPV6


def tcp(
    data: bytes,
    src: str,
    dst: str,
    sport: int,
    dport: int,
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = ACK,
    options: bytes = b"",
) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack(
        ">HHIIBBHHH", sport, dport, seq, ack, words << 4, flags, 64240 if flags & SYN else 502, 0, 0
    )
    return filled(head + options + data, 16, src, dst, TCP)


def udp(data: bytes, src: str, dst: str, sport: int, dport: int) -> bytes:
    return filled(struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data, 6, src, dst, UDP)


def udp_lite(data: bytes, src: str, dst: str, sport: int, dport: int) -> bytes:
    """Build a UDP-Lite datagram with coverage 0: the checksum covers all of it (RFC 3828 section 3.1)."""
    return filled(struct.pack(">HHHH", sport, dport, 0, 0) + data, 6, src, dst, UDP_LITE)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def sctp(chunk: bytes, sport: int, dport: int, tag: int = 0x5C79) -> bytes:
    head = struct.pack(">HHI", sport, dport, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def sctp_data(data: bytes) -> bytes:
    """Build one DATA chunk: a whole message, unordered."""
    size = 16 + len(data)
    return struct.pack(">BBHIHHI", 0, 7, size, 1, 0, 0, 0) + data + bytes(-size % 4)


def dccp_request(src: str, dst: str, sport: int, dport: int) -> bytes:
    """Build a DCCP-Request with long sequence numbers and a service code (RFC 4340 section 5.1)."""
    head = struct.pack(">HHBBHBBHI", sport, dport, 5, 0, 0, 0x01, 0, 0, 77) + struct.pack(">I", 0x53414D50)
    return filled(head, 6, src, dst, DCCP)


def gre(
    payload: bytes, kind: int, *, key: int | None = None, number: int | None = None, sums: bool = False
) -> bytes:
    flags = sums << 15 | (key is not None) << 13 | (number is not None) << 12
    extra = b"".join(struct.pack(">I", word) for word in (key, number) if word is not None)
    head = struct.pack(">HH", flags, kind)
    if sums:
        head += struct.pack(">HH", checksum(head + bytes(4) + extra + payload), 0)
    return head + extra + payload


def vxlan(frame: bytes, network: int) -> bytes:
    return struct.pack(">II", 0x0800_0000, network << 8) + frame


def geneve(payload: bytes, kind: int, network: int, options: bytes = b"") -> bytes:
    return struct.pack(">BBHI", len(options) // 4, 0, kind, network << 8) + options + payload


def gtpu(
    packet: bytes, tunnel: int, *, number: int | None = None, extensions: bytes = b"", kind: int = 0
) -> bytes:
    """Build a GTP-U packet; `kind` is the type of the first extension header."""
    flags = 0x30 | (kind != 0) << 2 | (number is not None) << 1
    extra = struct.pack(">HBB", number or 0, 0, kind) + extensions if flags & 7 else b""
    return struct.pack(">BBHI", flags, 255, len(extra) + len(packet), tunnel) + extra + packet


def icmp(kind: int, code: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, code, checksum(bytes([kind, code, 0, 0]) + body)) + body


def icmpv6(kind: int, code: int, body: bytes, src: str, dst: str) -> bytes:
    return filled(bytes([kind, code, 0, 0]) + body, 2, src, dst, ICMPV6)


def ipv4(
    payload: bytes,
    protocol: int,
    src: str,
    dst: str,
    *,
    ttl: int = 64,
    ident: int | None = None,
    fragment: int = 0x4000,
    options: bytes = b"",
) -> bytes:
    """Build an IPv4 packet; `fragment` is the word of flags and offset: 0x4000 is "don't fragment"."""
    ident = zlib.crc32(payload) & 0xFFFF if ident is None else ident
    words, length = 5 + len(options) // 4, 20 + len(options) + len(payload)
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, length, ident, fragment, ttl, protocol, 0)
    head += ip_address(src).packed + ip_address(dst).packed + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv4_fragments(payload: bytes, protocol: int, src: str, dst: str, size: int = 1480) -> Iterator[bytes]:
    ident = zlib.crc32(payload) & 0xFFFF
    for at in range(0, len(payload), size):
        more = 0x2000 if at + size < len(payload) else 0
        yield ipv4(payload[at : at + size], protocol, src, dst, ident=ident, fragment=more | at // 8)


def ipv6(payload: bytes, next_header: int, src: str, dst: str, *, hop_limit: int = 64) -> bytes:
    flow, length = zlib.crc32(src.encode()) & 0xFFFFF, len(payload) if len(payload) <= 0xFFFF else 0
    head = struct.pack(">IHBB", 0x6000_0000 | flow, length, next_header, hop_limit)
    return head + ip_address(src).packed + ip_address(dst).packed + payload


def ipv6_options(payload: bytes, next_header: int, options: bytes) -> bytes:
    """Prepend a hop-by-hop or destination options header; `options` fill it to a multiple of 8."""
    return struct.pack("BB", next_header, (2 + len(options)) // 8 - 1) + options + payload


def ipv6_fragments(payload: bytes, next_header: int, src: str, dst: str, size: int) -> Iterator[bytes]:
    ident = zlib.crc32(payload)
    for at in range(0, len(payload), size):
        head = struct.pack(">BBHI", next_header, 0, at | (at + size < len(payload)), ident)
        yield ipv6(head + payload[at : at + size], FRAGMENT, src, dst)


def ip(payload: bytes, protocol: int, src: str, dst: str) -> bytes:
    """Build an IPv4 or IPv6 packet, depending on the addresses."""
    return (ipv6 if ":" in src else ipv4)(payload, protocol, src, dst)
