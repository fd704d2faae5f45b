"""From a source's filter options to the program that is attached."""

from __future__ import annotations

from collections.abc import Sequence

from slimcap.filter.libpcap import compile_expression
from slimcap.filter.presets import Direction, ip_only, with_direction, without_vlans
from slimcap.filter.program import Instruction, Program, accept, check, with_snaplen

Filter = str | Sequence[Instruction]
"""A tcpdump expression, or a classic BPF program."""


def build_program(
    link_type: int,
    filter: Filter | None,
    *,
    snaplen: int,
    auto_filter: bool,
    ignore_vlans: bool,
    direction: Direction = "both",
    interface: str | None,
) -> Program:
    """Make the program for a live capture.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ of the interface.
    filter : str or sequence of (code, jt, jf, k), optional
        What the user wants to pass.
    snaplen : int
        Most bytes to capture of a packet: what an accepting program returns.
    auto_filter : bool
        Without `filter`, let only IP pass, where the link type is one in which IP can be told.
    ignore_vlans : bool
        Let no packet with a VLAN tag pass.
    direction : {"both", "in", "out"}
        Let packets of this direction pass.
    interface : str
        Name of the interface that an expression is compiled for; None: as for a file.

    Returns
    -------
    Program
        Checked as the kernel will check it.

    Raises
    ------
    FilterError
        The filter cannot be compiled, or the kernel would not take it.
    """
    program = accept(snaplen)
    if isinstance(filter, str):
        program = compile_expression(filter, link_type, snaplen=snaplen, live_interface=interface)
    elif filter is not None:
        program = with_snaplen(check(filter), snaplen)
    elif auto_filter:
        program = ip_only(link_type, snaplen=snaplen) or program
    if ignore_vlans:
        program = without_vlans(program, link_type)
    return with_direction(program, direction)
