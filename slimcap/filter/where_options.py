"""Conditions on the headers of a packet: the options of `HeaderFilter`."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Final, NamedTuple, SupportsIndex, TypeAlias, TypedDict

import numpy as np

from slimcap.errors import in_range, wrong_type
from slimcap.option_set import Option

Address: TypeAlias = str | IPv4Address | IPv6Address | bytes | np.void
"""An IP address: text, or bytes as in the `src` and `dst` columns of `Batch.headers`."""
Network: TypeAlias = str | IPv4Network | IPv6Network
FlowTuple: TypeAlias = tuple[Address, SupportsIndex, Address, SupportsIndex, SupportsIndex | str]

PROTOCOLS: Final = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "rsvp": 46, "gre": 47,
    "esp": 50, "ah": 51, "icmp6": 58, "icmpv6": 58, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112,
    "l2tp": 115, "sctp": 132, "udplite": 136,
}  # fmt: skip
"""IANA protocol numbers by the names that conditions accept."""

_RANGE: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_FLOW: Final = re.compile(r"\[?(\S+?)\]?:(\d+) => \[?(\S+?)\]?:(\d+) \((?:proto: )?(\w+)\)", re.ASCII)
_DIGEST_LEN: Final = 20  # bytes of SHA-1


class Flow(NamedTuple):
    """The 5-tuple of a flow, in either direction."""

    src: IPv4Address | IPv6Address
    src_port: int
    dst: IPv4Address | IPv6Address
    dst_port: int
    protocol: int


def _several(
    name: str, value: Any, single: tuple[type, ...], one: Callable[[str, Any], Any]
) -> tuple[Any, ...]:
    """Return the checked values of a condition, which is one value or an iterable of them."""
    if isinstance(value, single) or not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        return (one(name, value),)
    return tuple(one(name, item) for item in value)


def _address(name: str, value: Any) -> IPv4Address | IPv6Address:
    if isinstance(value, np.void):
        value = value.tobytes()
    if not isinstance(value, (str, bytes, IPv4Address, IPv6Address)):
        raise wrong_type(name, "an IP address", value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"{name} must be an IPv4 or IPv6 address, not {value!r}") from None
    if address.version == 4:
        return address
    if address.scope_id is not None:
        raise ValueError(f"{name} must be an address without a zone, since packets have none, not {value!r}")
    return address.ipv4_mapped or address


def _network(name: str, value: Any) -> IPv4Network | IPv6Network:
    if not isinstance(value, (str, IPv4Network, IPv6Network)):
        raise wrong_type(name, "an IP network", value)
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f'{name} must be a network such as "192.0.2.0/24": {error}') from None


def _ports(name: str, value: Any) -> range:
    """Return the ports of a number, or of the text of a number or a range."""
    if isinstance(value, str):
        found = _RANGE.fullmatch(value)
        if found is None:
            raise ValueError(f'{name} must be a port, or a range such as "8000-8100", not {value!r}')
        first, last = int(found[1]), int(found[2] or found[1])
    else:
        first = last = in_range(name, value, 0, 65535)
    if not first <= last <= 65535:
        raise ValueError(f"{name} must be 0 to 65535, the smaller port first, not {value!r}")
    return range(first, last + 1)


def _protocol(name: str, value: Any) -> int:
    if isinstance(value, str) and not value.isdecimal():
        number = PROTOCOLS.get(value.lower())
        if number is None:
            raise ValueError(f"{name} must be a number, or one of {', '.join(PROTOCOLS)}, not {value!r}")
        return number
    return in_range(name, int(value) if isinstance(value, str) else value, 0, 255)


def _flow(name: str, value: Any) -> Flow:
    if isinstance(value, str):
        found = _FLOW.fullmatch(value)
        if found is None:
            raise ValueError(
                f'{name} must be such as "192.0.2.1:50000 => 198.51.100.2:443 (proto: 6)", as slimcap read '
                f"prints it, not {value!r}"
            )
        value = (found[1], int(found[2]), found[3], int(found[4]), found[5])
    if not isinstance(value, tuple) or len(value) != len(Flow._fields):
        raise wrong_type(name, f"a tuple ({', '.join(Flow._fields)}) or a str", value)
    src, src_port, dst, dst_port, protocol = value
    return Flow(
        _address(name, src), in_range(name, src_port, 0, 65535),
        _address(name, dst), in_range(name, dst_port, 0, 65535), _protocol(name, protocol),
    )  # fmt: skip


def _flows(name: str, value: Any) -> tuple[Flow, ...]:
    is_one = isinstance(value, tuple) and value and not isinstance(value[0], tuple) and not _is_text(value[0])
    return _several(name, value, (str, tuple) if is_one else (str,), _flow)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "=>" in value


def _community_id(name: str, value: Any) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise wrong_type(name, "a Community ID", value)
    text = value.encode() if isinstance(value, str) else value
    version, _, digest = text.partition(b":")
    try:
        valid = version == b"1" and len(base64.b64decode(digest, validate=True)) == _DIGEST_LEN
    except binascii.Error:
        valid = False
    if not valid:
        raise ValueError(
            f'{name} must be a Community ID of version 1, "1:" and 28 characters of base64, not {value!r}'
        )
    return text


def _vlan(name: str, value: Any) -> int:
    return in_range(name, int(value) if isinstance(value, str) and value.isdecimal() else value, 1, 4095)


class WhereOptions(TypedDict, total=False):
    """Conditions on the headers of a packet. Each is one value, or an iterable of which one has to match."""

    host: Annotated[
        Address | Iterable[Address] | None,
        Option(
            None,
            "Source or destination address of the IP header or the ARP packet. Default: any.",
            lambda name, value: _several(name, value, (str, bytes, np.void), _address),
            "IP address or iterable of them",
        ),
    ]
    net: Annotated[
        Network | Iterable[Network] | None,
        Option(
            None,
            'Network of the source or destination address, such as "192.0.2.0/24". An IPv6 network contains '
            "no IPv4 address. Default: any.",
            lambda name, value: _several(name, value, (str, IPv4Network, IPv6Network), _network),
            "IP network or iterable of them",
        ),
    ]
    port: Annotated[
        SupportsIndex | str | Iterable[SupportsIndex | str] | None,
        Option(
            None,
            'Source or destination port of TCP, UDP, UDP-Lite, SCTP or DCCP, or a range: "8000-8100". '
            "Fragments other than the first have no ports. Default: any.",
            lambda name, value: _several(name, value, (str,), _ports),
            "int, str or iterable of them",
        ),
    ]
    protocol: Annotated[
        SupportsIndex | str | Iterable[SupportsIndex | str] | None,
        Option(
            None,
            'IANA number of the protocol above IP, or its name, such as "tcp". Default: any.',
            lambda name, value: _several(name, value, (str,), _protocol),
            "int, str or iterable of them",
        ),
    ]
    flow: Annotated[
        FlowTuple | str | Iterable[FlowTuple | str] | None,
        Option(
            None,
            "Flow in either direction: source, source port, destination, destination port and protocol, as a "
            'tuple or as text: "192.0.2.1:50000 => 198.51.100.2:443 (proto: 6)". Ports that a '
            "packet does not have, as a fragment other than the first, are 0. Default: any.",
            _flows,
            "tuple, str or iterable of them",
        ),
    ]
    community_id: Annotated[
        str | bytes | Iterable[str | bytes] | None,
        Option(
            None,
            "Community ID of version 1 with seed 0, as in the column of `Batch.headers`. Default: any.",
            lambda name, value: _several(name, value, (str, bytes), _community_id),
            "str, bytes or iterable of them",
        ),
    ]
    vlan: Annotated[
        SupportsIndex | str | Iterable[SupportsIndex | str] | None,
        Option(
            None,
            "VLAN ID, 1 to 4095, of the outermost or the second tag. Default: any, or no tag.",
            lambda name, value: _several(name, value, (str,), _vlan),
            "int or iterable of them",
        ),
    ]
    inner: Annotated[
        bool,
        Option(
            False,
            "Enter tunnels as `Batch.headers` with ``inner=True``: conditions, except for `vlan`, are those "
            "of the innermost IP packet.",
        ),
    ]
    tunnel_ports: Annotated[
        Mapping[str, Iterable[int]] | None,
        Option(
            None,
            "With `inner`: UDP ports of tunnels, as for `Batch.headers`. Default: the registered ports.",
            kind="mapping of str to iterable of int",
        ),
    ]
