"""Make the sample captures of this folder: `python make_samples.py [FOLDER]`.

Nothing in them was captured: every packet is built here, from the wire format up, with valid checksums,
documentation addresses (RFC 5737, RFC 3849, RFC 6676) and locally administered MACs. Each run makes the same
bytes; only how .gz files are compressed differs between zlib versions: compare those through `inflated`.

In this order: capture files, layers, conversations, what each sample holds, and `SAMPLES` and `PCAPNG`:
name -> function that makes the file's bytes.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

# ---- capture files

MICRO, NANO, MODIFIED, IXIA_HW, IXIA_SW = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34, 0x1C0001AC, 0x1C0001AB
START = 1_709_294_400 * 10**9  # 2024-03-01 12:00:00 UTC, in ns


class Packet(NamedTuple):
    """One record: the bytes captured, ns since the epoch, the length on the wire if that was another."""

    data: bytes
    time: int = START
    orig_len: int | None = None


def pcap_header(
    *,
    magic: int = MICRO,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    return struct.pack("<>"[big_endian] + "IHHiIII", magic, *version, 0, 0, snaplen, linktype)


def pcap_record(
    data: bytes,
    seconds: int = START // 10**9,
    fraction: int = 0,
    *,
    cap_len: int | None = None,
    orig_len: int | None = None,
    magic: int = MICRO,
    big_endian: bool = False,
) -> bytes:
    """A record that may lie: *cap_len* and *orig_len* are written as given."""
    order = "<>"[big_endian]
    cap_len = len(data) if cap_len is None else cap_len
    orig_len = cap_len if orig_len is None else orig_len
    # The patched libpcap of old Linux systems put interface, protocol, packet type behind: 24 bytes in all.
    behind = struct.pack(order + "IHBx", 2, 3, 0) if magic == MODIFIED else b""
    return struct.pack(order + "IIII", seconds, fraction, cap_len, orig_len) + behind + data


def pcap_file(
    packets: Iterable[Packet],
    *,
    magic: int = MICRO,
    big_endian: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    out = pcap_header(magic=magic, big_endian=big_endian, linktype=linktype, snaplen=snaplen, version=version)
    for data, time, orig_len in packets:
        seconds, ns = divmod(time, 10**9)
        fraction = ns if magic == NANO else ns // 1000
        out += pcap_record(data, seconds, fraction, orig_len=orig_len, magic=magic, big_endian=big_endian)
    return out


SECTION, INTERFACE, OLD_PACKET, SIMPLE, NAMES, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6
SECRETS, CUSTOM, UNKNOWN_BLOCK = 0xA, 0xBAD, 0x7E577E57

Option = tuple[int, bytes]


class Ng:
    """Blocks of pcapng (draft-ietf-opsawg-pcapng) in one byte order; what they hold may lie."""

    def __init__(self, *, big_endian: bool = False) -> None:
        self.order = "<>"[big_endian]

    def number(self, value: int, size: int = 4) -> bytes:
        return value.to_bytes(size, "big" if self.order == ">" else "little")

    def block(
        self,
        kind: int,
        body: bytes,
        options: Sequence[Option] = (),
        *,
        length: int | None = None,
        again: int | None = None,
    ) -> bytes:
        """*length* is written as given, and *again* for it at the end."""
        body += b"\0" * (-len(body) % 4)
        for code, value in options:
            body += struct.pack(self.order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
        if options:
            body += bytes(4)
        length = len(body) + 12 if length is None else length
        again = length if again is None else again
        return self.number(kind) + self.number(length) + body + self.number(again)

    def section(self, options: Sequence[Option] = (), version: tuple[int, int] = (1, 0)) -> bytes:
        body = struct.pack(self.order + "IHHq", 0x1A2B3C4D, *version, -1)
        return self.block(SECTION, body, options)

    def interface(
        self,
        linktype: int = 1,
        snaplen: int = 0,
        name: str = "",
        *,
        resolution: int | None = None,
        offset: int | None = None,
        options: Sequence[Option] = (),
    ) -> bytes:
        given: list[Option] = [(2, name.encode())] if name else []
        given += [(9, bytes([resolution]))] if resolution is not None else []
        given += [(14, self.number(offset & (1 << 64) - 1, 8))] if offset is not None else []
        return self.block(
            INTERFACE, struct.pack(self.order + "HHI", linktype, 0, snaplen), [*given, *options]
        )

    def packet(
        self,
        data: bytes,
        ticks: int = START // 1000,
        interface: int = 0,
        *,
        cap_len: int | None = None,
        orig_len: int | None = None,
        options: Sequence[Option] = (),
    ) -> bytes:
        """An enhanced packet block."""
        cap_len = len(data) if cap_len is None else cap_len
        orig_len = cap_len if orig_len is None else orig_len
        head = struct.pack(
            self.order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, cap_len, orig_len
        )
        return self.block(ENHANCED, head + data, options)

    def old_packet(
        self, data: bytes, ticks: int, interface: int = 0, drops: int = 0xFFFF, options: Sequence[Option] = ()
    ) -> bytes:
        """A packet block, as early files have it."""
        head = struct.pack(
            self.order + "HHIIII", interface, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
        )
        return self.block(OLD_PACKET, head + data, options)

    def simple(self, data: bytes, orig_len: int | None = None) -> bytes:
        return self.block(SIMPLE, self.number(len(data) if orig_len is None else orig_len) + data)

    def statistics(self, interface: int = 0, options: Sequence[Option] = ()) -> bytes:
        return self.block(STATISTICS, struct.pack(self.order + "III", interface, 0, 0), options)

    def count(self, code: int, value: int) -> Option:
        """An option of 64 bits: isb_ifdrop (5), isb_osdrop (7), epb_dropcount (4)."""
        return code, self.number(value, 8)

    def flags(self, value: int) -> Option:
        """epb_flags: 1 inbound, 2 outbound; and 4 unicast, 8 multicast, 12 broadcast, 16 promiscuous."""
        return 2, self.number(value)

    def names(self) -> bytes:
        """A name resolution block."""
        record = struct.pack(self.order + "HH", 1, 14) + bytes([192, 0, 2, 10]) + b"client\0\0\0\0"
        return self.block(NAMES, record + b"\0\0" + bytes(4))

    def secrets(self) -> bytes:
        return self.block(SECRETS, self.number(0x544C534B) + self.number(12) + b"# no secrets")

    def custom(self) -> bytes:
        """A custom block of the documentation's enterprise (RFC 5612)."""
        return self.block(CUSTOM, self.number(32473) + b"anything")

    def unknown(self, size: int = 20) -> bytes:
        return self.block(UNKNOWN_BLOCK, bytes(size))


