"""The sample captures of the pcap format, as records and options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from support.builders.compressed import gzip_cut, gzip_member, gzip_members
from support.builders.conversations import packet4, packet6
from support.builders.layers import noise
from support.builders.link_types import (
    beacons,
    chdlc_frames,
    cooked,
    ethernet_llc,
    ethernet_mpls,
    ethernet_pppoe,
    ethernet_vlan,
    null_frames,
    ppp_frames,
    raw,
)
from support.builders.links import ethernet, sll, sll2
from support.builders.mixed import mixed
from support.builders.pcap import (
    MODIFIED,
    NANO,
    START,
    Capture,
    Packet,
    Record,
    capture,
    cut,
    paced,
    pcap_record,
)
from support.builders.protocols import jumbogram, odd_headers, transports, tunnels


def odd_times() -> Iterator[Record]:
    """Yield timestamps with more than 999,999 µs, after 2^31 s, at the epoch, and going back."""
    now = START // 10**9
    times = [(0, 0), (0, 999_999), (now, 1_000_000), (now, 0xFFFFFFFF), (now - 1, 5)]
    times += [(0x7FFFFFFF, 0), (0x80000000, 1), (0xFFFFFFFF, 999_999)]
    for i, (seconds, fraction) in enumerate(times):
        yield Record(ethernet(packet4(i)), seconds, fraction)


def odd_lengths() -> Iterator[Record]:
    """Yield empty packets, lengths on the wire that are too short or huge, and frames cut at headers."""
    frame4, frame6 = ethernet(packet4(1)), ethernet(packet6(1))
    for total in (0, 60, 0xFFFFFFFF):
        yield Record(b"", orig_len=total)
    for total in (0, 20, len(frame4) + 1, 65536, 198_586, 0xFFFFFFFF):
        yield Record(frame4, orig_len=total)
    for length in (1, 6, 12, 13, 14, 15, 33, 34, 35, 42):
        yield Record(frame4[:length], orig_len=len(frame4))
    for length in (14, 15, 53, 54, 55):
        yield Record(frame6[:length], orig_len=len(frame6))


def unknown() -> list[Packet]:
    """Build packets of a link type without a decoder, some of which look like IP."""
    return paced([noise(20, "user0"), packet4(0), packet6(0), b""])


def simple(*, fcs: bool = False) -> list[Packet]:
    """Build three IPv4 and three IPv6 packets on Ethernet, with or without a frame check sequence."""
    return paced(ethernet(packet, fcs=fcs) for i in range(3) for packet in (packet4(i), packet6(i)))


def named_member(data: bytes) -> bytes:
    """Compress to a gzip member with a file name."""
    return gzip_member(data, flags=8, fields=b"mixed.pcap\0")


def damaged(damage: Callable[[bytes], bytes], count: int = 3) -> Capture:
    """Describe a capture of a few valid packets whose bytes are then damaged."""
    return capture(mixed()[:count], finish=damage)


def bad_crc(data: bytes) -> bytes:
    """Compress to a gzip member with a wrong CRC-32."""
    member = gzip_member(data)
    return member[:-8] + bytes(byte ^ 0xFF for byte in member[-8:-4]) + member[-4:]


def whole_frame() -> bytes:
    """Build the record of one small frame."""
    return pcap_record(ethernet(packet4()))


# Link types in their numbers: the file header's last word. 0x2400_0001 adds "4 bytes of FCS" to Ethernet.
CAPTURES: dict[str, Callable[[], Capture]] = {
    "mixed.pcap": lambda: capture(mixed()),
    "mixed_be.pcap": lambda: capture(mixed(), big_endian=True),
    "mixed_ns.pcap": lambda: capture(mixed(), magic=NANO),
    "mixed_ns_be.pcap": lambda: capture(mixed(), magic=NANO, big_endian=True),
    "mixed_modified.pcap": lambda: capture(mixed(), magic=MODIFIED),
    "mixed.pcap.gz": lambda: capture(mixed(), finish=named_member),
    "mixed_members.pcap.gz": lambda: capture(mixed(), finish=gzip_members),
    "snap96.pcap": lambda: capture(cut(mixed(), 96), snaplen=96),
    "ethernet_vlan.pcap": lambda: capture(paced(ethernet_vlan())),
    "ethernet_pppoe.pcap": lambda: capture(paced(ethernet_pppoe())),
    "ethernet_mpls.pcap": lambda: capture(paced(ethernet_mpls())),
    "ethernet_llc.pcap": lambda: capture(paced(ethernet_llc())),
    "transports.pcap": lambda: capture(paced(transports())),
    "tunnels.pcap": lambda: capture(paced(tunnels())),
    "odd_headers.pcap": lambda: capture(paced(odd_headers())),
    "raw101.pcap": lambda: capture(paced(raw()), linktype=101),
    "raw12.pcap": lambda: capture(paced(raw()), linktype=12),
    "raw14.pcap": lambda: capture(paced(raw()), linktype=14),
    "ipv4_228.pcap": lambda: capture(paced(packet4(i) for i in range(3)), linktype=228),
    "ipv6_229.pcap": lambda: capture(paced(packet6(i) for i in range(3)), linktype=229),
    "null.pcap": lambda: capture(paced(null_frames("<")), linktype=0),
    "null_be.pcap": lambda: capture(paced(null_frames(">")), linktype=0, big_endian=True),
    "loop108.pcap": lambda: capture(paced(null_frames(">")), linktype=108),
    "sll.pcap": lambda: capture(paced(cooked(sll)), linktype=113),
    "sll2.pcap": lambda: capture(paced(cooked(sll2)), linktype=276),
    "ppp.pcap": lambda: capture(paced(ppp_frames(serial=False)), linktype=9),
    "ppp_serial50.pcap": lambda: capture(paced(ppp_frames(serial=True)), linktype=50),
    "chdlc104.pcap": lambda: capture(paced(chdlc_frames()), linktype=104),
    "ieee80211.pcap": lambda: capture(paced(beacons()), linktype=105),
    "unknown.pcap": lambda: capture(unknown(), linktype=147),
    "fcs.pcap": lambda: capture(simple(fcs=True), linktype=0x2400_0001),
    "snaplen0.pcap": lambda: capture(simple(), snaplen=0),
    "oversnap.pcap": lambda: capture(simple(), snaplen=60),
    "empty.pcap": lambda: capture([]),
    "odd_times.pcap": lambda: Capture([*odd_times()]),
    "odd_lengths.pcap": lambda: Capture([*odd_lengths()]),
    "max_caplen.pcap.gz": lambda: capture(
        [Packet(jumbogram()), Packet(ethernet(packet4()))], finish=gzip_member
    ),
    "bad/zero.pcap": lambda: capture([], finish=lambda data: b""),
    "bad/cut_header.pcap": lambda: damaged(lambda data: data[:23]),
    "bad/cut_record.pcap": lambda: damaged(lambda data: data + pcap_record(b"")[:9]),
    "bad/cut_data.pcap": lambda: damaged(lambda data: data + whole_frame()[:-1]),
    "bad/huge_caplen.pcap": lambda: damaged(lambda data: data + pcap_record(bytes(60), cap_len=0xFFFFFFFF)),
    "bad/caplen_262145.pcap.gz": lambda: damaged(
        lambda data: gzip_member(data + pcap_record(jumbogram() + b"\0"))
    ),
    "bad/bad_magic.pcap": lambda: capture(mixed()[:3], magic=0xA1B2C3D5),
    "bad/version1.pcap": lambda: capture(mixed()[:3], version=(1, 4)),
    "bad/cut.pcap.gz": lambda: damaged(lambda data: gzip_cut(data + whole_frame()[:40]), 20),
    "bad/cut_between.pcap.gz": lambda: damaged(gzip_cut, 20),
    "bad/bad_crc.pcap.gz": lambda: damaged(bad_crc, 20),
    "bad/garbage_behind.pcap.gz": lambda: damaged(
        lambda data: gzip_member(data) + b"this is no gzip member", 20
    ),
}


def sample(name: str) -> bytes:
    """Build the file of one of `CAPTURES`."""
    return CAPTURES[name]().file()


SAMPLES: dict[str, Callable[[], bytes]] = {name: partial(sample, name) for name in CAPTURES}
