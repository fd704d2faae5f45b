"""Build packets of link types other than Ethernet whose header is fixed or states its length."""

from __future__ import annotations

import struct
from collections.abc import Callable

from support.builders.layers import ethertype_of, mac
from support.builders.links import chdlc, ethernet, mpls, ppp, snap

Builder = Callable[[bytes], bytes]
FLAGS_PADDED, FLAGS_FCS = 0x20, 0x10


def inet(packet: bytes, inet6: int) -> int:
    """Return the address family of a packet; that of IPv6 depends on the operating system."""
    return 2 if packet[0] >> 4 == 4 else inet6


def wireless(packet: bytes, control: int = 0x0108, *, qos: int | None = None, number: int = 0x40) -> bytes:
    """Build an 802.11 data frame; `control` holds type, subtype and flags."""
    four, ordered = control & 0x0300 == 0x0300, control & 0x8000
    head = struct.pack("<HH", control, 44) + mac(1) + mac(2) + mac(3) + struct.pack("<H", number)
    head += mac(4) if four else b""
    head += struct.pack("<H", qos) if qos is not None else b""
    head += bytes(4) if qos is not None and ordered else b""
    return head + snap(packet, ethertype_of(packet))


def aggregate(packet: bytes) -> bytes:
    """Build an 802.11 frame with two frames in it."""
    content = snap(packet, ethertype_of(packet))
    one = mac(5) + mac(6) + struct.pack(">H", len(content)) + content
    head = struct.pack("<HH", 0x0188, 44) + mac(1) + mac(2) + mac(3) + struct.pack("<HH", 0x40, 0x80)
    return head + one + bytes(-len(one) % 4) + one


def padded(frame: bytes, header: int) -> bytes:
    """Put padding to a multiple of four after the header of an 802.11 frame."""
    return frame[:header] + bytes(-header % 4) + frame[header:]


def radiotap(frame: bytes, *, flags: int | None = None, time: bool = False, words: int = 1) -> bytes:
    present = time | (flags is not None) << 1
    bits = [present | (1 << 31) * (words > 1), *[1 << 29 | 1 << 31] * (words - 2), *[0] * (words > 1)]
    fields = b"".join(struct.pack("<I", word) for word in bits)
    if time:
        fields += bytes(-(4 + len(fields)) % 8) + struct.pack("<Q", 7)
    fields += bytes([flags]) if flags is not None else b""
    return struct.pack("<BBH", 0, 0, 4 + len(fields)) + fields + frame


def prism(frame: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "II", 0x44, 144) + b"wlan0".ljust(136, b"\0") + frame


def avs(frame: bytes) -> bytes:
    return struct.pack(">II", 0x80211001, 64) + bytes(56) + frame


def ppi(frame: bytes, link_type: int, fields: bytes = b"") -> bytes:
    return struct.pack("<BBHI", 0, 0, 8 + len(fields), link_type) + fields + frame


def pktap(frame: bytes, link_type: int, kind: int = 1, length: int = 108) -> bytes:
    return struct.pack("<III", length, kind, link_type) + b"en0".ljust(length - 12, b"\0") + frame