def pcapng_file(
    packets: Iterable[Packet], *, big_endian: bool = False, resolution: int | None = None
) -> bytes:
    """One section, one interface; *resolution* is microseconds (None) or 9."""
    ng = Ng(big_endian=big_endian)
    out = ng.section() + ng.interface(1, 262144, "eth0", resolution=resolution)
    for data, time, orig_len in packets:
        ticks = time if resolution == 9 else time // 1000
        out += ng.packet(data, ticks, orig_len=orig_len)
    return out


def cut(packets: Iterable[Packet], snaplen: int) -> list[Packet]:
    return [Packet(p.data[:snaplen], p.time, len(p.data)) for p in packets]


def paced(frames: Iterable[bytes], start: int = 0, step: int = 10_000) -> list[Packet]:
    """Frames one by one, *step* µs apart and a little more, from *start* µs on."""
    base = START + start * 1000
    return [
        Packet(frame, base + i * (step * 1000 + 37_291) + len(frame) * 97 + i * i * 7919 % 997)
        for i, frame in enumerate(frames)
    ]


def deflated(data: bytes, level: int = 9, *, cut_short: bool = False) -> bytes:
    """Raw deflate; cut short, it holds all of *data* but says that more follows."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH if cut_short else zlib.Z_FINISH)


def gzip_member(data: bytes, level: int = 9, *, flags: int = 0, fields: bytes = b"") -> bytes:
    """RFC 1952: *fields* are the optional header fields that *flags* announce, but for the CRC (2)."""
    head = struct.pack("<HBBIBB", 0x8B1F, 8, flags, 0, 0, 255) + fields
    if flags & 2:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + deflated(data, level) + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def gzip_members(data: bytes) -> bytes:
    """Six members, one of them empty, with all the optional header fields; none ends where a packet does."""
    pieces = data[:11], data[11:31], b"", data[31:5003], data[5003:20011], data[20011:]
    return b"".join(
        (
            gzip_member(pieces[0], 0),
            gzip_member(pieces[1], flags=8, fields=b"mixed.pcap\0"),
            gzip_member(pieces[2]),
            gzip_member(pieces[3], 1, flags=4 | 16, fields=b"\x08\0SC\x04\0test" + b"a comment\0"),
            gzip_member(pieces[4], 0, flags=2),
            gzip_member(pieces[5], flags=2 | 4 | 8 | 16, fields=b"\0\0" + b"name\0" + b"another comment\0"),
        )
    )


def gzip_cut(data: bytes) -> bytes:
    """A member that ends after *data* without saying so: no last block, no trailer."""
    return gzip_member(data)[:10] + deflated(data, cut_short=True)


def inflated(data: bytes) -> bytes:
    """What the gzip members in *data* hold, up to the first damage."""
    out, member = b"", zlib.decompressobj(31)
    for i in range(len(data)):
        if member.eof:
            member = zlib.decompressobj(31)
        try:
            out += member.decompress(data[i : i + 1])
        except zlib.error:
            break
    return out


# ---- layers

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
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def filled(segment: bytes, at: int, src: str, dst: str, protocol: int) -> bytes:
    """The segment with its checksum, which covers the addresses too, written at byte *at*."""
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
    """Covered by its checksum as a whole, which a coverage of 0 says (RFC 3828 section 3.1)."""
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
    """One DATA chunk: a whole message, unordered."""
    size = 16 + len(data)
    return struct.pack(">BBHIHHI", 0, 7, size, 1, 0, 0, 0) + data + bytes(-size % 4)


def dccp_request(src: str, dst: str, sport: int, dport: int) -> bytes:
    """A DCCP-Request: long sequence numbers, a service code (RFC 4340 section 5.1)."""
    head = struct.pack(">HHBBHBBHI", sport, dport, 5, 0, 0, 0x01, 0, 0, 77) + struct.pack(">I", 0x53414D50)
    return filled(head, 6, src, dst, DCCP)


def gre(
    payload: bytes, kind: int, *, key: int | None = None, number: int | None = None, sums: bool = False
) -> bytes:
    flags = sums << 15 | (key is not None) << 13 | (number is not None) << 12
    behind = b"".join(struct.pack(">I", word) for word in (key, number) if word is not None)
    head = struct.pack(">HH", flags, kind)
    if sums:
        head += struct.pack(">HH", checksum(head + bytes(4) + behind + payload), 0)
    return head + behind + payload


def vxlan(frame: bytes, network: int) -> bytes:
    return struct.pack(">II", 0x0800_0000, network << 8) + frame


def geneve(payload: bytes, kind: int, network: int, options: bytes = b"") -> bytes:
    return struct.pack(">BBHI", len(options) // 4, 0, kind, network << 8) + options + payload


def gtpu(
    packet: bytes, tunnel: int, *, number: int | None = None, extensions: bytes = b"", kind: int = 0
) -> bytes:
    """*kind* is the type of the first extension header."""
    flags = 0x30 | (kind != 0) << 2 | (number is not None) << 1
    behind = struct.pack(">HBB", number or 0, 0, kind) + extensions if flags & 7 else b""
    return struct.pack(">BBHI", flags, 255, len(behind) + len(packet), tunnel) + behind + packet


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
    """*fragment* is the flags and offset word: 0x4000 is "don't fragment"."""
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
    """A hop-by-hop or destination options header in front; *options* fill it to a multiple of 8."""
    return struct.pack("BB", next_header, (2 + len(options)) // 8 - 1) + options + payload


def ipv6_fragments(payload: bytes, next_header: int, src: str, dst: str, size: int) -> Iterator[bytes]:
    ident = zlib.crc32(payload)
    for at in range(0, len(payload), size):
        head = struct.pack(">BBHI", next_header, 0, at | (at + size < len(payload)), ident)
        yield ipv6(head + payload[at : at + size], FRAGMENT, src, dst)


def ip(payload: bytes, protocol: int, src: str, dst: str) -> bytes:
    """IPv4 or IPv6, as the addresses are."""
    return (ipv6 if ":" in src else ipv4)(payload, protocol, src, dst)


def ethernet(
    payload: bytes,
    ethertype: int | None = None,
    *,
    src: bytes = mac(1),
    dst: bytes = mac(10),
    tags: Sequence[tuple[int, int]] = (),
    pad: bool = False,
    fcs: bool = False,
) -> bytes:
    """*tags* are (TPID, TCI), the outermost first; *ethertype* is told from an IP payload if not given."""
    kind = ethertype_of(payload) if ethertype is None else ethertype
    frame = dst + src + b"".join(struct.pack(">HH", *tag) for tag in tags) + struct.pack(">H", kind) + payload
    frame = frame.ljust(60, b"\0") if pad else frame
    return frame + struct.pack("<I", zlib.crc32(frame)) if fcs else frame


def arp(operation: int, src: bytes, src_ip: str, dst: bytes, dst_ip: str) -> bytes:
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + src + ip_address(src_ip).packed + dst + ip_address(dst_ip).packed


def mpls(payload: bytes, *labels: int, ttl: int = 63) -> bytes:
    stack = (label << 12 | (i == len(labels) - 1) << 8 | ttl for i, label in enumerate(labels))
    return b"".join(struct.pack(">I", entry) for entry in stack) + payload


def pppoe(payload: bytes, code: int = 0, session: int = 0x2A) -> bytes:
    return struct.pack(">BBHH", 0x11, code, session, len(payload)) + payload


def pppoe_tags(*tags: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in tags)


def ppp(payload: bytes, protocol: int | None = None) -> bytes:
    kind = {IPV4: PPP_IPV4, IPV6: PPP_IPV6}[ethertype_of(payload)] if protocol is None else protocol
    return struct.pack(">H", kind) + payload


def ppp_control(code: int, ident: int, options: bytes) -> bytes:
    return struct.pack(">BBH", code, ident, 4 + len(options)) + options


def llc_frame(payload: bytes, dst: bytes = mac(10)) -> bytes:
    """IEEE 802.3: a length where Ethernet II has its type."""
    return ethernet(payload, len(payload), dst=dst, pad=True)


def snap(payload: bytes, kind: int, oui: int = 0) -> bytes:
    return b"\xaa\xaa\x03" + oui.to_bytes(3, "big") + struct.pack(">H", kind) + payload


def sll(
    payload: bytes, protocol: int | None = None, *, kind: int = 0, device: int = 1, address: bytes = mac(1)
) -> bytes:
    """*kind* is the packet type, *device* the ARPHRD number."""
    protocol = ethertype_of(payload) if protocol is None else protocol
    return struct.pack(">HHH8sH", kind, device, len(address), address, protocol) + payload


def sll2(
    payload: bytes, protocol: int | None = None, *, kind: int = 0, device: int = 1, address: bytes = mac(1)
) -> bytes:
    protocol = ethertype_of(payload) if protocol is None else protocol
    return struct.pack(">HHIHBB8s", protocol, 0, 3, device, kind, len(address), address) + payload


def chdlc(payload: bytes, protocol: int | None = None, address: int = 0x0F) -> bytes:
    return struct.pack(">BBH", address, 0, ethertype_of(payload) if protocol is None else protocol) + payload


def family(payload: bytes, number: int, order: str) -> bytes:
    """The 4-byte address family of BSD loopbacks."""
    return struct.pack(order + "I", number) + payload


# ---- conversations


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
    """Ethernet as the client's own card shows it: what it sends is not padded yet, what it receives is."""
    return [
        ethernet(packet, src=CLIENT.mac, dst=server.mac, tags=tags)
        if up
        else ethernet(packet, src=server.mac, dst=CLIENT.mac, tags=tags, pad=True)
        for up, packet in steps
    ]


