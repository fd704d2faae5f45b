"""Options of live sources."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypedDict

from slimcap.errors import integer, number, wrong_type
from slimcap.filter.presets import Direction
from slimcap.filter.program import MAX_SNAPLEN
from slimcap.option_set import Option, between, parse_size
from slimcap.source.live.host.net_namespace import NetNamespace, check_net_namespace

if TYPE_CHECKING:
    from slimcap.filter import Filter, Program, Strategy

BUFFER: Final = 64 << 20
"""Default size of a ring in bytes: 1 s of 100,000 packets a second, of 350 bytes on average."""
BLOCK_SIZE: Final = 1 << 19
"""Default size of a block in bytes: the smallest power of two that holds a packet of MAX_SNAPLEN bytes, with
130 bytes of headers. The kernel allocates powers of two, and cuts packets that do not fit (tpacket_rcv)."""
LATENCY: Final = 0.02
"""Default of `latency` in seconds: 128 blocks last for 2.5 s if each is used up by the block timer."""

_MAX_RING = 1 << 40
_MAX_BLOCKS = 1 << 28  # of a page each, in a ring of 1 TiB
_MAX_WORKERS = 256  # PACKET_FANOUT_MAX before Linux 5.13
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


def _buffer(name: str, value: int | str) -> int:
    """Return the bytes of a ring's buffer."""
    if isinstance(value, str):
        size = parse_size(value)
        if not size:
            raise ValueError(f'{name} must be bytes, or a size such as "32MiB" or "100MB", not {value!r}')
    else:
        try:
            size = integer(name, value)
        except TypeError:
            raise wrong_type(name, "an integer or a str", value) from None
    if not 2 * BLOCK_SIZE <= size <= _MAX_RING:
        raise ValueError(
            f"{name} must be 1 MiB to 1 TiB, not {value!r}: for a smaller ring use block_size and num_blocks"
        )
    return size


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
            "A tcpdump expression, a classic BPF program, or a set of addresses from `slimcap.filter.hosts`: "
            "only packets that match are captured. Default: see `auto_filter`.",
            kind="str, HostSet or sequence of (code, jt, jf, k)",
        ),
    ]
    extra_filter: Annotated[
        "Filter | None",
        Option(
            None,
            "A second filter, which packets have to match in addition to `filter` or the automatic one. It "
            "only accepts or drops; how many bytes are captured depends on the other one. Default: none.",
            kind="str, HostSet or sequence of (code, jt, jf, k)",
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
    netns: Annotated[
        NetNamespace | None,
        Option(
            None,
            "Network namespace of the interface: a name, as listed by `ip netns`, a path such as "
            '"/proc/1234/ns/net", or the identifier of a process. Sockets are opened there, and host names '
            "in a `filter` resolved. Requires CAP_SYS_ADMIN. Default: that of the Link, or of "
            "the calling thread.",
            check_net_namespace,
            "str, path-like or int",
        ),
    ]


class RingOptions(LiveOptions, total=False):
    """Options of `RingSource`."""

    buffer: Annotated[
        "int | str | None",
        Option(
            None,
            'Memory of the ring: bytes, or a text with a unit such as "32MiB" or "100MB"; at least 1 MiB, '
            "rounded down to a multiple of 512 KiB. The reader may pause for longer with more. Default: "
            "64 MiB. Not together with `block_size` or `num_blocks`.",
            _buffer,
            kind="int or str",
        ),
    ]
    latency: Annotated[
        float | None,
        Option(
            None,
            "Maximum delay of a packet in seconds; a single packet is delayed by half as much on average. "
            "Each period of `latency` uses up a block, however few packets are in it: with less, the reader "
            "may pause for a shorter time. More than 0, up to 3600; rounded to milliseconds. Default: 0.02. "
            "Not together with `block_timeout`.",
            _block_timeout,
        ),
    ]
    block_size: Annotated[
        int | None,
        Option(
            None,
            "Size of a block in bytes: a multiple of the page size, below 2 GiB; the kernel allocates the "
            "next power of two. Packets are truncated to `block_size` - 130 bytes. Default: 512 KiB, which "
            "holds a packet of the maximum snaplen.",
            _block_size,
        ),
    ]
    num_blocks: Annotated[
        int | None,
        Option(
            None,
            "Number of blocks. More blocks allow the reader to pause for longer at low rates; larger blocks "
            "do not. With a single block, packets are copied. The ring is at most 1 TiB. Default: as many as "
            "64 MiB hold, at least 2.",
            between(1, _MAX_BLOCKS),
        ),
    ]
    block_timeout: Annotated[
        float | None,
        Option(
            None,
            "Time in seconds after which the kernel hands over a block that is not full. Default: `latency`.",
            _block_timeout,
        ),
    ]
    ring_exhausted: Annotated[
        Literal["wait", "raise"],
        Option(
            "wait",
            "What a read does while views hold the next block: wait for it as for packets, and raise "
            "RingExhausted after 2 seconds without any block coming back; or raise RingExhausted at once.",
        ),
    ]
    smaller_ring: Annotated[
        bool,
        Option(
            False,
            "If there is not enough memory for the ring, halve the number of blocks until there is, instead "
            "of raising OSError (ENOMEM).",
        ),
    ]


class RingShape(NamedTuple):
    """Blocks of a ring.

    Attributes
    ----------
    block_size : int
        Size of a block in bytes.
    num_blocks : int
        Number of blocks.
    timeout_ms : int
        Time in milliseconds after which the kernel hands over a block that is not full.
    """

    block_size: int
    num_blocks: int
    timeout_ms: int


def ring_shape(options: Mapping[str, Any]) -> RingShape:
    """Return the blocks for the options of a ring; raise ValueError if two of them exclude each other."""
    for one, others in (("buffer", ("block_size", "num_blocks")), ("latency", ("block_timeout",))):
        for other in others:
            if options[one] is not None and options[other] is not None:
                raise ValueError(f"{one} and {other} were both given: {one} sets {other}, so give only one")
    block_size = options["block_size"] or BLOCK_SIZE
    num_blocks = options["num_blocks"] or max(2, (options["buffer"] or BUFFER) // block_size)
    if num_blocks * block_size > _MAX_RING:
        raise ValueError(
            f"num_blocks must be at most {_MAX_RING // block_size} blocks of {block_size} bytes, 1 TiB, "
            f"not {num_blocks}"
        )
    seconds = options["latency"] or options["block_timeout"] or LATENCY
    return RingShape(block_size, num_blocks, max(1, round(seconds * 1000)))


class SharingOptions(RingOptions, total=False):
    """Options of rings that share the packets of an interface."""

    fanout: Annotated[
        Literal["hash", "cpu", "qm", "rollover", "bpf"],
        Option(
            "hash",
            'How the worker of a packet is chosen. "hash": by addresses, ports and protocol, so that both '
            'directions of a flow have the same worker. "cpu": by the CPU that handles it. "qm": by the '
            "receive queue of the device (queue mapping). "
            '"rollover": the first worker, and the next one while its ring is full. "bpf": by '
            "`fanout_program`.",
        ),
    ]
    defrag: Annotated[
        bool,
        Option(
            False,
            "Reassemble fragmented IPv4 packets before the worker is chosen, so that they are those of their "
            "flow. They are captured as whole packets.",
        ),
    ]
    rollover: Annotated[
        bool,
        Option(False, "If the ring of the chosen worker is full, give the packet to the next worker."),
    ]
    fanout_program: Annotated[
        "Program | None",
        Option(
            None,
            'Classic BPF program for `fanout="bpf"`: it returns a number, and the worker is that number '
            "modulo `workers`. It finds the network header at SKF_NET_OFF (linux/filter.h). Default: none.",
            kind="sequence of (code, jt, jf, k)",
        ),
    ]


class FanoutOptions(SharingOptions, total=False):
    """Options of `FanoutSource`."""

    workers: Annotated[
        int | None,
        Option(
            None,
            "Number of workers that share the packets, 1 to 256. Default: `open_live` opens one ring; "
            "FanoutSource has as many workers as CPUs that the process may use.",
            between(1, _MAX_WORKERS),
        ),
    ]
    fanout_group: Annotated[
        int | None,
        Option(
            None,
            "For `open_live`, instead of `workers`: open one ring, which shares the packets with those of "
            "other processes. Each process gives the same number, 1 to 65535, and the same `fanout`, "
            "`defrag` and `rollover`. Flows may change their ring when a process joins or ends. Default: "
            "none.",
            between(1, 65535),
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
