"""Options of flow tables."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

from slimcap.errors import number, wrong_type
from slimcap.option_set import Option, between

KEY_PARTS = ("vlan", "interface", "tunnel")
FEATURES = ("lengths", "iat", "flags", "payload", "community_id")
MAX_SPLT = MAX_FIRST_BYTES = 4096
MIN_SECONDS, MAX_SECONDS = 1e-9, 1e9
MAX_FLOWS = 1 << 30


def _seconds(name: str, value: float) -> float:
    if not MIN_SECONDS <= number(name, value) <= MAX_SECONDS:
        raise ValueError(f"{name} must be 1e-9 to {MAX_SECONDS:g} seconds, not {value}")
    return value


def _names_of(accepted: tuple[str, ...], name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise wrong_type(name, "a list of names", value)
    names = tuple(value)
    for one in names:
        if one not in accepted:
            raise ValueError(f"{name} may have {', '.join(accepted)}, not {one!r}")
    return names


class FlowOptions(TypedDict, total=False):
    """Options of `FlowTable` and `flows`."""

    idle_timeout: Annotated[
        float, Option(15.0, "A flow ends that had no packet for more than this many seconds.", _seconds)
    ]
    active_timeout: Annotated[
        float,
        Option(
            300.0,
            "A record ends, and the flow continues in another one, before a packet that comes this many "
            "seconds or more after the record's first. A packet that is more than this many seconds older "
            "than the one before means that time was set back.",
            _seconds,
        ),
    ]
    window: Annotated[
        float | None,
        Option(
            None,
            "Length of windows in seconds. They start at multiples of it since the Unix epoch (UTC). At the "
            "end of a window all records end, and the flows continue in other ones. Default: no windows.",
            _seconds,
        ),
    ]
    max_flows: Annotated[
        int,
        Option(
            1_000_000,
            "Maximum number of flows in the table. If it is full, a new flow ends the one that had no packet "
            "for the longest time. A full table takes 157 bytes a flow.",
            between(1, MAX_FLOWS),
        ),
    ]
    key: Annotated[
        "Iterable[Literal['vlan', 'interface', 'tunnel']] | None",
        Option(
            None,
            "Parts of the key of a flow, in addition to addresses, ports and protocol: packets that differ "
            "in these belong to different flows. The tunnel is the outermost one: the addresses of its IP "
            "header, and its network identifier (VXLAN, GENEVE) or GRE key. It requires `inner`. "
            "Default: the VLAN.",
            partial(_names_of, KEY_PARTS),
            'iterable of {"vlan", "interface", "tunnel"}',
        ),
    ]
    features: Annotated[
        "Iterable[Literal['lengths', 'iat', 'flags', 'payload', 'community_id']] | None",
        Option(
            None,
            "Columns to add: statistics of the packets' lengths and of their inter-arrival times, counts of "
            "TCP flags, sums of the data after the transport header with TCP retransmissions, the Community "
            "ID. `FlowBatch` lists them. A flow takes 48 bytes more for the lengths, 152 for the times, 144 "
            "for the flags and 64 for the payload. Default: none.",
            partial(_names_of, FEATURES),
            'iterable of {"lengths", "iat", "flags", "payload", "community_id"}',
        ),
    ]
    splt: Annotated[
        int,
        Option(
            0,
            "Number of first packets of a record whose lengths, directions and times are kept (sequence of "
            "packet lengths and times), for 12 bytes each.",
            between(0, MAX_SPLT),
        ),
    ]
    first_bytes: Annotated[
        int,
        Option(
            0,
            "Number of first bytes of data after the transport header that are kept of each direction of a "
            "record.",
            between(0, MAX_FIRST_BYTES),
        ),
    ]
    inner: Annotated[
        bool,
        Option(
            False,
            "Enter tunnels: packets belong to the flow of the innermost IP header, as for `Batch.headers`.",
        ),
    ]
    tunnel_ports: Annotated[
        "Mapping[str, Iterable[int]] | None",
        Option(
            None,
            "Ports of tunnels over UDP, as for `Batch.headers`. Default: the registered ones.",
            kind="mapping of str to iterable of int",
        ),
    ]
