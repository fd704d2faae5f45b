"""The filters that a live capture starts with: IP packets only, no VLANs.

They are for the kernel's view of a packet, which has taken the outermost VLAN tag out of what comes in,
and left it in what goes out.
"""

from __future__ import annotations

from typing import Final, Literal

from slimcap.errors import FilterError
from slimcap.filter import program as bpf
from slimcap.filter.program import Program
from slimcap.packet.enums import PacketType

Direction = Literal["both", "in", "out"]

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101

_TYPE, _DATA = 12, 14  # offsets in an Ethernet frame, without tags
_VLAN_LEN = 4
_TPIDS = (0x8100, 0x88A8, 0x9100)
_IN_LINE_TAGS = 2
_ETHERTYPES_IP = (0x0800, 0x86DD)
_PPPOE_SESSION = 0x8864
_PPPOE_CODE, _PPP_PROTOCOL, _PPP_DATA = 15, 20, 22  # offsets in a PPPoE frame, without tags
_PPP_IP = (0x0021, 0x0057)


class _Assembler:
    """Builds a program whose jumps name labels. No name is the next instruction."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, str, str]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def add(self, code: int, k: int = 0, yes: str = "", no: str = "") -> None:
        self._lines.append((code, k, yes, no))

    def if_any(self, values: tuple[int, ...], yes: str) -> None:
        """Jump if A is one of the values."""
        for value in values:
            self.add(bpf.JMP | bpf.JEQ | bpf.K, value, yes)

    def accept(self, snaplen: int) -> None:
        self.add(bpf.RET | bpf.K, snaplen)

    def drop(self) -> None:
        self.add(bpf.RET | bpf.K, 0)

    def program(self) -> Program:
        def distance(at: int, name: str) -> int:
            return self._labels[name] - at - 1 if name else 0

        return bpf.check(
            (code, distance(at, yes), distance(at, no), k)
            for at, (code, k, yes, no) in enumerate(self._lines)
        )


def ip_only(link_type: int, *, snaplen: int = bpf.MAX_SNAPLEN) -> Program | None:
    """Make the filter that takes IPv4 and IPv6 packets only.

    On Ethernet, with up to two VLAN tags in line (and one that the kernel took out), and over PPPoE. At least
    one byte of the IP header has to be there. What it has to look at:

        |<-------- 12 -------->|<--- 4 each --->|
        +----------+-----------+----------------+------+----------------------
        | destin.  | source    | 8100 or 88a8   | 0800 | IPv4 header
        |          |           | or 9100, TCI   | 86dd | IPv6 header
        |          |           | none to two    | 8864 | 11 00 session length | 0021 IPv4 header
        |          |           |                |      |                      | 0057 IPv6 header
        +----------+-----------+----------------+------+----------------------

    MPLS, LLC/SNAP, and PPP protocol numbers of one byte, against which RFC 2516 section 7 advises, are not
    looked into: such packets are dropped.

    Parameters
    ----------
    link_type : int
        The LINKTYPE_ number.
    snaplen : int
        Most bytes captured of a packet.

    Returns
    -------
    Program or None
        None if there is no such filter for this link type.
    """
    bpf.check_snaplen(snaplen)
    if link_type == LINKTYPE_ETHERNET:
        return _ip_on_ethernet(snaplen)
    if link_type == LINKTYPE_RAW:
        return _ip_alone(snaplen)
    return None


def without_vlans(program: Program, link_type: int) -> Program:
    """Make a program that drops what has a VLAN tag, be its VID 0, and asks another about the rest.

    The tag may be in line, or the kernel took it out.

    Parameters
    ----------
    program : Program
        The other, unchanged.
    link_type : int
        The LINKTYPE_ number: only on Ethernet are there tags in line.

    Returns
    -------
    Program
        A few instructions in front of *program*.
    """
    in_line = _no_tag_in_line() if link_type == LINKTYPE_ETHERNET else ()
    return bpf.check(_no_stripped_tag() + in_line + program)


def with_direction(program: Program, direction: Direction) -> Program:
    """Make a program that takes packets of one direction only, and asks another about them.

    Parameters
    ----------
    program : Program
        The other, unchanged.
    direction : {"both", "in", "out"}
        What this host sent (PACKET_OUTGOING) is out, all else is in.

    Returns
    -------
    Program
        A few instructions in front of *program*; that itself for both directions.

    Raises
    ------
    FilterError
        It is no direction, or the program becomes too long.
    """
    if direction not in ("both", "in", "out"):
        raise FilterError(f'a direction is "both", "in" or "out", not {direction!r}')
    if direction == "both":
        return program
    drop_if_out, drop_if_in = (0, 1) if direction == "in" else (1, 0)
    return bpf.check(
        (
            (bpf.LD | bpf.B | bpf.ABS, 0, 0, bpf.PKT_TYPE),
            (bpf.JMP | bpf.JEQ | bpf.K, drop_if_out, drop_if_in, PacketType.OUTGOING),
            *bpf.DROP,
            *program,
        )
    )


def _ip_on_ethernet(snaplen: int) -> Program:
    asm = _Assembler()
    # Absolute loads, so one section for each number of tags: the kernel makes a call of every load behind X
    # (convert_bpf_ld_abs(), net/core/filter.c).
    for tag in range(_IN_LINE_TAGS + 1):
        shift = tag * _VLAN_LEN
        asm.label(f"tag {tag}")
        asm.add(bpf.LD | bpf.H | bpf.ABS, _TYPE + shift)
        asm.if_any(_ETHERTYPES_IP, f"IP {tag}")
        asm.if_any((_PPPOE_SESSION,), f"PPPoE {tag}")
        if tag < _IN_LINE_TAGS:
            asm.if_any(_TPIDS, f"tag {tag + 1}")
        asm.drop()

        asm.label(f"PPPoE {tag}")
        asm.add(bpf.LD | bpf.B | bpf.ABS, _PPPOE_CODE + shift)
        asm.add(bpf.JMP | bpf.JEQ | bpf.K, 0, no=f"drop {tag}")
        asm.add(bpf.LD | bpf.H | bpf.ABS, _PPP_PROTOCOL + shift)
        asm.if_any(_PPP_IP, f"IP in PPPoE {tag}")
        asm.label(f"drop {tag}")
        asm.drop()

        # A load past the end drops the packet: these two look whether there is a header at all.
        asm.label(f"IP in PPPoE {tag}")
        asm.add(bpf.LD | bpf.B | bpf.ABS, _PPP_DATA + shift)
        asm.accept(snaplen)
        asm.label(f"IP {tag}")
        asm.add(bpf.LD | bpf.B | bpf.ABS, _DATA + shift)
        asm.accept(snaplen)
    return asm.program()


def _ip_alone(snaplen: int) -> Program:
    asm = _Assembler()
    asm.add(bpf.LD | bpf.B | bpf.ABS, 0)
    asm.add(bpf.ALU | bpf.RSH | bpf.K, 4)
    asm.if_any((4, 6), "IP")
    asm.drop()
    asm.label("IP")
    asm.accept(snaplen)
    return asm.program()


def _no_stripped_tag() -> Program:
    """What goes on at the next instruction if the kernel took out no tag."""
    return (
        (bpf.LD | bpf.W | bpf.ABS, 0, 0, bpf.VLAN_TAG_PRESENT),
        (bpf.JMP | bpf.JEQ | bpf.K, 1, 0, 0),
        *bpf.DROP,
    )


def _no_tag_in_line() -> Program:
    """What goes on at the next instruction if the EtherType is no TPID."""
    first, second, third = _TPIDS
    return (
        (bpf.LD | bpf.H | bpf.ABS, 0, 0, _TYPE),
        (bpf.JMP | bpf.JEQ | bpf.K, 2, 0, first),
        (bpf.JMP | bpf.JEQ | bpf.K, 1, 0, second),
        (bpf.JMP | bpf.JEQ | bpf.K, 0, 1, third),
        *bpf.DROP,
    )