def field(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nflog(*fields: bytes, family: int = 2, version: int = 0) -> bytes:
    return struct.pack(">BBH", family, version, 5) + b"".join(fields)


def nflog_of(packet: bytes) -> bytes:
    prefix = field(1, struct.pack(">HBB", 0x0800, 3, 0)) + field(10, b"dropped\0"[:7])
    return nflog(prefix, field(9, packet), family=inet(packet, 10))


def pflog(packet: bytes, length: int = 61, inet6: int = 24) -> bytes:
    head = struct.pack(">BBBB16s", length, inet(packet, inet6), 0, 0, b"em0")
    return head.ljust((length + 3) // 4 * 4, b"\0") + packet


def enc(packet: bytes, order: str = "<", inet6: int = 24) -> bytes:
    return struct.pack(order + "III", inet(packet, inet6), 0x1001, 1) + packet


def ipnet(packet: bytes, version: int = 1) -> bytes:
    return struct.pack(">BBHIIIII", version, inet(packet, 26), 1, len(packet), 2, 0, 0, 1) + packet


def nlpid(packet: bytes) -> bytes:
    return (b"\xcc" if packet[0] >> 4 == 4 else b"\x8e") + packet


def typed(packet: bytes) -> bytes:
    return struct.pack(">H", ethertype_of(packet)) + packet


# For each name the link type, and a function that builds a packet of it.
LINK_LAYERS: dict[str, tuple[int, Builder]] = {
    "802.11": (105, wireless),
    "802.11 from the access point": (105, lambda packet: wireless(packet, 0x0208)),
    "802.11 between access points": (105, lambda packet: wireless(packet, 0x0308)),
    "802.11 qos": (105, lambda packet: wireless(packet, 0x0188, qos=5)),
    "802.11 qos between access points": (105, lambda packet: wireless(packet, 0x0388, qos=0)),
    "802.11 ht": (105, lambda packet: wireless(packet, 0x8188, qos=0)),
    "802.11 with acknowledgement": (105, lambda packet: wireless(packet, 0x0118)),
    "802.11 aggregate": (105, aggregate),
    "radiotap": (127, lambda packet: radiotap(wireless(packet))),
    "radiotap qos, fcs": (127, lambda packet: radiotap(wireless(packet, 0x0188, qos=0) + bytes(4), flags=16)),
    "radiotap, padded": (
        127,
        lambda packet: radiotap(padded(wireless(packet, 0x0188, qos=0), 26), flags=FLAGS_PADDED),
    ),
    "radiotap with time, padded": (
        127,
        lambda packet: radiotap(padded(wireless(packet, 0x0188, qos=0), 26), flags=FLAGS_PADDED, time=True),
    ),
    "radiotap with many words, padded": (
        127,
        lambda packet: radiotap(
            padded(wireless(packet, 0x0188, qos=0), 26), flags=FLAGS_PADDED, time=True, words=2
        ),
    ),
    "prism": (119, lambda packet: prism(wireless(packet))),
    "prism, big-endian": (119, lambda packet: prism(wireless(packet), ">")),
    "prism with avs": (119, lambda packet: avs(wireless(packet))),
    "avs": (163, lambda packet: avs(wireless(packet, 0x0188, qos=0))),
    "ppi with 802.11": (192, lambda packet: ppi(wireless(packet), 105, bytes(24))),
    "ppi with ethernet": (192, lambda packet: ppi(ethernet(packet, tags=[(0x8100, 9)]), 1)),
    "pktap with ethernet": (258, lambda packet: pktap(ethernet(packet), 1)),
    "pktap with raw ip": (258, lambda packet: pktap(packet, 12)),
    "pktap, longer": (258, lambda packet: pktap(ethernet(packet), 1, length=156)),
    "nflog": (239, nflog_of),
    "pflog": (117, pflog),
    "pflog of FreeBSD": (117, lambda packet: pflog(packet, 61, 28)),
    "pflog, longer": (117, lambda packet: pflog(packet, 100)),
    "enc": (109, enc),
    "enc, big-endian": (109, lambda packet: enc(packet, ">", 28)),
    "ipnet": (226, ipnet),
    "frame relay": (107, lambda packet: b"\x18\x41\x03" + nlpid(packet)),
    "frame relay, padded": (107, lambda packet: b"\x18\x41\x03\0" + nlpid(packet)),
    "frame relay, long address": (107, lambda packet: b"\x18\x40\x40\x41\x03" + nlpid(packet)),
    "frame relay with snap": (107, lambda packet: b"\x18\x41\x03\0\x80\0\0\0" + typed(packet)),
    "frame relay of Cisco": (107, lambda packet: b"\x18\x41" + typed(packet)),
    "frame relay with direction": (206, lambda packet: b"\x01\x18\x41\x03" + nlpid(packet)),
    "ppp with direction": (204, lambda packet: b"\x01\xff\x03" + ppp(packet)),
    "ppp of pppd": (166, lambda packet: b"\x01\x03" + ppp(packet)),
    "chdlc with direction": (205, lambda packet: b"\0" + chdlc(packet)),
    "mpls": (219, lambda packet: mpls(packet, 16, 17)),
}
# They look like those above, but are not valid, or hold no readable packet.
NOT_IP: dict[str, tuple[int, Builder]] = {
    "802.11 beacon": (105, lambda packet: wireless(packet, 0x0080)),
    "802.11 without data": (105, lambda packet: wireless(packet, 0x0148)),
    "802.11 protected": (105, lambda packet: wireless(packet, 0x4108)),
    "802.11 later fragment": (105, lambda packet: wireless(packet, number=0x41)),
    "802.11 version 1": (105, lambda packet: wireless(packet, 0x0109)),
    "radiotap version 1": (127, lambda packet: b"\x01" + radiotap(wireless(packet))[1:]),
    "radiotap too short": (127, lambda packet: b"\0\0\x07\0" + radiotap(wireless(packet))[4:]),
    "radiotap too long": (127, lambda packet: b"\0\0\xff\xff" + radiotap(wireless(packet))[4:]),
    "prism, other message": (119, lambda packet: b"\x45" + prism(wireless(packet))[1:]),
    "prism too long": (
        119,
        lambda packet: prism(wireless(packet))[:4] + b"\xff\xff\xff\xff" + wireless(packet),
    ),
    "avs too short": (163, lambda packet: avs(wireless(packet))[:4] + b"\0\0\0\x07" + wireless(packet)),
    "ppi in ppi": (192, lambda packet: ppi(ppi(wireless(packet), 105), 192)),
    "ppi version 1": (192, lambda packet: b"\x01" + ppi(wireless(packet), 105)[1:]),
    "ppi too long": (192, lambda packet: b"\0\0\xff\xff" + ppi(wireless(packet), 105)[4:]),
    "pktap in pktap": (258, lambda packet: pktap(pktap(ethernet(packet), 1), 258)),
    "pktap in ppi": (192, lambda packet: ppi(pktap(ethernet(packet), 1), 258)),
    "pktap without packet": (258, lambda packet: pktap(ethernet(packet), 1, kind=2)),
    "nflog of arp": (239, lambda packet: nflog(field(9, packet), family=3)),
    "nflog version 1": (239, lambda packet: nflog(field(9, packet), version=1)),
    "nflog, length too small": (239, lambda packet: nflog(b"\x03\0\x01\0", field(9, packet))),
    "nflog, length too large": (239, lambda packet: nflog(b"\xff\xff\x01\0", field(9, packet))),
    "nflog without packet": (239, lambda packet: nflog(field(10, packet))),
    "pflog too short": (117, lambda packet: pflog(packet, 44)),
    "pflog of arp": (117, lambda packet: b"\x3d\x03" + pflog(packet)[2:]),
    "enc of another family": (109, lambda packet: b"\x07\0\0\0" + enc(packet)[4:]),
    "ipnet version 2": (226, lambda packet: ipnet(packet, 2)),
    "frame relay without end of address": (107, lambda packet: b"\x18\x40\x40\x40\x03" + nlpid(packet)),
    "frame relay, other protocol": (107, lambda packet: b"\x18\x41\x03\x08" + packet),
    "frame relay, other oui": (107, lambda packet: b"\x18\x41\x03\0\x80\0\x80\xc2" + typed(packet)),
    "chdlc with direction, control 1": (205, lambda packet: b"\0\x0f\x01" + typed(packet)),
    "mpls without a bottom": (219, lambda packet: bytes(4) * 5),
}
