"""Ready-made filters of live captures: IP packets only, no VLANs, one direction.

They are for packets as the kernel's filter sees them: the outermost VLAN tag was removed from received
packets, but is still in sent ones.
"""

from __future__ import annotations

from typing import Literal

from slimcap.errors import FilterError
from slimcap.filter import program as bpf
from slimcap.filter.assembler import Assembler
from slimcap.filter.program import Program
from slimcap.packet.enums import LinkType, PacketType

Direction = Literal["both", "in", "out"]

_TYPE, _DATA = 12, 14  # offsets in an untagged Ethernet frame
_VLAN_LEN = 4
TPIDS = (0x8100, 0x88A8, 0x9100)
_IN_LINE_TAGS = 2
_ETHERTYPES_IP = (0x0800, 0x86DD)
_PPPOE_SESSION = 0x8864
_PPPOE_CODE, _PPP_PROTOCOL, _PPP_DATA = 15, 20, 22  # offsets in an untagged PPPoE frame
_PPP_IP = (0x0021, 0x0057)


def ip_only(link_type: int, *, snaplen: int = bpf.MAX_SNAPLEN) -> Program | None:
    """Make the filter that accepts IPv4 and IPv6 packets only.

    On Ethernet it accepts IP with up to two VLAN tags in the frame (besides one that the kernel removed), and
    over PPPoE. At least one byte of the IP header must be present. It accepts these frames:

        |<-------- 12 -------->|<--- 4 each --->|
        +----------+-----------+----------------+------+----------------------
        | destin.  | source    | 8100 or 88a8   | 0800 | IPv4 header
        |          |           | or 9100, TCI   | 86dd | IPv6 header
        |          |           | none to two    | 8864 | 11 00 session length | 0021 IPv4 header
        |          |           |                |      |                      | 0057 IPv6 header
        +----------+-----------+----------------+------+----------------------

    It drops IP packets over MPLS, LLC/SNAP, and PPP with protocol numbers of one byte, against which RFC 2516
    section 7 advises.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number of the packets: 1 (Ethernet) or 101 (raw IP).
    snaplen : int, default 262144
        Maximum number of bytes to capture of a packet, 1 to 262144.

    Returns
    -------
    Program or None
        None if there is no such filter for this link type.

    Raises
    ------
    FilterError
        `snaplen` is out of range.

    Examples
    --------
    >>> program = slimcap.filter.ip_only(101)
    >>> slimcap.filter.Machine(program).run(b"E" + bytes(19))
    262144
    """
    bpf.check_snaplen(snaplen)
    link_type = LinkType.of(link_type)
    if link_type == LinkType.ETHERNET:
        return _ip_on_ethernet(snaplen)
    if link_type == LinkType.RAW:
        return _ip_on_raw(snaplen)
    return None


def without_vlans(program: Program, link_type: int) -> Program:
    """Make a program that drops packets with a VLAN tag, and runs another program for the rest.

    A tag counts whether it is in the frame or was removed by the kernel, even if its VID is 0.

    Parameters
    ----------
    program : Program
        The program for packets without a tag. It is not modified.
    link_type : int
        LINKTYPE_ number of the packets. Tags in the frame are looked for on Ethernet (1) only.

    Returns
    -------
    Program
        A few instructions, followed by those of `program`.

    Raises
    ------
    FilterError
        `program` is not valid, or the result has more than 4096 instructions.

    Examples
    --------
    >>> program = slimcap.filter.without_vlans(slimcap.filter.accept(64), 1)
    >>> slimcap.filter.Machine(program).run(bytes(60), vlan_tci=7)
    0
    """
    in_line = _no_tag_in_line() if LinkType.of(link_type) == LinkType.ETHERNET else ()
    return bpf.check((*_no_stripped_tag(), *in_line, *bpf.instructions_of(program)))


