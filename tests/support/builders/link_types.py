"""Build the frames of the samples of one link type each."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from support.builders.conversations import (
    BROADCAST,
    CDP_GROUP,
    CLIENT,
    GATEWAY,
    GROUP,
    STP_GROUP,
    WEB,
    arp_request,
    cdp,
    packet4,
    packet6,
    stp,
)
from support.builders.layers import (
    ARP,
    ICMP,
    IPCP,
    IPV4,
    IPV6,
    LCP,
    MPLS,
    OLD_QINQ,
    PPPOE_DISCOVERY,
    PPPOE_SESSION,
    QINQ,
    ROUTER_ALERT,
    VLAN,
    icmp,
    ipv4,
    mac,
    noise,
)
from support.builders.links import (
    chdlc,
    ethernet,
    family,
    llc_frame,
    mpls,
    ppp,
    ppp_control,
    pppoe,
    pppoe_tags,
    snap,
)


def ethernet_vlan() -> Iterator[bytes]:
    yield ethernet(packet4(0), tags=[(VLAN, 10)])
    yield ethernet(packet6(0), tags=[(VLAN, 7 << 13 | 4094)])
    yield ethernet(packet4(1), tags=[(VLAN, 5 << 13)])  # VID 0: a priority tag
    yield ethernet(packet4(2), tags=[(VLAN, 1 << 12 | 10)])  # DEI
    yield ethernet(packet4(0), tags=[(QINQ, 200), (VLAN, 10)])
    yield ethernet(packet6(2), tags=[(QINQ, 200), (VLAN, 0)])
    yield ethernet(packet4(1), tags=[(QINQ, 300)])
    yield ethernet(packet4(2), tags=[(QINQ, 400), (VLAN, 40), (VLAN, 4)])
    yield ethernet(packet6(1), tags=[(VLAN, 41), (VLAN, 42), (VLAN, 43)])
    yield ethernet(packet4(0), tags=[(OLD_QINQ, 500), (VLAN, 50)])
    yield ethernet(packet6(0), tags=[(OLD_QINQ, 501)])
    yield ethernet(arp_request(), ARP, dst=BROADCAST, tags=[(VLAN, 10)], pad=True)
    yield ethernet(pppoe(ppp(packet4(1))), PPPOE_SESSION, tags=[(VLAN, 7)])
    yield ethernet(mpls(packet4(2), 1001), MPLS, tags=[(VLAN, 8)])
    yield ethernet(snap(packet4(0), IPV4), 8 + len(packet4(0)), tags=[(VLAN, 9)])
    yield ethernet(b"", VLAN, tags=[(QINQ, 200)])  # ends where the inner tag should begin


def ethernet_pppoe() -> Iterator[bytes]:
    service, host, cookie = (0x0101, b""), (0x0103, b"host 7"), (0x0104, noise(16, "cookie"))
    name = (0x0102, b"sample access")
    discovery = (
        (CLIENT.mac, BROADCAST, 0x09, 0, (service, host)),
        (GATEWAY.mac, CLIENT.mac, 0x07, 0, (name, service, host, cookie)),
        (CLIENT.mac, GATEWAY.mac, 0x19, 0, (service, host, cookie)),
        (GATEWAY.mac, CLIENT.mac, 0x65, 0x2A, (service, host)),
    )
    for src, dst, code, session, tags in discovery:
        payload = pppoe(pppoe_tags(*tags), code, session)
        yield ethernet(payload, PPPOE_DISCOVERY, src=src, dst=dst, pad=True)
    request = ppp_control(1, 1, b"\x01\x04\x05\xd4" + b"\x05\x06" + noise(4, "magic"))
    address = ppp_control(1, 1, b"\x03\x06" + ip_address(CLIENT.ip4).packed)
    inside = [ppp(request, LCP), ppp(address, IPCP)]
    inside += [ppp(packet(i)) for i in range(3) for packet in (packet4, packet6)]
    inside += [ppp(ppp_control(9, 2, noise(4, "magic")), LCP)]
    for payload in inside:
        yield ethernet(pppoe(payload), PPPOE_SESSION, src=CLIENT.mac, dst=GATEWAY.mac, pad=True)
    yield ethernet(pppoe(b"", 0xA7), PPPOE_DISCOVERY, src=GATEWAY.mac, dst=CLIENT.mac, pad=True)


def ethernet_mpls() -> Iterator[bytes]:
    yield ethernet(mpls(packet4(0), 1001), MPLS)
    yield ethernet(mpls(packet6(0), 1002), MPLS)
    yield ethernet(mpls(packet4(1), 1001, 2001), MPLS)
    yield ethernet(mpls(packet6(1), 1001, 2002), MPLS)
    yield ethernet(mpls(packet4(2), 1001, 2001, 3001), MPLS)
    yield ethernet(mpls(packet6(2), 1001, 2001, 3002), MPLS)
    yield ethernet(mpls(packet4(0), 0), MPLS)  # IPv4 explicit null
    yield ethernet(mpls(packet6(0), 2), MPLS)  # IPv6 explicit null
    yield ethernet(mpls(packet4(1), 1003), 0x8848, dst=GROUP.mac)  # multicast
    inner = ethernet(packet4(2), src=mac(0x21), dst=mac(0x22))
    yield ethernet(mpls(bytes(4) + inner, 1001, 4001), MPLS)  # pseudowire with control word
    yield ethernet(mpls(inner, 1001, 4002), MPLS)  # without: its first nibble is a MAC's
    channel = b"\x10\0\x7f\xf8" + noise(20, "channel")
    yield ethernet(mpls(channel, 1001, 13), MPLS)  # generic associated channel
    yield ethernet(struct.pack(">II", 1001 << 12 | 63, 2001 << 12 | 63), MPLS)  # the stack has no bottom


def ethernet_llc() -> Iterator[bytes]:
    yield llc_frame(stp(), STP_GROUP)
    yield llc_frame(snap(packet4(0), IPV4))
    yield llc_frame(snap(packet4(2), IPV4))
    yield llc_frame(snap(packet6(1), IPV6))
    yield llc_frame(snap(arp_request(), ARP), BROADCAST)
    yield llc_frame(snap(cdp(), 0x2000, 0x00000C), CDP_GROUP)
    ipx = struct.pack(">HHBB4x6sH4x6sH", 0xFFFF, 36, 0, 0, BROADCAST, 0x4007, mac(1), 0x4007) + b"sample"
    yield llc_frame(ipx, BROADCAST)  # "raw" 802.3: no LLC
    yield llc_frame(b"\xf0\xf0\x03" + noise(40, "netbios"))
    yield ethernet(b"\xaa\xaa\x03\0", 4)  # ends inside SNAP


def raw() -> Iterator[bytes]:
    for number in range(3):
        yield packet4(number)
        yield packet6(number)
    yield ipv4(icmp(8, 0, bytes(4)), ICMP, CLIENT.ip4, WEB.ip4, options=ROUTER_ALERT)


def ppp_frames(*, serial: bool) -> Iterator[bytes]:
    """Yield PPP with and without address and control bytes, and with a one-byte protocol (RFC 1661, 6.5)."""
    for number in range(3):
        yield b"\xff\x03" + ppp(packet4(number))
        yield b"\xff\x03" + ppp(packet6(number))
    yield b"\xff\x03" + ppp(ppp_control(1, 1, b"\x01\x04\x05\xdc"), LCP)
    if serial:
        yield chdlc(packet4(1))  # link type 50 may carry this, too
        yield chdlc(packet6(2), address=0x8F)
    else:
        yield ppp(packet4(1))
        yield ppp(packet6(2))
        yield ppp(ppp_control(9, 2, bytes(4)), LCP)
        yield ppp(packet4(0))[1:]
        yield b"\xff\x03" + ppp(packet6(0))[1:]


def chdlc_frames() -> Iterator[bytes]:
    for number in range(3):
        yield chdlc(packet4(number))
        yield chdlc(packet6(number), address=0x8F)
    yield chdlc(struct.pack(">IIIHH", 2, 7, 6, 0xFFFF, 0), 0x8035, 0x8F)  # SLARP keep-alive
    yield chdlc(cdp(), 0x2000, 0x8F)


def null_frames(order: str) -> Iterator[bytes]:
    """Yield AF_INET, which is 2, and AF_INET6: 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS."""
    for number, inet6 in enumerate((24, 28, 30)):
        yield family(packet4(number), 2, order)
        yield family(packet6(number), inet6, order)
    yield family(noise(24, "appletalk"), 16, order)


def cooked(wrap: Callable[..., bytes]) -> Iterator[bytes]:
    for kind, packet in enumerate((packet4(0), packet4(1), packet6(1), packet6(2), packet4(2))):
        yield wrap(packet, kind=kind, address=CLIENT.mac if kind == 4 else mac(1))
    yield wrap(arp_request(), ARP, kind=1)
    yield wrap(struct.pack(">HH", 20, IPV4) + packet4(0), VLAN)
    yield wrap(struct.pack(">HHHH", 20, VLAN, 30, IPV6) + packet6(0), QINQ, kind=4)
    yield wrap(struct.pack(">HH", 20, ARP) + arp_request(), VLAN, kind=1)
    yield wrap(packet4(1), device=772, address=bytes(6))  # loopback
    yield wrap(packet6(1), device=772, kind=4, address=bytes(6))
    yield wrap(packet4(2), device=65534, address=b"", kind=4)  # tun
    yield wrap(packet6(2), device=512, address=b"")  # ppp
    yield wrap(stp(), 4, kind=2)  # 802.2 LLC


def beacons() -> Iterator[bytes]:
    """Yield two beacons and an acknowledgement of IEEE 802.11."""
    name = b"\x01\x08\x82\x84\x8b\x96\x0c\x12\x18\x24" + b"\x03\x01\x06"
    for number in (1, 2):
        head = b"\x80\0\0\0" + BROADCAST + mac(0x80) + mac(0x80) + struct.pack("<H", number << 4)
        yield head + struct.pack("<QHH", number * 102_400, 100, 0x0421) + b"\0\x0asample net" + name
    yield b"\xd4\0\0\0" + mac(0x0A)