def tcp_dialogue(client: str, server: str, sport: int, dport: int, steps: Iterable[Step]) -> Iterator[Step]:
    """The IP packets of one connection: handshake, data in segments, an answer to each step, close."""
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
    """Hello and hello in the clear, the rest noise."""
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
    """A question and its answer; kind 1 is A, 28 AAAA; no answer is NXDOMAIN."""
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
    """A small IPv4 packet: a ping, a DNS question, or the first packet of a TCP connection."""
    return (
        ping(CLIENT.ip4, WEB.ip4)[0][1],
        dns_lookup("www.example.org", 1, ())[0][1],
        next(tcp_dialogue(CLIENT.ip4, WEB.ip4, 50001, 80, ()))[1],
    )[number % 3]


def packet6(number: int = 0) -> bytes:
    """The same over IPv6."""
    return (
        ping(CLIENT.ip6, WEB.ip6)[0][1],
        dns_lookup("www.example.org", 28, (), client=CLIENT.ip6, server=RESOLVER.ip6)[0][1],
        next(tcp_dialogue(CLIENT.ip6, WEB.ip6, 50002, 80, ()))[1],
    )[number % 3]


def arp_request() -> bytes:
    return arp(1, CLIENT.mac, CLIENT.ip4, bytes(6), GATEWAY.ip4)


