"""The small vocabulary of a packet: its direction and what is remarkable about it."""

from __future__ import annotations

import enum
from operator import index
from typing import Final, SupportsIndex

NO_IP: Final = 65535
"""`ip_offset` of a packet in which no IP header was found."""

PACKET_HDR_OFFSET: Final = 6
"""Where the payload starts in the bytes of a `Packet`."""


class PacketType(enum.IntEnum):
    """Who a packet was for, seen from the capturing host (linux/if_packet.h, PACKET_HOST and on)."""

    THIS_HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHER_HOST = 3
    OUTGOING = 4
    UNKNOWN = 255

    @classmethod
    def _missing_(cls, value: object) -> PacketType | None:
        """Any other byte the kernel or a file may say is UNKNOWN."""
        return cls.UNKNOWN if isinstance(value, SupportsIndex) and 0 <= index(value) <= 255 else None


class HeaderStatus(enum.IntEnum):
    """What became of a packet's headers: the `status` column of `Batch.headers`. Zeros: not known."""

    OK = 0
    """All headers are there. Of an upper layer other than TCP, UDP, UDP-Lite, SCTP, DCCP, ICMP and ICMPv6
    only `l4_offset` is known."""
    NO_IP = 1
    """There is no IP header (or none of it was captured): only the link layer's columns are known."""
    ARP = 2
    """An ARP packet: the link layer's columns, and in `src` and `dst` the addresses of sender and target."""
    FRAGMENT = 3
    """A fragment but the first: all of the IP header, nothing of the upper layer."""
    TRUNCATED = 4
    """The capture ends within the headers: every field is known that was captured whole, but those of an IP
    header that is itself cut, of which only `ip_version` and `protocol` are."""
    MALFORMED = 5
    """A header contradicts itself, or goes on behind the end of the packet; what is before that is known."""


class RecordFlag(enum.IntFlag):
    """What is remarkable about a packet: the bits of the `flags` column."""

    VLAN = 1
    """The packet has a VLAN tag: `vlan_tci` and `vlan_tpid` hold the outermost."""
    VLAN_STRIPPED = 2
    """The kernel took that tag out of the bytes (and `total_len` does not count it)."""
    TRUNCATED = 4
    """`cap_len < total_len`: the rest was on the wire, and not captured."""
    CHECKSUM_VALID = 8
    """The kernel has verified the transport checksum (TP_STATUS_CSUM_VALID)."""
    CHECKSUM_NOT_READY = 16
    """The checksum in the bytes is still to be filled in by the device (TP_STATUS_CSUMNOTREADY)."""
    LOSING = 32
    """Packets were dropped before this one (TP_STATUS_LOSING)."""
    GSO = 64
    """A segment-offload packet: larger than what is on the wire."""
