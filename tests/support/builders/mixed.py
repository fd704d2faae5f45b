"""Build the main sample: a few seconds of mixed traffic as one client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from support.builders.conversations import (
    BROADCAST,
    CLIENT,
    GATEWAY,
    GROUP,
    LLDP_GROUP,
    RESOLVER,
    SHOP,
    STP_GROUP,
    WEB,
    arp_request,
    dns_lookup,
    framed,
    http_answer,
    http_get,
    lldp,
    neighbours,
    packet4,
    packet6,
    page,
    ping,
    stp,
    tcp_dialogue,
    tls_steps,
)
from support.builders.layers import (
    ACK,
    ARP,
    DESTINATION,
    ICMP,
    ICMPV6,
    IGMP,
    IPIP,
    LLDP,
    QINQ,
    ROUTER_ALERT,
    RST,
    SIX_IN_FOUR,
    SYN,
    TCP,
    UDP,
    VLAN,
    icmp,
    icmpv6,
    ipv4,
    ipv4_fragments,
    ipv6,
    ipv6_fragments,
    ipv6_options,
    mac,
    tcp,
    udp,
)
from support.builders.links import arp, ethernet, llc_frame
from support.builders.pcap import Packet, paced


def web_traffic() -> Iterator[list[Packet]]:
    page4 = [http_get("/"), http_answer(page(4000)), http_get("/old"), http_answer(b"", "304 Not Modified")]
    note4 = [http_get("/none"), http_answer(b"no such page\n", "404 Not Found", "text/plain")]
    page6 = [http_get("/six"), http_answer(page(2800))]
    shop = tls_steps("shop.example.org")
    yield paced(framed(tcp_dialogue(CLIENT.ip4, WEB.ip4, 50010, 80, page4)), 60_000, 4_000)
    yield paced(framed(tcp_dialogue(CLIENT.ip4, SHOP.ip4, 50011, 443, shop)), 400_000, 6_000)
    yield paced(framed(tcp_dialogue(CLIENT.ip6, WEB.ip6, 50012, 80, page6)), 900_000, 5_000)
    yield paced(framed(tcp_dialogue(CLIENT.ip4, WEB.ip4, 50013, 80, note4)), 3_200_000, 5_000)


def small_talk() -> Iterator[list[Packet]]:
    """Yield DNS lookups, pings, a chat, and measurements for a multicast group."""
    names = (
        dns_lookup("www.example.org", 1, [WEB.ip4])
        + dns_lookup("www.example.org", 28, [WEB.ip6])
        + dns_lookup("nobody.example.org", 1, [])
    )
    yield paced(framed(names, RESOLVER), 10_000, 3_000)
    for i in range(1, 10):
        yield paced(framed(ping(CLIENT.ip4, GATEWAY.ip4, i), GATEWAY), i * 500_000, 400)
    yield paced(neighbours(), 850_000, 300)
    for i in range(1, 4):
        yield paced(framed(ping(CLIENT.ip6, WEB.ip6, i, 80 * i)), 1_000_000 * i, 9_000)
    chat = [(i % 3 != 2, f"line {i}: {'yes, ' * (i % 5)}it is still raining\n".encode()) for i in range(11)]
    yield paced(framed(tcp_dialogue(CLIENT.ip4, SHOP.ip4, 50020, 7000, chat)), 1_300_000, 90_000)
    for i in range(30):
        value = f"sensor=7 count={i} degrees={18 + i * 7 % 5}.{i * 3 % 10}".encode()
        packet = ipv4(udp(value, RESOLVER.ip4, GROUP.ip4, 7007, 7007), UDP, RESOLVER.ip4, GROUP.ip4, ttl=1)
        yield paced([ethernet(packet, src=RESOLVER.mac, dst=GROUP.mac, pad=True)], i * 151_000)


def link_chatter() -> Iterator[list[Packet]]:
    """Yield ARP, spanning tree, LLDP, and group membership."""
    answer = arp(2, GATEWAY.mac, GATEWAY.ip4, CLIENT.mac, CLIENT.ip4)
    announce = arp(1, RESOLVER.mac, RESOLVER.ip4, bytes(6), RESOLVER.ip4)
    yield paced(
        (
            ethernet(arp_request(), ARP, src=CLIENT.mac, dst=BROADCAST),
            ethernet(answer, ARP, src=GATEWAY.mac, dst=CLIENT.mac, pad=True),
        ),
        0,
        500,
    )
    yield paced([ethernet(announce, ARP, src=RESOLVER.mac, dst=BROADCAST, pad=True)], 2_000_000)
    yield paced([llc_frame(stp(), STP_GROUP)] * 3, 500_000, 2_000_000)
    yield paced([ethernet(lldp(), LLDP, src=mac(0x99), dst=LLDP_GROUP)], 1_700_000)
    join = icmp(0x16, 0, ip_address(GROUP.ip4).packed)
    igmp = ipv4(join, IGMP, CLIENT.ip4, GROUP.ip4, ttl=1, options=ROUTER_ALERT)
    mld = icmpv6(131, 0, bytes(4) + ip_address(GROUP.ip6).packed, CLIENT.ip6, GROUP.ip6)
    mld = ipv6(ipv6_options(mld, ICMPV6, b"\x05\x02\0\0\x01\0"), 0, CLIENT.ip6, GROUP.ip6, hop_limit=1)
    yield paced(
        (
            ethernet(igmp, src=CLIENT.mac, dst=GROUP.mac),
            ethernet(mld, src=CLIENT.mac, dst=bytes.fromhex("333300000001")),
        ),
        1_200_000,
    )


def tagged_traffic() -> Iterator[list[Packet]]:
    lines = [(False, b"220 mail.example.org\r\n"), (True, b"EHLO sample\r\n"), (False, b"250 HELP\r\n")]
    lines += [(True, b"QUIT\r\n"), (False, b"221 bye\r\n")]
    vlan, both = [(VLAN, 3 << 13 | 20)], [(QINQ, 100), (VLAN, 20)]
    names = dns_lookup("mail.example.org", 1, [SHOP.ip4])
    yield paced(framed(names, RESOLVER, vlan), 1_900_000, 2_000)
    yield paced(framed(tcp_dialogue(CLIENT.ip4, SHOP.ip4, 50030, 25, lines), SHOP, vlan), 1_950_000, 8_000)
    for i in range(1, 4):
        yield paced(framed(ping(CLIENT.ip4, WEB.ip4, i, 100), WEB, both), 2_400_000 + i * 100_000, 700)
    yield paced(framed(ping(CLIENT.ip6, WEB.ip6), WEB, both), 2_900_000, 700)


def rare_packets() -> Iterator[list[Packet]]:
    """Yield fragments, refused connections, extension headers, and tunnels."""
    here, there = CLIENT.ip4, SHOP.ip4
    large = udp(page(3100), here, there, 7100, 7100)
    yield paced(framed((True, p) for p in ipv4_fragments(large, UDP, here, there)), 2_200_000, 200)
    syn = tcp(b"", here, there, 50040, 81, seq=7, flags=SYN)
    rst = tcp(b"", there, here, 81, 50040, ack=8, flags=RST | ACK)
    question = ipv4(udp(b"anyone there?", here, there, 50041, 82), UDP, here, there)
    refusal = icmp(3, 3, bytes(4) + question[:28])
    steps = [(True, ipv4(syn, TCP, here, there)), (False, ipv4(rst, TCP, there, here))]
    steps += [(True, question), (False, ipv4(refusal, ICMP, there, here))]
    yield paced(framed(steps), 2_700_000, 15_000)
    here, there = CLIENT.ip6, SHOP.ip6
    large = udp(page(900), here, there, 7100, 7100)
    options = ipv6_options(udp(b"padded options", here, there, 7100, 7100), UDP, b"\x01\x04\0\0\0\0")
    steps = [(True, p) for p in ipv6_fragments(large, UDP, here, there, 512)]
    steps += [(True, ipv6(options, DESTINATION, here, there))]
    for inner, protocol in (packet4(1), IPIP), (packet6(1), SIX_IN_FOUR):
        steps += [(True, ipv4(inner, protocol, CLIENT.ip4, SHOP.ip4))]
    yield paced(framed(steps), 3_600_000, 11_000)


def mixed() -> list[Packet]:
    """Build the main sample: all of the above in order of time."""
    parts = (web_traffic(), small_talk(), link_chatter(), tagged_traffic(), rare_packets())
    return sorted((p for part in parts for flow in part for p in flow), key=lambda p: p.time)