def neighbours() -> Iterator[bytes]:
    """Neighbour solicitation and advertisement."""
    target, group = ip_address(GATEWAY.ip6).packed, "ff02::1:ff00:1"
    ask = icmpv6(135, 0, bytes(4) + target + b"\x01\x01" + CLIENT.mac, CLIENT.ip6, group)
    ask = ipv6(ask, ICMPV6, CLIENT.ip6, group, hop_limit=255)
    yield ethernet(ask, src=CLIENT.mac, dst=bytes.fromhex("3333ff000001"))
    tell = icmpv6(136, 0, b"\xe0\0\0\0" + target + b"\x02\x01" + GATEWAY.mac, GATEWAY.ip6, CLIENT.ip6)
    tell = ipv6(tell, ICMPV6, GATEWAY.ip6, CLIENT.ip6, hop_limit=255)
    yield ethernet(tell, src=GATEWAY.mac, dst=CLIENT.mac)


def stp() -> bytes:
    """A configuration BPDU in LLC."""
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


# ---- mixed traffic


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
    """Names, pings, a chat, measurements for a multicast group."""
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
    """ARP, spanning tree, LLDP, group membership."""
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
    """Fragments, refusals, extension headers, tunnels."""
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
    """The main sample: all of the above, as one client sees it, in order of time."""
    parts = (web_traffic(), small_talk(), link_chatter(), tagged_traffic(), rare_packets())
    return sorted((p for part in parts for flow in part for p in flow), key=lambda p: p.time)


