"""Build Ethernet frames in which an IP packet comes after rare tags, or inside a tunnel."""

from __future__ import annotations

import struct
from collections.abc import Callable

from support.builders.conversations import CLIENT, SHOP
from support.builders.layers import GRE, IPV4, IPV6, UDP, VLAN, ethertype_of, gre, ip, mac, udp
from support.builders.links import ethernet, mpls, ppp

BRIDGED, MPLS = 0x6558, 0x8847
HEAD = b"\x02\0\0\0\0\x0a\x02\0\0\0\0\x01"  # addresses of an outer frame
CONTROL_WORD = struct.pack(">HH", 0, 7)

Builder = Callable[[bytes], bytes]


def framed(packet: bytes) -> bytes:
    """Build a frame of other hosts, with a packet inside."""
    return ethernet(packet, src=mac(0x51), dst=mac(0x52))


def tagged(packet: bytes) -> bytes:
    return ethernet(packet, src=mac(0x51), dst=mac(0x52), tags=[(VLAN, 7)])


def after(ethertype: int, header: bytes) -> Callable[[bytes], bytes]:
    """Return a builder of frames with a header of this EtherType."""
    return lambda rest: HEAD + struct.pack(">H", ethertype) + header + rest


def typed(rest: bytes) -> bytes:
    """Prepend the EtherType of a packet."""
    return struct.pack(">H", ethertype_of(rest)) + rest


def nsh(rest: bytes, following: int, words: int = 6, version: int = 0) -> bytes:
    first = version << 14 | 63 << 6 | words
    return (
        struct.pack(">HBBI", first, 1 if words == 6 else 2, following, 1 << 8 | 255)
        + bytes(words * 4 - 8)
        + rest
    )


def next_of(packet: bytes) -> int:
    """Return the number of a packet as the next protocol of NSH and VXLAN-GPE."""
    return {IPV4: 1, IPV6: 2}[ethertype_of(packet)]


def isl(rest: bytes) -> bytes:
    """Build a frame of an inter-switch link; the last four bytes are its checksum."""
    snap = b"\xaa\xaa\x03\0\0\x0c"
    return (
        b"\x01\0\x0c\0\0\0"
        + mac(1)
        + struct.pack(">H", 12 + len(rest))
        + snap
        + b"\0\x0a"
        + bytes(4)
        + rest
        + bytes(4)
    )


# The outermost IP packet comes after these.
TAGS: dict[str, Builder] = {
    "vntag": lambda packet: after(0x8926, b"\x80\x05\0\x01")(typed(packet)),
    "vntag with vlan": lambda packet: after(0x8926, bytes(4) + b"\x81\0\0\x05")(typed(packet)),
    "etag": lambda packet: after(0x893F, b"\0\0\0\x01\0\0")(typed(packet)),
    "cmd": lambda packet: after(0x8909, b"\x01\x01\0\x01\0\x05")(typed(packet)),
    "vlan and cmd": lambda packet: after(VLAN, b"\0\x07\x89\x09\x01\x01\0\x01\0\x05")(typed(packet)),
    "macsec": lambda packet: after(0x88E5, b"\0\0\0\0\0\x01")(typed(packet) + bytes(16)),
    "macsec with sci": lambda packet: after(0x88E5, b"\x20\0\0\0\0\x01" + bytes(8))(
        typed(packet) + bytes(16)
    ),
    "itag": lambda packet: after(0x88E7, b"\0\0\0\x01")(framed(packet)),
    "vlan and itag": lambda packet: after(0x88A8, b"\0\x05\x88\xe7\0\0\0\x01")(tagged(packet)),
    "nsh, frame": lambda packet: after(0x894F, b"")(nsh(framed(packet), 3)),
    "nsh, packet": lambda packet: after(0x894F, b"")(nsh(packet, next_of(packet))),
    "nsh, short": lambda packet: after(0x894F, b"")(nsh(packet, next_of(packet), 2)),
    "nsh, mpls": lambda packet: after(0x894F, b"")(nsh(mpls(packet, 16), 5)),
    "fabricpath": lambda packet: after(0x8903, b"\0\x60")(framed(packet)),
    "trill": lambda packet: after(0x22F3, b"\0\x3f\0\x01\0\x02")(framed(packet)),
    "trill with options": lambda packet: after(0x22F3, b"\0\x7f\0\x01\0\x02" + bytes(4))(tagged(packet)),
    "isl": lambda packet: isl(framed(packet)),
    "jumbo llc": lambda packet: after(0x8870, b"\xaa\xaa\x03\0\0\0")(typed(packet)),
    "pseudowire with control word": lambda packet: after(MPLS, b"")(
        mpls(CONTROL_WORD + framed(packet), 16, 17)
    ),
    "pseudowire": lambda packet: after(MPLS, b"")(mpls(framed(packet), 16)),
    "pseudowire with vlan": lambda packet: after(MPLS, b"")(mpls(bytes(4) + tagged(packet), 16)),
}


