"""Constants and enumerations of packets: type, link type, flags, header status."""

from __future__ import annotations

import enum
from operator import index
from typing import Final, SupportsIndex

from slimcap.errors import integer

NO_IP: Final = 65535
"""Value of `ip_offset` if no IP header was found in the packet."""

PACKET_HDR_OFFSET: Final = 6
"""Offset of the payload in the bytes of `Packet.to_go_bytes`."""


class PacketType(enum.IntEnum):
    """Addressee or direction of a packet, as seen by the capturing host (PACKET_* in linux/if_packet.h).

    Any other byte value is mapped to UNKNOWN.

    Examples
    --------
    >>> slimcap.PacketType(4).name
    'OUTGOING'
    """

    THIS_HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHER_HOST = 3
    OUTGOING = 4
    UNKNOWN = 255

    @classmethod
    def _missing_(cls, value: object) -> PacketType | None:
        """Map all other byte values, which the kernel or a file may contain, to UNKNOWN."""
        return cls.UNKNOWN if isinstance(value, SupportsIndex) and 0 <= index(value) <= 255 else None


class LinkType(enum.IntEnum):
    """Link types by name: LINKTYPE_ numbers (draft-ietf-opsawg-pcaplinktype).

    `Link.type` is a member, or an int for the link types without a name here.

    Examples
    --------
    >>> slimcap.LinkType(113).name
    'LINUX_SLL'
    >>> slimcap.LinkType.ETHERNET == 1
    True
    """

    NULL = 0
    ETHERNET = 1
    PPP = 9
    RAW_BSD = 12
    RAW_OPENBSD = 14
    PPP_HDLC = 50
    PPP_ETHER = 51
    RAW = 101
    C_HDLC = 104
    IEEE802_11 = 105
    LOOP = 108
    ENC = 109
    LINUX_SLL = 113
    IEEE802_11_RADIOTAP = 127
    USER0 = 147
    """For interfaces of this host whose link type is not supported."""
    IPV4 = 228
    IPV6 = 229
    DBUS = 231
    NETLINK = 253
    LINUX_SLL2 = 276

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"  # as in the repr of a Link

    @classmethod
    def of(cls, number: SupportsIndex) -> int:
        """Return the member with a number, or the number itself if it has no name.

        Parameters
        ----------
        number : int
            LINKTYPE_ number.

        Returns
        -------
        LinkType or int
            The same number.

        Raises
        ------
        TypeError
            `number` is not an integer.
        """
        value = integer("link_type", number)
        return cls(value) if value in cls._value2member_map_ else value


class HeaderStatus(enum.IntEnum):
    """Result of parsing a packet's headers: the `status` column of `Batch.headers`.

    Columns whose values are not known are zero.

    Examples
    --------
    >>> slimcap.HeaderStatus(3).name
    'FRAGMENT'
    """

    OK = 0
    """All headers are complete. For upper layers other than TCP, UDP, UDP-Lite, SCTP, DCCP, ICMP and ICMPv6,
    only `l4_offset` is known."""
    NO_IP = 1
    """There is no IP header, or no byte of it was captured: only the link-layer columns are known."""
    ARP = 2
    """An ARP packet: the link-layer columns are known, and `src` and `dst` are the sender's and target's
    addresses."""
    FRAGMENT = 3
    """A fragment other than the first: the IP header is known, the upper layer is not."""
    TRUNCATED = 4
    """The captured bytes, or a first fragment, end within the headers. Fields that were captured completely
    are known; if the IP header itself is truncated, only `ip_version` and `protocol` are."""
    MALFORMED = 5
    """A header contradicts itself or extends past the packet's end. The fields before the error are known."""


class RecordFlag(enum.IntFlag):
    """Bits of the `flags` column.

    Examples
    --------
    >>> tagged = batch[batch["flags"] & slimcap.RecordFlag.VLAN != 0]
    """

    VLAN = 1
    """The packet has a VLAN tag: `vlan_tci` and `vlan_tpid` hold the outermost one."""
    VLAN_STRIPPED = 2
    """The kernel removed that tag from the bytes (and `total_len` does not include it)."""
    TRUNCATED = 4
    """`cap_len < total_len`: the packet was not captured completely."""
    CHECKSUM_VALID = 8
    """The kernel has verified the transport checksum (TP_STATUS_CSUM_VALID)."""
    CHECKSUM_NOT_READY = 16
    """The transport checksum is not filled in yet; the device will do so (TP_STATUS_CSUMNOTREADY)."""
    LOSING = 32
    """Packets were dropped before this one (TP_STATUS_LOSING)."""
    GSO = 64
    """A packet before segmentation offload: larger than the packets on the wire (TP_STATUS_GSO_TCP)."""
    TIME_CLAMPED = 128
    """The time in the file is before 1677-09-21 or after 2262-04-11: `timestamp` is the nearest time that 64
    bits hold. `PcapNgWriter` writes the time of the file, if the interface is as it was there."""