# ---- one sample a link type


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
    """With and without address and control bytes, and with the protocol in one byte (RFC 1661, 6.5)."""
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
    """AF_INET is 2 everywhere; AF_INET6 is 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS."""
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
    """IEEE 802.11: two beacons and an acknowledgement."""
    name = b"\x01\x08\x82\x84\x8b\x96\x0c\x12\x18\x24" + b"\x03\x01\x06"
    for number in (1, 2):
        head = b"\x80\0\0\0" + BROADCAST + mac(0x80) + mac(0x80) + struct.pack("<H", number << 4)
        yield head + struct.pack("<QHH", number * 102_400, 100, 0x0421) + b"\0\x0asample net" + name
    yield b"\xd4\0\0\0" + mac(0x0A)


def transports() -> Iterator[bytes]:
    """What is above IP: every protocol whose header is looked into, some more, and IPv6's extensions."""
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
    """IP in IP, GRE, VXLAN, GENEVE, GTP-U, in one another, too, and what only looks like them."""
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
        session = b"\x01\0\x09\0"  # a PDU session container, and none behind it
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
    """Headers that contradict themselves, or what is there."""
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
    yield ethernet(ipv6(chain, DESTINATION, here6, there6))  # no end to it
    yield ethernet(b"\x55" + good[1:], IPV4)  # version 5
    yield ethernet(good[:1], IPV4)
    yield ethernet(arp_request()[:20], ARP)