def over_udp(port: int, source: int = 50070) -> Builder:
    here, there = CLIENT.ip4, SHOP.ip4
    return lambda rest: ethernet(ip(udp(rest, here, there, source, port), UDP, here, there))


def over_ip(protocol: int) -> Builder:
    return lambda rest: ethernet(ip(rest, protocol, CLIENT.ip4, SHOP.ip4))


def erspan_iii(rest: bytes, kind: int = 0, *, subheader: bool = False) -> bytes:
    return struct.pack(">HHIHH", 0x2007, 1, 5, 6, kind << 10 | subheader) + bytes(8 * subheader) + rest


def in_gre(rest: bytes, kind: int, number: int | None = None) -> bytes:
    return over_ip(GRE)(gre(rest, kind, number=number))


def pptp(frame: bytes, flags: int = 0x3001, numbers: int = 1) -> bytes:
    return struct.pack(">HHHH", flags, 0x880B, len(frame), 9) + struct.pack(">I", 5) * numbers + frame


def l2tp(frame: bytes, flags: int, fields: bytes) -> bytes:
    return struct.pack(">H", flags | 2) + fields + frame


TUNNELS: dict[str, Builder] = {
    "erspan i": lambda packet: in_gre(framed(packet), 0x88BE),
    "erspan ii": lambda packet: in_gre(struct.pack(">HHI", 0x1007, 1, 0) + tagged(packet), 0x88BE, 4),
    "erspan iii": lambda packet: in_gre(erspan_iii(framed(packet)), 0x22EB, 4),
    "erspan iii with subheader": lambda packet: in_gre(erspan_iii(framed(packet), subheader=True), 0x22EB, 4),
    "pptp": lambda packet: over_ip(GRE)(pptp(b"\xff\x03" + ppp(packet))),
    "pptp with acknowledgement": lambda packet: over_ip(GRE)(pptp(ppp(packet), 0x3081, 2)),
    "mpls in gre": lambda packet: in_gre(mpls(packet, 16, 17), MPLS),
    "nsh in gre": lambda packet: in_gre(nsh(packet, next_of(packet)), 0x894F),
    "wccp 1": lambda packet: in_gre(packet, 0x883E),
    "wccp 2": lambda packet: in_gre(bytes(4) + packet, 0x883E),
    "mpls in udp": lambda packet: over_udp(6635)(mpls(packet, 16)),
    "vxlan-gpe, packet": lambda packet: over_udp(4790)(
        struct.pack(">BHBI", 0x0C, 0, next_of(packet), 256) + packet
    ),
    "vxlan-gpe, frame": lambda packet: over_udp(4790)(b"\x0c\0\0\x03\0\0\x01\0" + framed(packet)),
    "vxlan-gpe, nsh": lambda packet: over_udp(4790)(b"\x0c\0\0\x04\0\0\x01\0" + nsh(framed(packet), 3)),
    "l2tp": lambda packet: over_udp(1701)(l2tp(b"\xff\x03" + ppp(packet), 0, b"\0\x01\0\x02")),
    "l2tp, answer": lambda packet: over_udp(50070, 1701)(l2tp(ppp(packet), 0, b"\0\x01\0\x02")),
    "l2tp with all fields": lambda packet: over_udp(1701)(
        l2tp(ppp(packet), 0x4A00, struct.pack(">HHHHHH", 20 + len(packet), 1, 2, 3, 4, 4) + bytes(4))
    ),
    "l2tpv3": lambda packet: over_ip(115)(b"\0\0\0\x01" + framed(packet)),
    "l2tpv3 with sublayer": lambda packet: over_ip(115)(b"\0\0\0\x01" + bytes(4) + framed(packet)),
    "l2tpv3 with cookie": lambda packet: over_ip(115)(
        b"\0\0\0\x01" + b"cookies!" + bytes(4) + tagged(packet)
    ),
    "l2tpv3 in udp": lambda packet: over_udp(1701)(b"\0\x03\0\0\0\0\0\x01" + framed(packet)),
    "etherip": lambda packet: over_ip(97)(b"\x30\0" + framed(packet)),
    "mpls in ip": lambda packet: over_ip(137)(mpls(packet, 16)),
    "gtp-u, answer": lambda packet: over_udp(50070, 2152)(
        struct.pack(">BBHI", 0x30, 255, len(packet), 7) + packet
    ),
}
# These hold IPv6 only.
TEREDO: dict[str, Builder] = {
    "teredo": over_udp(3544, 50071),  # tshark has seen L2TP at the other port
    "teredo, answer": over_udp(50070, 3544),
    "teredo with origin": lambda packet: over_udp(3544)(b"\0\0" + bytes(6) + packet),
    "teredo with authentication": lambda packet: over_udp(3544)(b"\0\x01\x02\x03" + bytes(14) + packet),
    "teredo with both": lambda packet: over_udp(3544)(b"\0\x01\0\0" + bytes(9) + bytes(8) + packet),
}

