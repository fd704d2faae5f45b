"""Options of live sources."""

import os
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from slimcap.errors import integer, number
from slimcap.filter.presets import Direction
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.option_set import Option, between

if TYPE_CHECKING:
    from slimcap.filter import Filter, Strategy

_MAX_BLOCKS = 1 << 28  # of a page each, in a ring of 1 TiB
_MAX_MESSAGES = 1024  # UIO_MAXIOV, net/socket.c
_MAX_BUFFER = (1 << 30) - 1  # the kernel doubles it, and that must fit in an int


def _block_size(name: str, value: int) -> int:
    """Raise ValueError for sizes of which the kernel would only report EINVAL."""
    page, size = os.sysconf("SC_PAGESIZE"), integer(name, value)
    if size <= 0 or size % page or size >= 1 << 31:
        raise ValueError(f"{name} must be a multiple of the page size, {page}, below 2 GiB, not {size}")
    return size


def _block_timeout(name: str, value: float) -> float:
    if not 0 < number(name, value) <= 3600:
        raise ValueError(f"{name} must be more than 0 and at most 3600 seconds, not {value}")
    return value


class LiveOptions(TypedDict, total=False):
    """Options of all live sources. Link type and interface are needed to check snaplen and filter."""

    snaplen: Annotated[
        "int | Strategy",
        Option(
            MAX_SNAPLEN,
            "Maximum number of bytes to capture of a packet, or a strategy of `slimcap.filter`, which "
            "returns it for a link type.",
            kind="int or strategy",
        ),
    ]
    promiscuous: Annotated[bool, Option(False, "Also receive packets that are addressed to other hosts.")]
    filter: Annotated[
        "Filter | None",
        Option(
            None,
            "A tcpdump expression or a classic BPF program: only packets that match are captured. Default: "
            "see `auto_filter`.",
            kind="str or sequence of (code, jt, jf, k)",
        ),
    ]
    auto_filter: Annotated[
        bool, Option(True, "If there is no `filter`, capture only IP packets, not ARP; False: all.")
    ]
    ignore_vlans: Annotated[bool, Option(False, "Do not capture packets with a VLAN tag.")]
    reinsert_vlan: Annotated[
        bool,
        Option(
            False,
            "Put back the VLAN tag that the kernel removed, so that bytes and lengths are those on the wire. "
            "On Ethernet only.",
        ),
    ]
    direction: Annotated[
        Direction, Option("both", "Capture all packets, only received ones, or only sent ones.")
    ]
    timeout: Annotated[
        float | None, Option(None, "Maximum time in seconds that a read waits. Default: no maximum.")
    ]
    link_down: Annotated[
        Literal["wait", "raise"],
        Option("wait", "What a read does while the interface is down: wait for it, or raise LinkDown."),
    ]


class RingOptions(LiveOptions, total=False):
    """Options of `RingSource`."""

    block_size: Annotated[
        int,
        Option(1 << 20, "Size of a block in bytes: a multiple of the page size, below 2 GiB.", _block_size),
    ]
    num_blocks: Annotated[
        int,
        Option(
            16,
            "Number of blocks. Every `block_timeout` uses up a block, however few packets it holds: more "
            "blocks allow the reader to be late for longer, larger blocks do not. With a single block, "
            "packets are copied. The ring is at most 1 TiB.",
            between(1, _MAX_BLOCKS),
        ),
    ]
    block_timeout: Annotated[
        float,
        Option(
            0.01,
            "Time in seconds after which the kernel hands over a block that is not full: the maximum delay "
            "of a packet. More than 0, up to 3600; rounded to milliseconds.",
            _block_timeout,
        ),
    ]
    smaller_ring: Annotated[
        bool,
        Option(
            False,
            "If there is not enough memory for the ring, halve `num_blocks` until there is, instead of "
            "raising OSError (ENOMEM).",
        ),
    ]


class SocketOptions(LiveOptions, total=False):
    """Options of `SocketSource`."""

    buffer_size: Annotated[
        int,
        Option(
            1 << 22,
            "Size in bytes of the socket's receive buffer (SO_RCVBUF), from 1 to 2^30 - 1. Each packet in it "
            "needs several hundred bytes more than its length. The kernel doubles the size; without "
            "CAP_NET_ADMIN, the sysctl net.core.rmem_max is the maximum.",
            between(1, _MAX_BUFFER),
        ),
    ]
    batch_size: Annotated[
        int,
        Option(64, "Maximum number of packets per system call, from 1 to 1024.", between(1, _MAX_MESSAGES)),
    ]