def jumbogram() -> bytes:
    """262144 bytes, the longest packet a capture may hold: IPv6 with RFC 2675's jumbo payload option."""
    length = 262144 - 14 - 40
    segment = tcp(bytes(length - 8 - 20), CLIENT.ip6, WEB.ip6, 50050, 80)
    payload = ipv6_options(segment, TCP, struct.pack(">BBI", 0xC2, 4, length))
    return ethernet(ipv6(payload, 0, CLIENT.ip6, WEB.ip6))


# ---- odd and broken captures


def odd_times() -> bytes:
    """Microseconds that are no fraction, seconds beyond 31 bits, the epoch, going back."""
    now = START // 10**9
    times = [(0, 0), (0, 999_999), (now, 1_000_000), (now, 0xFFFFFFFF), (now - 1, 5)]
    times += [(0x7FFFFFFF, 0), (0x80000000, 1), (0xFFFFFFFF, 999_999)]
    return pcap_header() + b"".join(pcap_record(ethernet(packet4(i)), *time) for i, time in enumerate(times))


def odd_lengths() -> bytes:
    """Nothing captured, less on the wire than captured, far more; cut in and right behind each header."""
    frame4, frame6 = ethernet(packet4(1)), ethernet(packet6(1))
    out = pcap_header()
    for total in (0, 60, 0xFFFFFFFF):
        out += pcap_record(b"", orig_len=total)
    for total in (0, 20, len(frame4) + 1, 65536, 198_586, 0xFFFFFFFF):
        out += pcap_record(frame4, orig_len=total)
    for have in (1, 6, 12, 13, 14, 15, 33, 34, 35, 42):
        out += pcap_record(frame4[:have], orig_len=len(frame4))
    for have in (14, 15, 53, 54, 55):
        out += pcap_record(frame6[:have], orig_len=len(frame6))
    return out


def good(count: int = 3) -> bytes:
    """A sound capture of few packets, to be broken."""
    return pcap_file(mixed()[:count])


def bad_crc() -> bytes:
    data = gzip_member(good(20))
    return data[:-8] + bytes(byte ^ 0xFF for byte in data[-8:-4]) + data[-4:]


def unknown() -> list[Packet]:
    """Nobody can tell what these are, even where they look like IP."""
    return paced([noise(20, "user0"), packet4(0), packet6(0), b""])


def simple(*, fcs: bool = False) -> list[Packet]:
    return paced(ethernet(packet, fcs=fcs) for i in range(3) for packet in (packet4(i), packet6(i)))