# They look like those above, but their headers are not valid, or hold no readable packet.
NOT_TAGS: dict[str, Builder] = {
    "cmd, version 2": lambda packet: after(0x8909, b"\x02\x01\0\x01\0\x05")(typed(packet)),
    "macsec, encrypted": lambda packet: after(0x88E5, b"\x0c\0\0\0\0\x01")(typed(packet)),
    "macsec, version 1": lambda packet: after(0x88E5, b"\x80\0\0\0\0\x01")(typed(packet)),
    "nsh, version 1": lambda packet: after(0x894F, b"")(nsh(packet, next_of(packet), version=1)),
    "nsh, too short": lambda packet: after(0x894F, b"\x0f\xc1\x02\x01\0\0\x01\xff")(packet),
    "nsh, longer than the packet": lambda packet: after(0x894F, b"\x0f\xff\x02\x01\0\0\x01\xff")(packet[:60]),
    "nsh, unknown protocol": lambda packet: after(0x894F, b"")(nsh(packet, 77)),
    "trill, version 1": lambda packet: after(0x22F3, b"\x40\x3f\0\x01\0\x02")(framed(packet)),
    "isl, other destination": lambda packet: b"\x01\0\x0d" + isl(framed(packet))[3:],
    "pseudowire without ip": lambda packet: after(MPLS, b"")(mpls(HEAD + b"\x88\xcc" + packet, 16)),
}
NOT_TUNNELS: dict[str, Builder] = {
    "erspan, version 3": lambda packet: in_gre(b"\x30" + bytes(7) + framed(packet), 0x88BE, 4),
    "erspan iii, unknown frame": lambda packet: in_gre(erspan_iii(framed(packet), 5), 0x22EB, 4),
    "pptp without data": lambda packet: over_ip(GRE)(pptp(ppp(packet), 0x2001, 0)),
    "pptp, version 2": lambda packet: over_ip(GRE)(pptp(ppp(packet), 0x3002)),
    "vxlan-gpe, version 1": lambda packet: over_udp(4790)(b"\x1c\0\0\x01\0\0\x01\0" + packet),
    "vxlan-gpe, operations": lambda packet: over_udp(4790)(b"\x0d\0\0\x01\0\0\x01\0" + packet),
    "l2tp, control": lambda packet: over_udp(1701)(l2tp(ppp(packet), 0xC800, bytes(10))),
    "l2tp, version 1": lambda packet: over_udp(1701)(b"\0\x01\0\x01\0\x02" + ppp(packet)),
    "l2tp, offset too large": lambda packet: over_udp(1701)(
        l2tp(ppp(packet), 0x200, b"\0\x01\0\x02\xff\xff")
    ),
    "l2tpv3, control": lambda packet: over_ip(115)(bytes(4) + framed(packet)),
    "l2tpv3, no frame": lambda packet: over_ip(115)(b"\0\0\0\x01" + packet),
    "etherip, version 2": lambda packet: over_ip(97)(b"\x20\0" + framed(packet)),
    "teredo without ipv6": lambda packet: over_udp(3544)(bytes(12) + b"\x40" + packet),
    "gtp-u, echo": lambda packet: over_udp(2152)(struct.pack(">BBHI", 0x30, 1, len(packet), 7) + packet),
    "mpls without a bottom": lambda packet: over_udp(6635)(bytes(4) * (len(packet) // 4)),
    "vxlan's port as source": lambda packet: over_udp(50070, 4789)(b"\x08" + bytes(7) + framed(packet)),
}
