"""How many bytes of a packet are worth capturing: a number, or a strategy that knows the link type.

The minimal strategies count the longest link-layer header that `ip_only` looks into: on Ethernet two tags
in line and PPPoE, 30 bytes. So what they promise holds of every packet that it takes. Where tags
and PPPoE are known not to occur, `fixed` can do with 16 bytes less.

    header          IPv4   20    addresses and protocol; options may be cut
                    IPv6   40
    transport       IPv4   60 + 14    ports and TCP flags, behind an IPv4 header with the most options
                    IPv6   40 + 14    ports and TCP flags, if no extension header is in between: their
                                      length has no bound
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from slimcap.errors import FilterError
from slimcap.filter.presets import LINKTYPE_ETHERNET, LINKTYPE_RAW
from slimcap.filter.program import check_snaplen

Strategy: TypeAlias = Callable[[int], int]

_LINK_HEADERS: Final = {LINKTYPE_ETHERNET: 14 + 2 * 4 + 8, LINKTYPE_RAW: 0}
_IPV4, _IPV4_LONGEST, _IPV6 = 20, 60, 40
_UP_TO_TCP_FLAGS = 14


def _link_header(link_type: int) -> int:
    try:
        return _LINK_HEADERS[link_type]
    except KeyError:
        raise FilterError(
            f"no minimal snaplen is known for link type {link_type}: give a number of bytes"
        ) from None


def fixed(snaplen: int) -> Strategy:
    """Make the strategy that gives the same number for every link type.

    Parameters
    ----------
    snaplen : int
        That number.

    Returns
    -------
    Strategy
        From link type to bytes.
    """
    check_snaplen(snaplen)
    return lambda link_type: snaplen


def minimal_ipv4_header(link_type: int) -> int:
    """Bytes for the IPv4 header, without options.

    Parameters
    ----------
    link_type : int
        The LINKTYPE_ number: Ethernet or raw IP.

    Returns
    -------
    int
        Bytes, link-layer header included.
    """
    return _link_header(link_type) + _IPV4


def minimal_ipv6_header(link_type: int) -> int:
    """Bytes for the IPv6 header, without extension headers.

    Parameters
    ----------
    link_type : int
        The LINKTYPE_ number: Ethernet or raw IP.

    Returns
    -------
    int
        Bytes, link-layer header included: enough for IPv4's, too.
    """
    return _link_header(link_type) + _IPV6


def minimal_ipv4_transport(link_type: int) -> int:
    """Bytes for ports and TCP flags of an IPv4 packet, whatever options its header has.

    Parameters
    ----------
    link_type : int
        The LINKTYPE_ number: Ethernet or raw IP.

    Returns
    -------
    int
        Bytes, link-layer header included: enough for `minimal_ipv6_transport`, too.
    """
    return _link_header(link_type) + _IPV4_LONGEST + _UP_TO_TCP_FLAGS


def minimal_ipv6_transport(link_type: int) -> int:
    """Bytes for ports and TCP flags of an IPv6 packet without extension headers.

    Parameters
    ----------
    link_type : int
        The LINKTYPE_ number: Ethernet or raw IP.

    Returns
    -------
    int
        Bytes, link-layer header included.
    """
    return _link_header(link_type) + _IPV6 + _UP_TO_TCP_FLAGS


def resolve(snaplen: int | Strategy, link_type: int) -> int:
    """Make a number of bytes of what a user gave as snaplen.

    Parameters
    ----------
    snaplen : int or Strategy
        A number, or what gives one for a link type.
    link_type : int
        The LINKTYPE_ number.

    Returns
    -------
    int
        1 to 262144.

    Raises
    ------
    FilterError
        The number is out of range, or the strategy knows none.
    TypeError
        It is no integer.
    """
    return check_snaplen(snaplen(link_type) if callable(snaplen) else snaplen)