# Link types in their numbers: the file header's last word. 0x2400_0001 adds "4 bytes of FCS" to Ethernet.
SAMPLES: dict[str, Callable[[], bytes]] = {
    "mixed.pcap": lambda: pcap_file(mixed()),
    "mixed_be.pcap": lambda: pcap_file(mixed(), big_endian=True),
    "mixed_ns.pcap": lambda: pcap_file(mixed(), magic=NANO),
    "mixed_ns_be.pcap": lambda: pcap_file(mixed(), magic=NANO, big_endian=True),
    "mixed_modified.pcap": lambda: pcap_file(mixed(), magic=MODIFIED),
    "mixed.pcap.gz": lambda: gzip_member(pcap_file(mixed()), flags=8, fields=b"mixed.pcap\0"),
    "mixed_members.pcap.gz": lambda: gzip_members(pcap_file(mixed())),
    "snap96.pcap": lambda: pcap_file(cut(mixed(), 96), snaplen=96),
    "ethernet_vlan.pcap": lambda: pcap_file(paced(ethernet_vlan())),
    "ethernet_pppoe.pcap": lambda: pcap_file(paced(ethernet_pppoe())),
    "ethernet_mpls.pcap": lambda: pcap_file(paced(ethernet_mpls())),
    "ethernet_llc.pcap": lambda: pcap_file(paced(ethernet_llc())),
    "transports.pcap": lambda: pcap_file(paced(transports())),
    "tunnels.pcap": lambda: pcap_file(paced(tunnels())),
    "odd_headers.pcap": lambda: pcap_file(paced(odd_headers())),
    "raw101.pcap": lambda: pcap_file(paced(raw()), linktype=101),
    "raw12.pcap": lambda: pcap_file(paced(raw()), linktype=12),
    "raw14.pcap": lambda: pcap_file(paced(raw()), linktype=14),
    "ipv4_228.pcap": lambda: pcap_file(paced(packet4(i) for i in range(3)), linktype=228),
    "ipv6_229.pcap": lambda: pcap_file(paced(packet6(i) for i in range(3)), linktype=229),
    "null.pcap": lambda: pcap_file(paced(null_frames("<")), linktype=0),
    "null_be.pcap": lambda: pcap_file(paced(null_frames(">")), linktype=0, big_endian=True),
    "loop108.pcap": lambda: pcap_file(paced(null_frames(">")), linktype=108),
    "sll.pcap": lambda: pcap_file(paced(cooked(sll)), linktype=113),
    "sll2.pcap": lambda: pcap_file(paced(cooked(sll2)), linktype=276),
    "ppp.pcap": lambda: pcap_file(paced(ppp_frames(serial=False)), linktype=9),
    "ppp_serial50.pcap": lambda: pcap_file(paced(ppp_frames(serial=True)), linktype=50),
    "chdlc104.pcap": lambda: pcap_file(paced(chdlc_frames()), linktype=104),
    "ieee80211.pcap": lambda: pcap_file(paced(beacons()), linktype=105),
    "unknown.pcap": lambda: pcap_file(unknown(), linktype=147),
    "fcs.pcap": lambda: pcap_file(simple(fcs=True), linktype=0x2400_0001),
    "snaplen0.pcap": lambda: pcap_file(simple(), snaplen=0),
    "oversnap.pcap": lambda: pcap_file(simple(), snaplen=60),
    "empty.pcap": lambda: pcap_file([]),
    "odd_times.pcap": odd_times,
    "odd_lengths.pcap": odd_lengths,
    "max_caplen.pcap.gz": lambda: gzip_member(pcap_file([Packet(jumbogram()), Packet(ethernet(packet4()))])),
    "bad/zero.pcap": lambda: b"",
    "bad/cut_header.pcap": lambda: good()[:23],
    "bad/cut_record.pcap": lambda: good() + pcap_record(b"")[:9],
    "bad/cut_data.pcap": lambda: good() + pcap_record(ethernet(packet4()))[:-1],
    "bad/huge_caplen.pcap": lambda: good() + pcap_record(bytes(60), cap_len=0xFFFFFFFF),
    "bad/caplen_262145.pcap.gz": lambda: gzip_member(good() + pcap_record(jumbogram() + b"\0")),
    "bad/bad_magic.pcap": lambda: pcap_file(mixed()[:3], magic=0xA1B2C3D5),
    "bad/version1.pcap": lambda: pcap_file(mixed()[:3], version=(1, 4)),
    "bad/cut.pcap.gz": lambda: gzip_cut(good(20) + pcap_record(ethernet(packet4()))[:40]),
    "bad/cut_between.pcap.gz": lambda: gzip_cut(good(20)),
    "bad/bad_crc.pcap.gz": bad_crc,
    "bad/garbage_behind.pcap.gz": lambda: gzip_member(good(20)) + b"this is no gzip member",
}


