"""Snaplens: how many bytes of a packet to capture, as a number or a strategy for each link type.

The minimal strategies allow for the longest link-layer header that `ip_only` accepts: on Ethernet with two
tags in the frame and PPPoE, 30 bytes. So they suffice for every packet that it accepts. If tags and PPPoE
cannot occur, `fixed` with 16 bytes less suffices.

    header          IPv4   20    addresses and protocol; options may be truncated
                    IPv6   40
    transport       IPv4   60 + 14    ports and TCP flags, after an IPv4 header of maximum length
                    IPv6   40 + 14    ports and TCP flags, if there are no extension headers, whose
                                      length has no bound
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from slimcap.errors import FilterError
from slimcap.filter.program import check_snaplen
from slimcap.packet.enums import LinkType

Strategy: TypeAlias = Callable[[int], int]

_LINK_HEADERS: Final[dict[int, int]] = {LinkType.ETHERNET: 14 + 2 * 4 + 8, LinkType.RAW: 0}
_IPV4, _IPV4_LONGEST, _IPV6 = 20, 60, 40
_UP_TO_TCP_FLAGS = 14


def _link_header(link_type: int) -> int:
    try:
        return _LINK_HEADERS[LinkType.of(link_type)]
    except KeyError:
        raise FilterError(
            f"no minimal snaplen is known for link type {link_type}: give a number of bytes"
        ) from None


def fixed(snaplen: int) -> Strategy:
    """Make a strategy that returns the same number for every link type.

    Parameters
    ----------
    snaplen : int
        Maximum number of bytes to capture of a packet, 1 to 262144.

    Returns
    -------
    Strategy
        A function from link type to number of bytes.

    Raises
    ------
    FilterError
        `snaplen` is out of range.

    Examples
    --------
    >>> slimcap.filter.fixed(96)(1)
    96
    """
    check_snaplen(snaplen)
    return lambda link_type: snaplen


def minimal_ipv4_header(link_type: int) -> int:
    """Return the snaplen for the IPv4 header, without options.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number: 1 (Ethernet) or 101 (raw IP).

    Returns
    -------
    int
        Number of bytes, link-layer header included.

    Raises
    ------
    FilterError
        No minimal snaplen is known for the link type.

    Examples
    --------
    >>> slimcap.filter.minimal_ipv4_header(1)
    50
    """
    return _link_header(link_type) + _IPV4


def minimal_ipv6_header(link_type: int) -> int:
    """Return the snaplen for the IPv6 header, without extension headers.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number: 1 (Ethernet) or 101 (raw IP).

    Returns
    -------
    int
        Number of bytes, link-layer header included. It suffices for the IPv4 header, too.

    Raises
    ------
    FilterError
        No minimal snaplen is known for the link type.

    Examples
    --------
    >>> slimcap.filter.minimal_ipv6_header(1)
    70
    """
    return _link_header(link_type) + _IPV6


def minimal_ipv4_transport(link_type: int) -> int:
    """Return the snaplen for ports and TCP flags of an IPv4 packet, with any IPv4 options.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number: 1 (Ethernet) or 101 (raw IP).

    Returns
    -------
    int
        Number of bytes, link-layer header included. It is not less than `minimal_ipv6_transport`.

    Raises
    ------
    FilterError
        No minimal snaplen is known for the link type.

    Examples
    --------
    >>> slimcap.filter.minimal_ipv4_transport(1)
    104
    """
    return _link_header(link_type) + _IPV4_LONGEST + _UP_TO_TCP_FLAGS


def minimal_ipv6_transport(link_type: int) -> int:
    """Return the snaplen for ports and TCP flags of an IPv6 packet without extension headers.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number: 1 (Ethernet) or 101 (raw IP).

    Returns
    -------
    int
        Number of bytes, link-layer header included.

    Raises
    ------
    FilterError
        No minimal snaplen is known for the link type.

    Examples
    --------
    >>> slimcap.filter.minimal_ipv6_transport(1)
    84
    """
    return _link_header(link_type) + _IPV6 + _UP_TO_TCP_FLAGS


def resolve(snaplen: int | Strategy, link_type: int) -> int:
    """Resolve a snaplen, given as a number or a strategy, to a number of bytes.

    Parameters
    ----------
    snaplen : int or Strategy
        A number of bytes, or a function that returns one for a link type.
    link_type : int
        LINKTYPE_ number of the packets.

    Returns
    -------
    int
        Number of bytes, 1 to 262144.

    Raises
    ------
    FilterError
        The number is out of range, or the strategy has none for the link type.
    TypeError
        The number is not an integer.

    Examples
    --------
    >>> slimcap.filter.resolve(slimcap.filter.minimal_ipv4_header, 101)
    20
    """
    return check_snaplen(snaplen(link_type) if callable(snaplen) else snaplen)