def with_direction(program: Program, direction: Direction) -> Program:
    """Make a program that drops packets of the other direction, and runs another program for the rest.

    Parameters
    ----------
    program : Program
        The program for packets of the direction. It is not modified.
    direction : {"both", "in", "out"}
        "out" is what this host sent (PACKET_OUTGOING), "in" all other packets.

    Returns
    -------
    Program
        A few instructions, followed by those of `program`; `program` itself for "both".

    Raises
    ------
    FilterError
        `direction` or `program` is not valid, or the result has more than 4096 instructions.

    Examples
    --------
    >>> program = slimcap.filter.with_direction(slimcap.filter.accept(64), "in")
    >>> slimcap.filter.Machine(program).run(bytes(60), pkt_type=slimcap.PacketType.OUTGOING)
    0
    """
    if direction not in ("both", "in", "out"):
        raise FilterError(f'direction must be "both", "in" or "out", not {direction!r}')
    bpf.instructions_of(program)
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
    asm = Assembler()
    # Loads at absolute offsets, hence one section for each number of tags: the kernel turns every load
    # relative to X into a function call (convert_bpf_ld_abs(), net/core/filter.c).
    for tag in range(_IN_LINE_TAGS + 1):
        shift = tag * _VLAN_LEN
        asm.label(f"tag {tag}")
        asm.add(bpf.LD | bpf.H | bpf.ABS, _TYPE + shift)
        asm.if_any(_ETHERTYPES_IP, f"IP {tag}")
        asm.if_any((_PPPOE_SESSION,), f"PPPoE {tag}")
        if tag < _IN_LINE_TAGS:
            asm.if_any(TPIDS, f"tag {tag + 1}")
        asm.drop()

        asm.label(f"PPPoE {tag}")
        asm.add(bpf.LD | bpf.B | bpf.ABS, _PPPOE_CODE + shift)
        asm.add(bpf.JMP | bpf.JEQ | bpf.K, 0, no=f"drop {tag}")
        asm.add(bpf.LD | bpf.H | bpf.ABS, _PPP_PROTOCOL + shift)
        asm.if_any(_PPP_IP, f"IP in PPPoE {tag}")
        asm.label(f"drop {tag}")
        asm.drop()

        # A load past the end drops the packet: these two loads require the first byte of the IP header.
        asm.label(f"IP in PPPoE {tag}")
        asm.add(bpf.LD | bpf.B | bpf.ABS, _PPP_DATA + shift)
        asm.accept(snaplen)
        asm.label(f"IP {tag}")
        asm.add(bpf.LD | bpf.B | bpf.ABS, _DATA + shift)
        asm.accept(snaplen)
    return bpf.check(asm.program())


def _ip_on_raw(snaplen: int) -> Program:
    asm = Assembler()
    asm.add(bpf.LD | bpf.B | bpf.ABS, 0)
    asm.add(bpf.ALU | bpf.RSH | bpf.K, 4)
    asm.if_any((4, 6), "IP")
    asm.drop()
    asm.label("IP")
    asm.accept(snaplen)
    return bpf.check(asm.program())


def _no_stripped_tag() -> Program:
    """Return instructions that drop a packet if the kernel removed a tag from it, and continue otherwise."""
    return (
        (bpf.LD | bpf.W | bpf.ABS, 0, 0, bpf.VLAN_TAG_PRESENT),
        (bpf.JMP | bpf.JEQ | bpf.K, 1, 0, 0),
        *bpf.DROP,
    )


def _no_tag_in_line() -> Program:
    """Return instructions that drop a packet if its EtherType is a TPID, and continue otherwise."""
    first, second, third = TPIDS
    return (
        (bpf.LD | bpf.H | bpf.ABS, 0, 0, _TYPE),
        (bpf.JMP | bpf.JEQ | bpf.K, 2, 0, first),
        (bpf.JMP | bpf.JEQ | bpf.K, 1, 0, second),
        (bpf.JMP | bpf.JEQ | bpf.K, 0, 1, third),
        *bpf.DROP,
    )
