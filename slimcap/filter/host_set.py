"""`hosts`: filters of many IP addresses and prefixes, without libpcap."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Literal, TypeAlias

from slimcap.errors import FilterError, wrong_type
from slimcap.filter.assembler import Assembler
from slimcap.filter.presets import TPIDS
from slimcap.filter.program import (
    ABS,
    ALU,
    IMM,
    JA,
    JEQ,
    JMP,
    LD,
    LDX,
    MAX_SNAPLEN,
    RSH,
    B,
    H,
    Instruction,
    K,
    Program,
    check_snaplen,
)
from slimcap.filter.range_tree import Range, search
from slimcap.packet.enums import LINK_TYPE_NAMES, LinkType

LOOKUP: Final = 0x1000
"""Code of instructions that look up an address; see `lookup_program`."""

Host: TypeAlias = str | IPv4Address | IPv6Address | IPv4Network | IPv6Network
Side: TypeAlias = Literal["either", "src", "dst"]

_BITS: Final = {4: 32, 6: 128}
_SOURCE_AND_DESTINATION: Final = {4: (12, 16), 6: (8, 24)}  # offsets in the IP header
_ETHERTYPES: Final = {0x0800: 4, 0x86DD: 6}
_PPP_PROTOCOLS: Final = {0x0021: 4, 0x0057: 6}
_PPPOE_SESSION: Final = 0x8864
_TAGS: Final = 3  # in a frame: the kernel removes the outermost one, and leaves two
_TAG_LEN: Final = 4

# Where IP starts, in packets that consist of a header of fixed length and IP.
_IP_AFTER: Final[dict[int, int]] = {
    LinkType.NULL: 4,
    LinkType.RAW_BSD: 0,
    LinkType.RAW_OPENBSD: 0,
    LinkType.RAW: 0,
    LinkType.LOOP: 4,
    LinkType.ENC: 12,
    LinkType.IPNET: 24,
    LinkType.IPV4: 0,
    LinkType.IPV6: 0,
}
# Offset of the EtherType, and where IP starts.
_COOKED: Final[dict[int, tuple[int, int]]] = {LinkType.LINUX_SLL: (14, 16), LinkType.LINUX_SLL2: (0, 20)}


class HostSet:
    """Filter of IP addresses and prefixes, made by `hosts`. It does not change.

    Parameters
    ----------
    hosts : iterable
        See `hosts`.
    side : {"either", "src", "dst"}
        See `hosts`.

    Attributes
    ----------
    side : {"either", "src", "dst"}
        Which address of a packet has to be in the set.

    Raises
    ------
    TypeError, ValueError
        See `hosts`.

    Examples
    --------
    >>> slimcap.filter.hosts(["192.0.2.1", "192.0.2.0/31", "2001:db8::/32"])
    <HostSet: 1 IPv4 range, 1 IPv6 range, either side>
    """

    __slots__ = ("_hash", "_ranges", "side")

    def __init__(self, hosts: Iterable[Host], side: Side) -> None:
        if side not in ("either", "src", "dst"):
            raise ValueError(f'side must be "either", "src" or "dst", not {side!r}')
        if isinstance(hosts, (str, bytes)) or not isinstance(hosts, Iterable):
            raise wrong_type("hosts", "an iterable of IP addresses and networks", hosts)
        found: dict[int, list[Range]] = {4: [], 6: []}
        for host in hosts:
            version, first, last = _range_of(host)
            found[version].append((first, last))
        self._ranges = {version: tuple(_merged(ranges)) for version, ranges in found.items()}
        self.side = side
        self._hash = hash((side, *self._ranges.values()))

    def program(self, link_type: int, *, snaplen: int = MAX_SNAPLEN) -> Program:
        """Make the classic BPF program for packets of a link type.

        Parameters
        ----------
        link_type : int
            LINKTYPE_ number of the packets.
        snaplen : int, default 262144
            Maximum number of bytes to capture of a packet, 1 to 262144.

        Returns
        -------
        Program
            A program of any length: the kernel accepts up to 4096 instructions.

        Raises
        ------
        FilterError
            There is no such program for the link type, or `snaplen` is out of range.

        Examples
        --------
        >>> len(slimcap.filter.hosts(["192.0.2.1"], side="src").program(101))
        13
        """
        check_snaplen(snaplen)

        def tree(version: int, offset: int) -> list[Instruction]:
            return search(self._ranges[version], _BITS[version] // 32, offset, snaplen)

        return self._program(link_type, tree)

    def _program(self, link_type: int, compare: Callable[[int, int], list[Instruction]]) -> Program:
        """Make a program; `compare` makes the instructions for a version and the offset of an address."""
        asm = Assembler()
        _find_ip(asm, LinkType.of(link_type))
        for version, ranges in self._ranges.items():
            asm.label(f"IPv{version}")
            if ranges:
                source, destination = _SOURCE_AND_DESTINATION[version]
                for offset in {"src": (source,), "dst": (destination,)}.get(self.side, (source, destination)):
                    asm.block(compare(version, offset))
            asm.drop()
        return asm.program()

    def __len__(self) -> int:
        """Return the number of ranges."""
        return sum(map(len, self._ranges.values()))

    def __repr__(self) -> str:
        counts = {f"IPv{version}": len(ranges) for version, ranges in self._ranges.items() if ranges}
        shown = [f"{count:,} {name} range{'s' * (count != 1)}" for name, count in counts.items()]
        return f"<HostSet: {', '.join(shown) or 'empty'}, {self.side} side>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HostSet):
            return NotImplemented
        return self is other or (self.side, self._ranges) == (other.side, other._ranges)

    def __hash__(self) -> int:
        return self._hash


def hosts(hosts: Iterable[Host], *, side: Side = "either") -> HostSet:
    """Make a filter of any number of IP addresses and prefixes.

    It matches packets with an IPv4 or IPv6 header after up to three VLAN tags, or after PPPoE; not ARP. It is
    made without libpcap, as a classic BPF program with a balanced tree: the number of comparisons for a
    packet grows with the logarithm of the number of addresses.

    In a live capture, the kernel accepts about 1,500 single IPv4 addresses, twice as many for one `side`, and
    500 IPv6 ones. A larger set is looked up by an eBPF program, in tables in the kernel. That requires
    CAP_BPF, which root has, and Linux 5.8; otherwise opening raises FilterError.

    Parameters
    ----------
    hosts : iterable of str or objects of `ipaddress`
        Addresses and networks, such as "192.0.2.1", "198.51.100.0/24" and "2001:db8::/32", mixed. They may
        overlap. IPv4-mapped IPv6 addresses stand for IPv4 addresses. No packet matches an empty set.
    side : {"either", "src", "dst"}, default "either"
        Which address of a packet has to be in the set: one of both, the source or the destination.

    Returns
    -------
    HostSet
        To use as `filter` or `extra_filter` of live sources, as `filter` of files, and with `Batch.filter`.

    Raises
    ------
    ValueError
        A str is not an address or network, a network has host bits set, or `side` is unknown.
    TypeError
        `hosts` is not iterable, or has other objects.

    Examples
    --------
    >>> blocked = slimcap.filter.hosts(["198.51.100.0/24", "2001:db8::1"], side="dst")
    >>> len(slimcap.read("trace.pcap").filter(blocked))
    0
    """
    return HostSet(hosts, side)


def lookup_program(hosts: HostSet, link_type: int) -> Program:
    """Make a program with instructions (`LOOKUP` | IP version, 0, 0, offset) in place of comparisons.

    They accept the packet if the address at the offset, from X on, is in a map of `keys_of`. Nothing runs
    them: they have to be translated.

    Parameters
    ----------
    hosts : HostSet
        The set.
    link_type : int
        LINKTYPE_ number of the packets.

    Returns
    -------
    Program
        A program without the addresses.
    """
    return hosts._program(link_type, lambda version, offset: [(LOOKUP | version, 0, 0, offset)])


def keys_of(hosts: HostSet) -> dict[int, tuple[bytes, bytes]]:
    """Return the addresses and the prefixes of a set, as keys of the kernel's maps.

    Parameters
    ----------
    hosts : HostSet
        The set.

    Returns
    -------
    dict
        IP version → addresses, and shorter prefixes. The latter are an array of struct bpf_lpm_trie_key:
        length of the prefix (4 bytes, native), address.
    """
    found: dict[int, tuple[bytes, bytes]] = {}
    for version, ranges in hosts._ranges.items():
        bits = _BITS[version]
        addresses, prefixes = [], []
        for length, first in _prefixes(ranges, bits):
            address = first.to_bytes(bits // 8)
            if length == bits:
                addresses.append(address)
            else:
                prefixes.append(struct.pack("=I", length) + address)
        found[version] = b"".join(addresses), b"".join(prefixes)
    return found


def _range_of(host: object) -> tuple[int, int, int]:
    """Return IP version, first and last address."""
    if isinstance(host, str):
        try:  # much faster than ipaddress, which does the rest, and knows what is wrong
            first = int.from_bytes(socket.inet_pton(socket.AF_INET, host))
        except (OSError, ValueError):
            host = _parsed(host)
        else:
            return 4, first, first
    if isinstance(host, (IPv4Network, IPv6Network)):
        return host.version, int(host.network_address), int(host.broadcast_address)
    if not isinstance(host, (IPv4Address, IPv6Address)):
        raise wrong_type("each of hosts", "an IP address or network", host)
    if isinstance(host, IPv6Address):
        if host.scope_id is not None:
            raise ValueError(f"hosts must be without zones, since packets have none, not {str(host)!r}")
        host = host.ipv4_mapped or host
    return host.version, int(host), int(host)


def _parsed(text: str) -> Host:
    try:
        return ip_network(text) if "/" in text else ip_address(text)
    except ValueError as error:
        raise ValueError(
            f'hosts must be addresses such as "192.0.2.1" and networks such as "192.0.2.0/24": {error}'
        ) from None


def _merged(ranges: list[Range]) -> Iterator[Range]:
    """Yield the ranges sorted, with those joined that overlap or adjoin."""
    start, end = -1, -2
    for first, last in sorted(ranges):
        if first <= end + 1 and start >= 0:
            end = max(end, last)
            continue
        if start >= 0:
            yield start, end
        start, end = first, last
    if start >= 0:
        yield start, end


def _prefixes(ranges: Iterable[Range], bits: int) -> Iterator[tuple[int, int]]:
    """Yield length and first address of the prefixes that cover the ranges."""
    for first, last in ranges:
        while first <= last:
            # The largest block that starts at `first` and does not go beyond `last`.
            free = min(((first & -first) or 1 << bits).bit_length(), (last - first + 1).bit_length()) - 1
            yield bits - free, first
            first += 1 << free


def _find_ip(asm: Assembler, link_type: int) -> None:
    """Append instructions that set X to the offset of the IP header and jump to its version, or drop."""
    if link_type == LinkType.ETHERNET:
        _find_ip_on_ethernet(asm)
    elif link_type in _COOKED:
        protocol, start = _COOKED[link_type]
        asm.add(LD | H | ABS, protocol)
        _go(asm, _ETHERTYPES, start)
        asm.drop()
    elif link_type in _IP_AFTER:
        start = _IP_AFTER[link_type]
        asm.add(LD | B | ABS, start)
        asm.add(ALU | RSH | K, 4)
        _go(asm, {4: 4, 6: 6}, start)
        asm.drop()
    else:
        name = (
            link_type.name if isinstance(link_type, LinkType) else LINK_TYPE_NAMES.get(link_type, link_type)
        )
        raise FilterError(
            f"hosts: no filter for link type {name}: use the conditions of HeaderFilter, such as "
            "where={'net': […]}"
        )


def _find_ip_on_ethernet(asm: Assembler) -> None:
    for tag in range(_TAGS + 1):
        start = 14 + tag * _TAG_LEN
        asm.label(f"tag {tag}")
        asm.add(LD | H | ABS, start - 2)
        _go(asm, _ETHERTYPES, start)
        asm.add(JMP | JEQ | K, _PPPOE_SESSION, f"PPPoE {tag}")
        if tag < _TAGS:
            asm.if_any(TPIDS, f"tag {tag + 1}")
        asm.drop()
        asm.label(f"PPPoE {tag}")
        asm.add(LD | B | ABS, start + 1)  # the code, 0 in a session
        asm.add(JMP | JEQ | K, 0, "", f"drop {tag}")
        asm.add(LD | H | ABS, start + 6)
        _go(asm, _PPP_PROTOCOLS, start + 8)
        asm.label(f"drop {tag}")
        asm.drop()


def _go(asm: Assembler, versions: dict[int, int], start: int) -> None:
    """Set X to `start` and jump to the IP version of the number in A; else continue."""
    asm.add(LDX | IMM, start)
    for number, version in versions.items():
        asm.add(JMP | JEQ | K, number, "", f"not {number} {start}")
        asm.add(JMP | JA, 0, f"IPv{version}")
        asm.label(f"not {number} {start}")
