"""Build a pcapng file that has every block and option of the draft (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct

from support.builders.pcap import START
from support.builders.pcapng import Ng

TICKS = START // 1000


def everything(*, big_endian: bool = False, sections: int = 2, second_link_type: int = 101) -> bytes:
    """Build a file with every block and option of the draft."""
    ng = Ng(big_endian=big_endian)
    return b"".join(_section(ng, number, second_link_type) for number in range(sections))


def _section(ng: Ng, number: int, second_link_type: int) -> bytes:
    program = struct.pack(ng.order + "HBBI", 0x6, 0, 0, 0x40000)
    return b"".join(
        [
            ng.section(
                [(2, b"a lab"), (1, b"the first"), (1, b"the second"), (3, b"an OS"), (4, b"a program")]
            ),
            ng.interface(
                1,
                96,
                "eth0",
                resolution=9,
                options=[
                    (3, b"described"),
                    (4, bytes([192, 0, 2, 1, 255, 255, 255, 0])),
                    (4, bytes([192, 0, 2, 2, 255, 255, 255, 0])),
                    (5, bytes(range(17))),
                    (6, b"\2\0\0\0\0\1"),
                    (7, bytes(8)),
                    ng.count(8, 10**9),
                    (10, ng.number(3600)),
                    (1, b"uplink"),
                    (11, b"\0tcp or udp"),
                    (12, b"Linux"),
                    (13, b"\4"),
                    (15, b"a card"),
                    ng.count(16, 10**9),
                    ng.count(17, 10**8),
                    (18, b"Europe/Berlin"),
                    ng.custom_option(2988, b"text"),
                ],
            ),
            ng.secrets(b"CLIENT_RANDOM %d" % number, [(1, b"of one session")]),
            ng.packet(
                b"a" * 60,
                START,
                options=[
                    (1, b"one"),
                    (1, b"two"),
                    ng.flags(0x80000081),
                    (3, b"\2\1\2\3\4"),
                    ng.count(4, 2),
                    ng.count(5, 77),
                    (6, ng.number(3)),
                    (7, b"\1" + ng.number(2, 8)),
                    (7, b"\0hardware"),
                    ng.custom_option(2989, b"bytes"),
                ],
            ),
            ng.names(),
            ng.packet(b"b" * 61, START + 1, orig_len=90, options=[ng.flags(1)]),
            ng.interface(second_link_type, 0, "tun0", offset=-(10**9), options=[(11, b"\1" + program)]),
            ng.statistics(0, [ng.time(2, START), ng.count(4, 9), ng.count(8, 5)], START + 7),
            ng.custom(),
            ng.packet(b"c" * 20, TICKS, 1, options=[ng.flags(0)]),
            ng.journal(),
            ng.packet(b"d" * 20, TICKS + 1, 1),
            ng.statistics(1, [ng.count(5, 1), ng.count(7, 2), (1, b"at the end")], TICKS),
        ]
    )
