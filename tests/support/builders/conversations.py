"""Build conversations between a few hosts: TCP with HTTP and TLS, DNS, ping, and link-layer protocols."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from support.builders.layers import (
    ACK,
    FIN,
    ICMP,
    ICMPV6,
    PSH,
    SYN,
    TCP,
    UDP,
    checksum,
    icmp,
    icmpv6,
    ip,
    ipv4,
    ipv6,
    mac,
    noise,
    tcp,
    udp,
)
from support.builders.links import arp, ethernet


class Host(NamedTuple):
    mac: bytes
    ip4: str
    ip6: str


CLIENT = Host(mac(0x0A), "192.0.2.10", "2001:db8::10")
GATEWAY = Host(mac(0x01), "192.0.2.1", "2001:db8::1")
RESOLVER = Host(mac(0x35), "192.0.2.53", "2001:db8::53")
WEB = Host(GATEWAY.mac, "198.51.100.80", "2001:db8:80::80")  # beyond the gateway, so with its MAC
SHOP = Host(GATEWAY.mac, "203.0.113.44", "2001:db8:44::44")
GROUP = Host(bytes.fromhex("01005e7c0001"), "233.252.0.1", "ff0e::db8:0:1")  # MCAST-TEST-NET
BROADCAST, STP_GROUP, LLDP_GROUP, CDP_GROUP = (
    bytes.fromhex(text) for text in ("ffffffffffff", "0180c2000000", "0180c200000e", "01000ccccccc")
)

Step = tuple[bool, bytes]  # (from the client?, bytes)


def framed(steps: Iterable[Step], server: Host = WEB, tags: Sequence[tuple[int, int]] = ()) -> list[bytes]:
    """Build Ethernet frames as captured on the client: sent frames are not padded, received ones are."""
    return [
        ethernet(packet, src=CLIENT.mac, dst=server.mac, tags=tags)
        if up
        else ethernet(packet, src=server.mac, dst=CLIENT.mac, tags=tags, pad=True)
        for up, packet in steps
    ]


def tcp_dialogue(client: str, server: str, sport: int, dport: int, steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the IP packets of a connection: handshake, data in segments, an ACK for each step, close."""
    mss = 1440 if ":" in client else 1460
    start = zlib.crc32(f"{client}{sport}".encode())
    seq = {True: start, False: start ^ 0x5A5A5A5A}

    def segment(up: bool, flags: int, data: bytes = b"", options: bytes = b"") -> Step:
        src, dst, source, target = (client, server, sport, dport) if up else (server, client, dport, sport)
        ack = seq[not up] if flags & ACK else 0
        packet = tcp(data, src, dst, source, target, seq=seq[up], ack=ack, flags=flags, options=options)
        seq[up] = (seq[up] + len(data) + (1 if flags & (SYN | FIN) else 0)) & 0xFFFFFFFF
        return up, ip(packet, TCP, src, dst)

    # maximum segment size, SACK allowed, window scale
    options = struct.pack(">BBH", 2, 4, mss) + b"\x04\x02\x01\x03\x03\x07\x01\x01"
    yield segment(True, SYN, options=options)
    yield segment(False, SYN | ACK, options=options)
    yield segment(True, ACK)
    for up, data in steps:
        for at in range(0, len(data), mss):
            last = at + mss >= len(data)
            yield segment(up, ACK | PSH if last else ACK, data[at : at + mss])
        yield segment(not up, ACK)
    yield segment(True, FIN | ACK)
    yield segment(False, FIN | ACK)
    yield segment(True, ACK)