def ng_interfaces() -> bytes:
    """Interfaces of several link types and resolutions; all kinds of packets, options and blocks."""
    ng = Ng()
    frames = [
        ethernet(packet4(0)),
        packet4(1),
        sll(packet6(2), kind=4),
        ethernet(packet6(0), tags=[(VLAN, 7)]),
    ]
    seconds = START // 10**9
    out = ng.section([(1, b"a comment on the section"), (4, b"make_samples.py")])
    out += ng.interface(1, 0, "eth0", options=[(3, b"uplink"), (1, b"a comment on the interface")])
    out += ng.interface(101, 1500, "tun0", resolution=9)
    out += ng.names() + ng.interface(
        113, 0, resolution=0x80 | 20, offset=seconds, options=[(3, b"all of them")]
    )
    out += ng.interface(1, 60, resolution=3)
    out += ng.secrets() + ng.custom() + ng.unknown()
    times = [START // 1000 + 1, START + 123_456_789, 0x1_2345_6789, START // 10**6 + 4]
    for number in range(3):
        for index, (frame, ticks) in enumerate(zip(frames, times, strict=True)):
            size = 60 if index == 3 else len(frame)
            out += ng.packet(frame[:size], ticks + number, index, orig_len=len(frame))
        out += ng.unknown(number * 4)
    out += ng.statistics(
        1, [(1, b"a comment on statistics"), ng.count(4, 5), ng.count(5, 20), ng.count(7, 3)]
    )
    comments = [(1, "ein Kommentar: größer".encode()), (1, b"and another")]
    for value in (1, 2, 3, 4 | 1, 8 | 1, 12 | 1, 16 | 1, 8, 28, 8 | 2, 0):
        out += ng.packet(frames[0], times[0] + value, options=[ng.flags(value)])
    out += ng.packet(frames[1], times[1], 1, options=[comments[0]])
    out += ng.packet(frames[0], times[0], options=[ng.count(4, 11), *comments, ng.flags(2)])
    out += ng.old_packet(frames[0], times[0] + 30) + ng.old_packet(
        frames[1], times[1] + 31, 1, 6, comments[1:]
    )
    out += ng.interface(229, 40, "late")
    out += ng.simple(frames[0]) + ng.packet(packet6(1), START // 1000, 4)
    return out + ng.statistics(1, [ng.count(5, 21)]) + ng.statistics(9, [ng.count(5, 1000)])


def ng_simple() -> bytes:
    """Simple packet blocks, which have no time; the interface's snaplen cuts them."""
    ng = Ng()
    out = ng.section() + ng.interface(1, 60)
    for packet in simple():
        out += ng.simple(packet.data[:60], len(packet.data))
    return out


def ng_sections() -> bytes:
    """Sections of either byte order and without end, one without interfaces, one empty."""
    out = b""
    for number, big_endian in enumerate((False, True, True, False)):
        ng = Ng(big_endian=big_endian)
        out += ng.section([(1, b"section")])
        if number != 2:
            out += ng.interface(1, 0, f"eth{number}") + ng.interface(101, 0, f"tun{number}", resolution=9)
            out += ng.packet(ethernet(packet4(number)), START // 1000 + number)
            out += ng.packet(packet6(number), START + number, 1, options=[(1, b"in section"), ng.flags(2)])
            out += ng.statistics(1, [ng.count(5, 10 + number)])
    return out + Ng(big_endian=True).section()


RESOLUTIONS = [*range(20), *(0x80 | power for power in range(64))]


def ng_resolutions() -> bytes:
    """Every resolution that can be told apart in 64 bits, each with times that fit and an offset or none."""
    ng = Ng()
    out = ng.section()
    for resolution in RESOLUTIONS:
        out += ng.interface(101, 0, f"r{resolution}", resolution=resolution)
        out += ng.interface(101, 0, f"o{resolution}", resolution=resolution, offset=1_000_000_000)
    for index, resolution in enumerate(RESOLUTIONS):
        per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        for second in (1, 500_000_000):
            ticks = second * per_second + per_second * 987_654_321 // 10**9
            if ticks < 1 << 64:
                out += ng.packet(packet4(0), ticks, 2 * index) + ng.packet(packet4(0), ticks, 2 * index + 1)
    return out


PCAPNG: dict[str, Callable[[], bytes]] = {
    "mixed.pcapng": lambda: pcapng_file(mixed()),
    "mixed_be.pcapng": lambda: pcapng_file(mixed(), big_endian=True),
    "mixed_ns.pcapng": lambda: pcapng_file(mixed(), resolution=9),
    "interfaces.pcapng": ng_interfaces,
    "simple.pcapng": ng_simple,
    "sections.pcapng": ng_sections,
    "resolutions.pcapng": ng_resolutions,
    "empty.pcapng": lambda: Ng().section(),
}


def main(folder: Path) -> None:
    (folder / "bad").mkdir(parents=True, exist_ok=True)
    for name, make in (SAMPLES | PCAPNG).items():
        (folder / name).write_bytes(make())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
