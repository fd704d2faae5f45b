"""Make the BPF program of a live capture from the options of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from slimcap.errors import FilterError
from slimcap.filter.alternatives import match_both
from slimcap.filter.host_set import HostSet
from slimcap.filter.libpcap import compile_expression, shown
from slimcap.filter.presets import Direction, ip_only, with_direction, without_vlans
from slimcap.filter.program import (
    MAX_LENGTH,
    Instruction,
    Program,
    accept,
    check,
    check_filter_type,
    jumps_back,
    with_snaplen,
)
from slimcap.packet.enums import LinkType

Filter = str | Sequence[Instruction] | HostSet
"""A tcpdump expression, a classic BPF program, or a set of hosts."""


_TOO_MANY_RANGES: Final = (
    f"a program for so many ranges has more than {MAX_LENGTH} instructions, which the kernel does not "
    "accept: capture with a simpler filter, and use this one with Batch.filter"
)


def build_program(
    link_type: int,
    filter: Filter | None,
    *,
    extra_filter: Filter | None = None,
    snaplen: int,
    auto_filter: bool,
    ignore_vlans: bool,
    direction: Direction = "both",
    interface: str | None,
) -> Program:
    """Make the BPF program of a live capture.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number of the interface.
    filter : str, sequence of (code, jt, jf, k), HostSet or None
        The packets to capture, as a tcpdump expression, a classic BPF program, or from `hosts`.
        None: IP packets if `auto_filter`, else all.
    extra_filter : str, sequence of (code, jt, jf, k) or HostSet, optional
        A second filter, which packets have to match, too. It only accepts or drops: `filter` determines how
        many bytes to capture. Default: none.
    snaplen : int
        Maximum number of bytes to capture of a packet, 1 to 262144. The program returns at most this number.
    auto_filter : bool
        Without `filter`, accept only IP packets. Ignored if the link type is one for which `ip_only` has no
        program.
    ignore_vlans : bool
        Drop packets with a VLAN tag.
    direction : {"both", "in", "out"}, default "both"
        Accept only packets of this direction.
    interface : str or None
        Name of the interface that an expression is compiled for. None: compile it as for a file.

    Returns
    -------
    Program
        A program that passes the kernel's checks.

    Raises
    ------
    FilterError
        The filter cannot be compiled, the kernel would reject it, or `snaplen` or `direction` is not valid.

    Examples
    --------
    >>> slimcap.filter.build_program(
    ...     1, None, snaplen=64, auto_filter=False, ignore_vlans=False, interface=None)
    ((6, 0, 0, 64),)
    """
    link_type = LinkType.of(link_type)
    if filter is not None:
        program = _compiled("filter", filter, link_type, snaplen, interface)
    else:
        program = (ip_only(link_type, snaplen=snaplen) if auto_filter else None) or accept(snaplen)
    if extra_filter is not None:
        extra = _compiled("extra_filter", extra_filter, link_type, snaplen, interface)
        program = match_both(extra, program)
    if ignore_vlans:
        program = without_vlans(program, link_type)
    return check(with_direction(program, direction))


def without_sets(options: Mapping[str, Any]) -> tuple[list[HostSet], dict[str, Any]]:
    """Split the options of `build_program` into sets of hosts, and those for packets that are in all sets.

    Parameters
    ----------
    options : mapping
        Options with `filter`, `extra_filter` and `auto_filter`.

    Returns
    -------
    sets : list of HostSet
        The filters that are sets.
    rest : dict
        The options without them.
    """
    rest = dict(options)
    sets = [rest[name] for name in ("extra_filter", "filter") if isinstance(rest[name], HostSet)]
    if isinstance(rest["filter"], HostSet):
        rest |= {"filter": None, "auto_filter": False}
    if isinstance(rest["extra_filter"], HostSet):
        rest["extra_filter"] = None
    return sets, rest


def _compiled(name: str, filter: Filter, link_type: int, snaplen: int, interface: str | None) -> Program:
    """Return the program of one filter, which returns constants only."""
    if isinstance(filter, str):
        program = compile_expression(filter, link_type, snaplen=snaplen, live_interface=interface)
        return _checked_for_kernel(shown(filter), program)
    if isinstance(filter, HostSet):
        if len(filter) > MAX_LENGTH:  # a program would take long to make
            raise FilterError(f"filter {filter!r}: {_TOO_MANY_RANGES}")
        return _checked_for_kernel(repr(filter), filter.program(link_type, snaplen=snaplen))
    check_filter_type(filter, name)
    return with_snaplen(check(filter), snaplen)


def _checked_for_kernel(name: str, program: Program) -> Program:
    """Return a program; raise FilterError if it only runs in user space."""
    reason = ""
    if len(program) > MAX_LENGTH:
        reason = (
            f"the program has {len(program)} instructions, and the kernel accepts {MAX_LENGTH} "
            "(for many addresses use slimcap.filter.hosts)"
        )
    elif any(jumps_back(index, instruction) for index, instruction in enumerate(program)):
        reason = "the program has a loop (protochain), which the kernel does not accept"
    if reason:
        raise FilterError(
            f"filter {name}: {reason}: capture with a simpler filter, and use this one with Batch.filter"
        )
    return program