def page(length: int) -> bytes:
    line = "<p>Line {}: a packet is a letter that forgot who wrote it.</p>\n"
    return "".join(line.format(i) for i in range(1, length // 50 + 2)).encode()[:length]


def http_get(path: str, host: str = "www.example.org") -> Step:
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sample/1.0\r\nAccept: */*\r\n\r\n"
    return True, head.encode()


def http_answer(body: bytes, status: str = "200 OK", kind: str = "text/html") -> Step:
    head = f"HTTP/1.1 {status}\r\nServer: sample/1.0\r\nContent-Type: {kind}\r\n"
    return False, head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def tls_record(kind: int, data: bytes) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(data)) + data


def tls_handshake(kind: int, body: bytes) -> bytes:
    return tls_record(22, struct.pack(">BBH", kind, 0, len(body)) + body)


def tls_steps(name: str) -> list[Step]:
    """Return the records of a TLS connection: both hellos in plain text, the rest noise."""
    sni = struct.pack(">HBH", len(name) + 3, 0, len(name)) + name.encode()
    extensions = struct.pack(">HH", 0, len(sni)) + sni + bytes.fromhex("002b0003020304")
    session = b"\x20" + noise(32, "session")
    client = b"\x03\x03" + noise(32, "client") + session + bytes.fromhex("0004130113020100")
    server = b"\x03\x03" + noise(32, "server") + session + bytes.fromhex("1301000006002b00020304")
    change = tls_record(20, b"\x01")
    return [
        (True, tls_handshake(1, client + struct.pack(">H", len(extensions)) + extensions)),
        (False, tls_handshake(2, server) + change + tls_record(23, noise(1900, "certificate"))),
        (True, change + tls_record(23, noise(53, "finished"))),
        (True, tls_record(23, noise(180, "request"))),
        (False, tls_record(23, noise(2600, "answer"))),
        (True, tls_record(23, noise(19, "alert"))),
    ]


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def dns(ident: int, name: str, kind: int, answers: Sequence[bytes] = (), *, flags: int = 0x0100) -> bytes:
    records = (struct.pack(">HHHIH", 0xC00C, kind, 1, 300, len(data)) + data for data in answers)
    head = struct.pack(">HHHHHH", ident, flags, 1, len(answers), 0, 0)
    return head + dns_name(name) + struct.pack(">HH", kind, 1) + b"".join(records)


def dns_lookup(
    name: str, kind: int, answers: Sequence[str], *, client: str = CLIENT.ip4, server: str = RESOLVER.ip4
) -> list[Step]:
    """Build a DNS query and its response; kind 1 is A, 28 AAAA; NXDOMAIN if there are no answers."""
    ident = zlib.crc32(f"{name}{kind}".encode()) & 0xFFFF
    port = 40000 + ident % 20000
    addresses = [ip_address(answer).packed for answer in answers]
    reply = dns(ident, name, kind, addresses, flags=0x8180 if answers else 0x8183)
    return [
        (True, ip(udp(dns(ident, name, kind), client, server, port, 53), UDP, client, server)),
        (False, ip(udp(reply, server, client, 53, port), UDP, server, client)),
    ]


def echo(up: bool, client: str, server: str, number: int, size: int = 56) -> Step:
    src, dst = (client, server) if up else (server, client)
    body = struct.pack(">HH", 0x51CA, number) + bytes(byte % 256 for byte in range(size))
    if ":" in src:
        return up, ipv6(icmpv6(128 if up else 129, 0, body, src, dst), ICMPV6, src, dst)
    return up, ipv4(icmp(8 if up else 0, 0, body), ICMP, src, dst)


def ping(client: str, server: str, number: int = 1, size: int = 56) -> list[Step]:
    return [echo(up, client, server, number, size) for up in (True, False)]


def packet4(number: int = 0) -> bytes:
    """Build a small IPv4 packet: a ping, a DNS query, or the first packet of a TCP connection."""
    return (
        ping(CLIENT.ip4, WEB.ip4)[0][1],
        dns_lookup("www.example.org", 1, ())[0][1],
        next(tcp_dialogue(CLIENT.ip4, WEB.ip4, 50001, 80, ()))[1],
    )[number % 3]


def packet6(number: int = 0) -> bytes:
    """Build the same as `packet4` over IPv6."""
    return (
        ping(CLIENT.ip6, WEB.ip6)[0][1],
        dns_lookup("www.example.org", 28, (), client=CLIENT.ip6, server=RESOLVER.ip6)[0][1],
        next(tcp_dialogue(CLIENT.ip6, WEB.ip6, 50002, 80, ()))[1],
    )[number % 3]


def arp_request() -> bytes:
    return arp(1, CLIENT.mac, CLIENT.ip4, bytes(6), GATEWAY.ip4)


def neighbours() -> Iterator[bytes]:
    """Yield a neighbour solicitation and advertisement."""
    target, group = ip_address(GATEWAY.ip6).packed, "ff02::1:ff00:1"
    ask = icmpv6(135, 0, bytes(4) + target + b"\x01\x01" + CLIENT.mac, CLIENT.ip6, group)
    ask = ipv6(ask, ICMPV6, CLIENT.ip6, group, hop_limit=255)
    yield ethernet(ask, src=CLIENT.mac, dst=bytes.fromhex("3333ff000001"))
    tell = icmpv6(136, 0, b"\xe0\0\0\0" + target + b"\x02\x01" + GATEWAY.mac, GATEWAY.ip6, CLIENT.ip6)
    tell = ipv6(tell, ICMPV6, GATEWAY.ip6, CLIENT.ip6, hop_limit=255)
    yield ethernet(tell, src=GATEWAY.mac, dst=CLIENT.mac)


def stp() -> bytes:
    """Build a configuration BPDU in LLC."""
    bridge = b"\x80\0" + mac(0x99)
    times = struct.pack(">HHHHH", 0x8001, 0, 20 << 8, 2 << 8, 15 << 8)
    return b"\x42\x42\x03" + bytes(5) + bridge + bytes(4) + bridge + times


def lldp() -> bytes:
    values = (1, b"\x04" + mac(0x99)), (2, b"\x05port 7"), (3, b"\0\x78"), (5, b"sample switch"), (0, b"")
    return b"".join(struct.pack(">H", kind << 9 | len(value)) + value for kind, value in values)


def cdp() -> bytes:
    values = (1, b"sample-switch"), (3, b"port-77"), (6, b"a sample")
    body = b"".join(struct.pack(">HH", kind, 4 + len(value)) + value for kind, value in values)
    return b"\x02\xb4" + struct.pack(">H", checksum(b"\x02\xb4\0\0" + body)) + body
