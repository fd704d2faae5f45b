"""Build the frames of the samples of transports, tunnels and contradictory headers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address

from support.builders.conversations import BROADCAST, CLIENT, SHOP, WEB, arp_request, packet4, packet6, page
from support.builders.layers import (
    ACK,
    AH,
    ARP,
    DCCP,
    DESTINATION,
    ESP,
    GRE,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IPIP,
    IPV4,
    NO_NEXT,
    OSPF,
    QINQ,
    ROUTING,
    SCTP,
    SIX_IN_FOUR,
    SYN,
    TCP,
    UDP,
    UDP_LITE,
    VLAN,
    dccp_request,
    ethertype_of,
    filled,
    geneve,
    gre,
    gtpu,
    icmp,
    icmpv6,
    ip,
    ipv4,
    ipv4_fragments,
    ipv6,
    ipv6_fragments,
    ipv6_options,
    mac,
    noise,
    sctp,
    sctp_data,
    tcp,
    udp,
    udp_lite,
    vxlan,
)
from support.builders.links import ethernet


def transports() -> Iterator[bytes]:
    """Yield each transport protocol that is dissected, some others, and the extension headers of IPv6."""
    here4, there4, here6, there6 = CLIENT.ip4, SHOP.ip4, CLIENT.ip6, SHOP.ip6
    for here, there in (here4, there4), (here6, there6):
        options = b"\x01\x01\x08\x0a" + bytes(range(8))
        flags = SYN | ACK | 0xE0 | 0x100  # URG, ECE, CWR and, of the byte before, AE
        segment = tcp(b"data", here, there, 50060, 443, seq=0xFFFFFFF0, ack=0x80000001, options=options)
        odd = segment[:12] + struct.pack(">H", 8 << 12 | flags) + segment[14:]
        yield ethernet(ip(segment, TCP, here, there))
        yield ethernet(ip(filled(odd[:16] + bytes(2) + odd[18:], 16, here, there, TCP), TCP, here, there))
        yield ethernet(ip(udp(b"", here, there, 50061, 7061), UDP, here, there), pad=True)
        yield ethernet(ip(udp_lite(b"covered", here, there, 50062, 7062), UDP_LITE, here, there))
        yield ethernet(ip(sctp(sctp_data(b"message"), 50063, 7063), SCTP, here, there))
        yield ethernet(ip(dccp_request(here, there, 50064, 7064), DCCP, here, there))
        yield ethernet(ip(noise(44, "hello"), OSPF, here, there))
        yield ethernet(ip(noise(60, "esp"), ESP, here, there))
    for kind, code in (0, 0), (3, 1), (5, 1), (9, 0), (10, 0), (11, 0), (13, 0), (14, 0), (17, 0), (18, 0):
        yield ethernet(ipv4(icmp(kind, code, bytes(4) + packet4(1)[:28]), ICMP, here4, there4))
    for kind, code in (
        (1, 4),
        (2, 0),
        (3, 0),
        (128, 0),
        (129, 0),
        (133, 0),
        (134, 0),
        (139, 1),
        (140, 0),
        (143, 0),
    ):
        message = icmpv6(kind, code, bytes(4) + packet6(1)[:48], here6, there6)
        yield ethernet(ipv6(message, ICMPV6, here6, there6))
    datagram = udp(b"behind headers", here6, there6, 50065, 7065)
    hop, routed = b"\x05\x02\0\0\x01\0", struct.pack(">BBBBI", UDP, 2, 4, 0, 0) + ip_address(WEB.ip6).packed
    signed = struct.pack(">BBHII", UDP, 4, 0, 0x1001, 1) + noise(12, "signature")
    yield ethernet(ipv6(ipv6_options(datagram, UDP, hop), HOP_BY_HOP, here6, there6, hop_limit=1))
    yield ethernet(ipv6(routed + datagram, ROUTING, here6, there6))
    yield ethernet(ipv6(signed + datagram, AH, here6, there6))
    yield ethernet(ipv6(ipv6_options(datagram, UDP, b"\x01\x0c" + bytes(12)), DESTINATION, here6, there6))
    chain = ipv6_options(routed + datagram, ROUTING, b"\x01\x04\0\0\0\0")
    yield ethernet(ipv6(ipv6_options(chain, DESTINATION, hop), HOP_BY_HOP, here6, there6))
    yield ethernet(ipv6(b"", NO_NEXT, here6, there6), pad=True)
    large = udp(page(60), here4, there4, 50066, 7066)
    yield from (ethernet(packet, pad=True) for packet in ipv4_fragments(large, UDP, here4, there4, 24))
    large = udp(page(60), here6, there6, 50066, 7066)
    yield from (ethernet(packet) for packet in ipv6_fragments(large, UDP, here6, there6, 24))
    yield ethernet(
        ipv4(udp(b"tagged", here4, there4, 50067, 7067), UDP, here4, there4, ttl=1),
        tags=[(QINQ, 6 << 13 | 3000), (VLAN, 7)],
    )
    yield ethernet(arp_request(), ARP, src=CLIENT.mac, dst=BROADCAST)


def tunnels() -> Iterator[bytes]:
    """Yield IP in IP, GRE, VXLAN, GENEVE, GTP-U, nested tunnels, and packets that only look like tunnels."""
    here, there = CLIENT.ip4, SHOP.ip4

    def carried(payload: bytes, port: int, sport: int = 50070) -> bytes:
        return ethernet(ipv4(udp(payload, here, there, sport, port), UDP, here, there))

    for packet in packet4(2), packet6(1):
        inside = ethernet(packet, src=mac(0x51), dst=mac(0x52))
        kind = ethertype_of(packet)
        yield ethernet(ipv4(packet, IPIP if kind == IPV4 else SIX_IN_FOUR, here, there))
        yield ethernet(ipv6(packet, IPIP if kind == IPV4 else SIX_IN_FOUR, CLIENT.ip6, SHOP.ip6))
        yield ethernet(ipv4(gre(packet, kind), GRE, here, there))
        yield ethernet(ipv4(gre(packet, kind, key=7), GRE, here, there))
        yield ethernet(ipv4(gre(packet, kind, key=7, number=1, sums=True), GRE, here, there))
        yield ethernet(ipv6(gre(inside, 0x6558, number=2), GRE, CLIENT.ip6, SHOP.ip6))
        yield carried(vxlan(inside, 77), 4789)
        tagged = ethernet(packet, src=mac(0x51), dst=mac(0x52), tags=[(VLAN, 30)])
        yield carried(vxlan(tagged, 78), 4789)
        yield carried(geneve(inside, 0x6558, 79), 6081)
        yield carried(geneve(packet, kind, 80, b"\x01\x02\x80\x01" + bytes(4)), 6081)
        yield carried(gtpu(packet, 0x1001), 2152, 2152)
        yield carried(gtpu(packet, 0x1002, number=5), 2152, 2152)
        session = b"\x01\0\x09\0"  # a PDU session container, the last extension
        yield carried(gtpu(packet, 0x1003, kind=0x85, extensions=session), 2152, 2152)
        twice = ipv4(udp(vxlan(inside, 81), here, there, 50071, 4789), UDP, here, there)
        yield ethernet(ipv4(gre(twice, IPV4), GRE, WEB.ip4, here))
    yield carried(vxlan(ethernet(arp_request(), ARP, dst=BROADCAST), 82), 4789)  # no IP in it
    yield carried(vxlan(ethernet(packet4(0)), 83)[:30], 4789)  # ends in the inner Ethernet header
    yield carried(b"\x30\x01\0\x04\0\0\0\0\0\x01\0\0", 2152)  # GTP-U's echo request
    yield ethernet(ipv4(gre(noise(20, "ppp"), 0x880B), GRE, here, there))
    nested = packet4(1)
    for _ in range(12):
        nested = ipv4(nested, IPIP, here, there)
    yield ethernet(nested)


def odd_headers() -> Iterator[bytes]:
    """Yield headers that contradict themselves or the length of the packet."""
    here, there, here6, there6 = CLIENT.ip4, SHOP.ip4, CLIENT.ip6, SHOP.ip6
    good = ipv4(tcp(b"data", here, there, 50080, 80), TCP, here, there)
    datagram = udp(b"data", here, there, 50081, 80)
    good6 = ipv6(tcp(b"data", here6, there6, 50080, 80), TCP, here6, there6)

    def changed(packet: bytes, at: int, new: bytes) -> bytes:
        return ethernet(packet[:at] + new + packet[at + len(new) :], ethertype_of(packet))

    yield changed(good, 0, b"\x44")  # a header of 16 bytes
    yield changed(good, 0, b"\x4f")  # of 60, as long as the packet is not
    yield changed(good, 2, struct.pack(">H", 19))  # a packet shorter than its header
    yield changed(good, 2, struct.pack(">H", 30))  # ends within TCP
    yield changed(good, 2, struct.pack(">H", 1500))  # longer than the frame
    yield changed(good, 2, bytes(2))  # segmentation offload
    yield changed(good, 32, b"\x40")  # a TCP header of 16 bytes
    yield changed(good, 32, b"\xf0")  # of 60
    yield ethernet(ipv4(datagram[:4] + struct.pack(">H", 7) + datagram[6:], UDP, here, there))
    yield ethernet(ipv4(datagram[:4] + bytes(2) + datagram[6:], UDP, here, there))
    yield ethernet(ipv4(datagram[:4] + struct.pack(">H", 500) + datagram[6:], UDP, here, there))
    yield ethernet(ipv4(b"\x08\0", ICMP, here, there))
    yield ethernet(ipv4(sctp(b"", 50083, 80)[:10], SCTP, here, there))
    yield changed(good6, 4, struct.pack(">H", 10))  # ends within TCP
    yield changed(good6, 4, struct.pack(">H", 1500))
    yield ethernet(
        ipv6(b"\x06\x09" + bytes(6) + good6[40:], HOP_BY_HOP, here6, there6)
    )  # 80 bytes of options
    chain = b"".join(ipv6_options(b"", DESTINATION, b"\x01\x04\0\0\0\0") for _ in range(40))
    yield ethernet(ipv6(chain, DESTINATION, here6, there6))  # no upper layer
    yield ethernet(b"\x55" + good[1:], IPV4)  # version 5
    yield ethernet(good[:1], IPV4)
    yield ethernet(arp_request()[:20], ARP)


def jumbogram() -> bytes:
    """Build a frame of 262,144 bytes, the maximum: IPv6 with a jumbo payload option (RFC 2675)."""
    length = 262144 - 14 - 40
    segment = tcp(bytes(length - 8 - 20), CLIENT.ip6, WEB.ip6, 50050, 80)
    payload = ipv6_options(segment, TCP, struct.pack(">BBI", 0xC2, 4, length))
    return ethernet(ipv6(payload, 0, CLIENT.ip6, WEB.ip6))
