"""Building packets, for tests and mocks."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from slimcap.errors import in_range, wrong_type
from slimcap.packet.enums import PacketType
from slimcap.packet.packet import Packet

_ETHERNET_LEN = 14
_IPV4_FIRST_BYTE = 4 << 4 | 5  # version, and header length in words of 4 bytes


def build_packet(
    src: str | IPv4Address | IPv6Address,
    dst: str | IPv4Address | IPv6Address,
    src_port: int = 0,
    dst_port: int = 0,
    protocol: int = 0,
    payload: bytes = b"",
    pkt_type: PacketType | int = PacketType.UNKNOWN,
    total_len: int = 0,
) -> Packet:
    """Build an Ethernet packet with an IP header, as the Go library's BuildPacket does.

    All other fields are zero: the link-layer header, and the IP header except version, lengths, protocol and
    addresses. The bytes are those of the Go library, except that the header length of IPv4 is valid. The
    ports, if both are given, come right after the IP header, and `payload` after them. Without ports, an IPv6
    packet ends with four zero bytes after `payload`.

    Parameters
    ----------
    src, dst : str, IPv4Address or IPv6Address
        Source and destination address, of the same IP version. An IPv4-mapped IPv6 address counts as IPv4.
    src_port, dst_port : int, default 0
        Source and destination port; written only if both are greater than 0.
    protocol : int, default 0
        IANA number of the upper-layer protocol.
    payload : bytes, default b""
        The bytes after the ports.
    pkt_type : PacketType or int, default PacketType.UNKNOWN
        The packet's type.
    total_len : int, default 0
        Length on the wire in bytes. The IP header's length field is set to it, too (modulo 2^16).

    Returns
    -------
    Packet
        The packet, with memory of its own.

    Raises
    ------
    ValueError
        An address is not valid, the two are of different IP versions, or a number does not fit in its field.
    TypeError
        An argument has the wrong type.

    Examples
    --------
    >>> packet = build_packet("10.0.0.1", "10.0.0.2", 1234, 53, protocol=17, total_len=60)
    >>> print(packet.ip_layer)
    10.0.0.1:1234 => 10.0.0.2:53 (proto: 17)
    """
    src, dst = _plain("src", src), _plain("dst", dst)
    src_port, dst_port = in_range("src_port", src_port, 0, 65535), in_range("dst_port", dst_port, 0, 65535)
    protocol = in_range("protocol", protocol, 0, 255)
    total_len = in_range("total_len", total_len, 0, 0xFFFFFFFF)
    pkt_type = in_range("pkt_type", pkt_type, 0, 255)
    try:
        payload = bytes(memoryview(payload))
    except TypeError:
        raise wrong_type("payload", "bytes", payload) from None
    ports = struct.pack(">HH", src_port, dst_port) if src_port and dst_port else b""
    wire_len = total_len & 0xFFFF
    if isinstance(src, IPv4Address) and isinstance(dst, IPv4Address):
        header = struct.pack(">BBHHHBBH", _IPV4_FIRST_BYTE, 0, wire_len, 0, 0, 0, protocol, 0)
        body = ports + payload
    elif isinstance(src, IPv6Address) and isinstance(dst, IPv6Address):
        header = struct.pack(">IHBB", 6 << 28, wire_len, protocol, 0)
        body = ports + payload if ports else payload + bytes(4)
    else:
        raise ValueError(f"src and dst must have the same IP version, not {src} and {dst}")
    packet = bytes(_ETHERNET_LEN) + header + src.packed + dst.packed + body
    return Packet.from_payload(packet, pkt_type, total_len, _ETHERNET_LEN)


def _plain(name: str, address: str | IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Parse the address given as argument `name`; return an IPv4-mapped one as IPv4."""
    if not isinstance(address, (str, IPv4Address, IPv6Address)):
        raise wrong_type(name, "an IP address: str, IPv4Address or IPv6Address", address)
    try:
        address = ip_address(address)
    except ValueError:
        raise ValueError(f"{name} must be an IP address, not {address!r}") from None
    return getattr(address, "ipv4_mapped", None) or address
