"""Packets made from scratch, for tests and mocks."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from slimcap.packet.enums import PacketType
from slimcap.packet.packet import Packet

_ETHERNET_LEN = 14


def build_packet(
    src: str | IPv4Address | IPv6Address,
    dst: str | IPv4Address | IPv6Address,
    sport: int = 0,
    dport: int = 0,
    protocol: int = 0,
    payload: bytes = b"",
    pkt_type: PacketType | int = PacketType.UNKNOWN,
    total_len: int = 0,
) -> Packet:
    """Make an Ethernet packet with an IP header (the Go library's BuildPacket: the same bytes).

    The link-layer header is all zeros, and of the IP header only version, length, protocol and addresses are
    set. IPv4 has ports only if both are given; IPv6 always has room for them. `payload` follows the ports.

    Parameters
    ----------
    src, dst : str, IPv4Address or IPv6Address
        Addresses, both of one IP version; an IPv4-mapped IPv6 address counts as IPv4.
    sport, dport : int
        Ports; 0 for none.
    protocol : int
        IANA number of the upper-layer protocol.
    payload : bytes
        What follows.
    pkt_type : PacketType
        Who the packet was for.
    total_len : int
        Length on the wire, which also goes into the IP header (modulo 2^16).

    Raises
    ------
    ValueError
        An address that is none, or addresses of two versions.
    OverflowError, struct.error
        A number that its field cannot hold.
    """
    src, dst = _plain(src), _plain(dst)
    ports = struct.pack(">HH", sport, dport) if sport > 0 and dport > 0 else b""
    wire_len = total_len & 0xFFFF
    if isinstance(src, IPv4Address) and isinstance(dst, IPv4Address):
        header = struct.pack(">BBHHHBBH", 4 << 4, 0, wire_len, 0, 0, 0, protocol, 0)
        body = ports + payload
    elif isinstance(src, IPv6Address) and isinstance(dst, IPv6Address):
        header = struct.pack(">IHBB", 6 << 28, wire_len, protocol, 0)
        body = ports + payload if ports else payload + bytes(4)
    else:
        raise ValueError(f"{src} and {dst} are addresses of two IP versions")
    packet = bytes(_ETHERNET_LEN) + header + src.packed + dst.packed + body
    return Packet.from_payload(packet, pkt_type, total_len, _ETHERNET_LEN)


def _plain(address: str | IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address, as IPv4 if it is an IPv4-mapped one."""
    address = ip_address(address)
    return getattr(address, "ipv4_mapped", None) or address
