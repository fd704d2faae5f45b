"""The sample captures of the pcapng format."""

from __future__ import annotations

from collections.abc import Callable

from support.builders.captures import simple
from support.builders.conversations import packet4, packet6
from support.builders.layers import VLAN
from support.builders.links import ethernet, sll
from support.builders.mixed import mixed
from support.builders.pcap import START
from support.builders.pcapng import Ng, pcapng_file


def ng_interfaces() -> bytes:
    """Build interfaces of several link types and resolutions, all kinds of packets, options and blocks."""
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
    """Build simple packet blocks, which have no timestamp, truncated to the snaplen of the interface."""
    ng = Ng()
    out = ng.section() + ng.interface(1, 60)
    for packet in simple():
        out += ng.simple(packet.data[:60], len(packet.data))
    return out


def ng_sections() -> bytes:
    """Build sections of both byte orders and of unknown length, one without interfaces, one empty."""
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
    """Build interfaces of every resolution that fits 64 bits, with and without an offset."""
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
