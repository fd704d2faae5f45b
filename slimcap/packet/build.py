"""Building packets, for tests and mocks."""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from typing import TypeAlias

import numpy as np

from slimcap.errors import in_range, wrong_type
from slimcap.packet.batch import Batch
from slimcap.packet.enums import PacketType, RecordFlag
from slimcap.packet.packet import Packet
from slimcap.packet.record import RECORD_DTYPE

_Address: TypeAlias = IPv4Address | IPv6Address

_ETHERNET_LEN = 14
_IPV4_FIRST_BYTE = 4 << 4 | 5  # version, and header length in words of 4 bytes
_IPV6_FIRST_WORD = 6 << 28
_IP_LEN = {4: 20, 6: 40}
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_TPID = 0x8100
_HOP_LIMIT = 64
_DONT_FRAGMENT = 0x4000
_TCP_WINDOW = 64240

# (IP version, protocol): length of the header, offset of its checksum.
_HEADERS = {
    (4, IPPROTO_TCP): (20, 16),
    (6, IPPROTO_TCP): (20, 16),
    (4, IPPROTO_UDP): (8, 6),
    (6, IPPROTO_UDP): (8, 6),
    (4, IPPROTO_ICMP): (8, 2),
    (6, IPPROTO_ICMPV6): (8, 2),
}


def build_packet(
    src: str | IPv4Address | IPv6Address,
    dst: str | IPv4Address | IPv6Address,
    src_port: int = 0,
    dst_port: int = 0,
    protocol: int = 17,
    payload: bytes = b"",
    pkt_type: PacketType | int = PacketType.THIS_HOST,
    *,
    total_len: int | None = None,
    timestamp: int = 0,
    vlan: int | None = None,
    tcp_flags: int = 0x10,
    src_mac: str = "02:00:00:00:00:01",
    dst_mac: str = "02:00:00:00:00:02",
) -> Packet:
    """Build a valid packet: Ethernet, IPv4 or IPv6, transport header, `payload`.

    Lengths and checksums are those of the packet. UDP, TCP and ICMP or ICMPv6 (an echo request) get a header;
    with any other protocol, `payload` follows the IP header. The TTL or hop limit is 64.

    Parameters
    ----------
    src, dst : str, IPv4Address or IPv6Address
        Source and destination address, of the same IP version. An IPv4-mapped IPv6 address counts as IPv4.
    src_port, dst_port : int, default 0
        Source and destination port, for UDP and TCP.
    protocol : int, default 17
        IANA number of the upper-layer protocol: 17 is UDP, 6 TCP, 1 ICMP (IPv4), 58 ICMPv6 (IPv6).
    payload : bytes, default b""
        The bytes after the headers.
    pkt_type : PacketType or int, default PacketType.THIS_HOST
        The packet's type.
    total_len : int, optional
        Length on the wire in bytes. If it is larger than the packet, the packet is truncated: on the wire it
        continues with zero bytes, which lengths and checksums include. Default: the length of the packet.
    timestamp : int, default 0
        Nanoseconds since the Unix epoch. A mock replaces 0 by the current time.
    vlan : int, optional
        VLAN ID of an 802.1Q tag. Default: no tag.
    tcp_flags : int, default 0x10
        FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256; for TCP only.
    src_mac : str, default "02:00:00:00:00:01"
        Source MAC address. The defaults of both are locally administered.
    dst_mac : str, default "02:00:00:00:00:02"
        Destination MAC address.

    Returns
    -------
    Packet
        A Packet that owns its memory.

    Raises
    ------
    ValueError
        An address is not valid, the two are of different IP versions, a number does not fit in its field,
        ports are given for a protocol other than UDP and TCP, `total_len` is less than the length of the
        packet, or the packet is too long for IP.
    TypeError
        An argument has the wrong type.

    Examples
    --------
    >>> packet = build_packet("192.0.2.1", "192.0.2.2", 1234, 53, payload=b"x")
    >>> packet
    <Packet: THIS_HOST 192.0.2.1:1234 => 192.0.2.2:53 (proto: 17), 43 of 43 bytes>
    """
    source, destination = _addresses(src, dst)
    ports = _port("src_port", src_port), _port("dst_port", dst_port)
    protocol, pkt_type = in_range("protocol", protocol, 0, 255), in_range("pkt_type", pkt_type, 0, 255)
    if any(ports) and protocol not in (IPPROTO_UDP, IPPROTO_TCP):
        raise ValueError(f"src_port and dst_port require protocol 17 (UDP) or 6 (TCP), not {protocol}")
    timestamp = in_range("timestamp", timestamp, -(2**63), 2**63 - 1)
    tcp_flags = in_range("tcp_flags", tcp_flags, 0, 0x1FF)
    link = _ethernet(_mac("src_mac", src_mac), _mac("dst_mac", dst_mac), vlan, source.version)
    data = _octets(payload)

    header_len, _ = _HEADERS.get((source.version, protocol), (0, 0))
    cap_len = len(link) + _IP_LEN[source.version] + header_len + len(data)
    longest = len(link) + 65535 + (_IP_LEN[6] if source.version == 6 else 0)
    if cap_len > longest:
        raise ValueError(f"payload must have at most {len(data) - cap_len + longest} bytes, not {len(data)}")
    if total_len is None:
        total_len = cap_len
    total_len = in_range("total_len", total_len, cap_len, longest)
    data += bytes(total_len - cap_len)
    segment = _segment(source, destination, protocol, ports, tcp_flags, data)
    frame = link + _ip_header(source, destination, protocol, len(segment)) + segment
    return _captured(frame, cap_len, len(link), pkt_type, timestamp, vlan)


def build_go_packet(
    src: str | IPv4Address | IPv6Address,
    dst: str | IPv4Address | IPv6Address,
    src_port: int = 0,
    dst_port: int = 0,
    protocol: int = 0,
    payload: bytes = b"",
    pkt_type: PacketType | int = PacketType.UNKNOWN,
    total_len: int = 0,
) -> Packet:
    """Build the packet of the Go library's BuildPacket, which is not valid; see `build_packet`.

    All other fields are zero: the link-layer header, and the IP header except version, lengths, protocol and
    addresses. The bytes are those of the Go library, except that the header length of IPv4 is valid. The
    ports, if both are given, come right after the IP header, and `payload` after them. Without ports, an IPv6
    packet ends with four zero bytes after `payload`. The EtherType is 0: the default filter of a mock does
    not match the packet.

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
        A Packet that owns its memory.

    Raises
    ------
    ValueError
        An address is not valid, the two are of different IP versions, or a number does not fit in its field.
    TypeError
        An argument has the wrong type.

    Examples
    --------
    >>> packet = build_go_packet("10.0.0.1", "10.0.0.2", 1234, 53, protocol=17, total_len=60)
    >>> print(packet.ip_layer)
    10.0.0.1:1234 => 10.0.0.2:53 (proto: 17)
    """
    source, destination = _addresses(src, dst)
    src_port, dst_port = _port("src_port", src_port), _port("dst_port", dst_port)
    protocol, pkt_type = in_range("protocol", protocol, 0, 255), in_range("pkt_type", pkt_type, 0, 255)
    total_len = in_range("total_len", total_len, 0, 0xFFFFFFFF)
    body = struct.pack(">HH", src_port, dst_port) if src_port and dst_port else b""
    body += _octets(payload)
    wire_len = total_len & 0xFFFF
    if source.version == 4:
        header = struct.pack(">BBHHHBBH", _IPV4_FIRST_BYTE, 0, wire_len, 0, 0, 0, protocol, 0)
    else:
        header = struct.pack(">IHBB", _IPV6_FIRST_WORD, wire_len, protocol, 0)
        body += b"" if src_port and dst_port else bytes(4)
    packet = bytes(_ETHERNET_LEN) + header + source.packed + destination.packed + body
    return Packet.from_payload(packet, pkt_type, total_len, _ETHERNET_LEN)


def _captured(
    frame: bytes, cap_len: int, ip_offset: int, pkt_type: int, timestamp: int, vlan: int | None
) -> Packet:
    """Return the packet of a frame of which `cap_len` bytes are captured."""
    record = np.zeros(1, RECORD_DTYPE)
    record["timestamp"], record["pkt_type"], record["ip_offset"] = timestamp, pkt_type, ip_offset
    record["total_len"], record["cap_len"] = len(frame), cap_len
    flags = RecordFlag.TRUNCATED if cap_len < len(frame) else RecordFlag(0)
    if vlan is not None:
        record["vlan_tci"], record["vlan_tpid"] = vlan, _TPID
        flags |= RecordFlag.VLAN
    record["flags"] = flags
    return Batch(record, frame)[0].copy()


# ---- headers


def _ethernet(src_mac: bytes, dst_mac: bytes, vlan: int | None, version: int) -> bytes:
    tag = b"" if vlan is None else struct.pack(">HH", _TPID, in_range("vlan", vlan, 0, 4095))
    return dst_mac + src_mac + tag + struct.pack(">H", _ETHERTYPE[version])


def _ip_header(src: _Address, dst: _Address, protocol: int, length: int) -> bytes:
    """Build the IP header of a segment of `length` bytes."""
    if src.version == 6:
        return struct.pack(">IHBB", _IPV6_FIRST_WORD, length, protocol, _HOP_LIMIT) + src.packed + dst.packed
    fields = _IPV4_FIRST_BYTE, 0, _IP_LEN[4] + length, 0, _DONT_FRAGMENT, _HOP_LIMIT, protocol, 0
    header = struct.pack(">BBHHHBBH", *fields) + src.packed + dst.packed
    return _with_checksum(header, 10, _checksum(header))


def _segment(
    src: _Address, dst: _Address, protocol: int, ports: tuple[int, int], tcp_flags: int, data: bytes
) -> bytes:
    """Build the transport header and the data after it; the data alone for other protocols."""
    header_len, offset = _HEADERS.get((src.version, protocol), (0, 0))
    if not header_len:
        return data
    length = header_len + len(data)
    # The sum of the pseudo-header of IPv6 (RFC 8200 section 8.1), and that of IPv4, is that of these fields.
    pseudo = src.packed + dst.packed + struct.pack(">II", length, protocol)
    if protocol == IPPROTO_TCP:
        flags = header_len // 4 << 12 | tcp_flags
        segment = struct.pack(">HHIIHHHH", *ports, 0, 0, flags, _TCP_WINDOW, 0, 0) + data
    elif protocol == IPPROTO_UDP:
        segment = struct.pack(">HHHH", *ports, length, 0) + data
        return _with_checksum(segment, offset, _checksum(pseudo + segment) or 0xFFFF)  # 0 is "none" (RFC 768)
    else:
        echo_request = 8 if protocol == IPPROTO_ICMP else 128
        segment = struct.pack(">BBHHH", echo_request, 0, 0, 0, 0) + data
        pseudo = b"" if protocol == IPPROTO_ICMP else pseudo
    return _with_checksum(segment, offset, _checksum(pseudo + segment))


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    return -total % 0xFFFF  # adding the carries reduces the sum modulo 2^16 - 1


def _with_checksum(data: bytes, offset: int, checksum: int) -> bytes:
    return data[:offset] + struct.pack(">H", checksum) + data[offset + 2 :]


# ---- arguments


def _addresses(src: str | _Address, dst: str | _Address) -> tuple[_Address, _Address]:
    """Parse two addresses of the same IP version; return IPv4-mapped ones as IPv4."""
    source, destination = _plain("src", src), _plain("dst", dst)
    if source.version != destination.version:
        raise ValueError(f"src and dst must have the same IP version, not {source} and {destination}")
    return source, destination


def _plain(name: str, address: str | _Address) -> _Address:
    """Parse the address given as argument `name`; return an IPv4-mapped one as IPv4."""
    if not isinstance(address, (str, IPv4Address, IPv6Address)):
        raise wrong_type(name, "an IP address: str, IPv4Address or IPv6Address", address)
    try:
        address = ip_address(address)
    except ValueError:
        raise ValueError(f"{name} must be an IP address, not {address!r}") from None
    return getattr(address, "ipv4_mapped", None) or address


def _mac(name: str, address: str) -> bytes:
    """Parse the MAC address given as argument `name`."""
    if not isinstance(address, str):
        raise wrong_type(name, "a MAC address as str", address)
    if not re.fullmatch("[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", address):
        raise ValueError(f"{name} must be a MAC address such as 02:00:00:00:00:01, not {address!r}")
    return bytes.fromhex(address.replace(":", ""))


def _port(name: str, port: int) -> int:
    return in_range(name, port, 0, 65535)


def _octets(payload: bytes) -> bytes:
    """Return a copy of the argument `payload`."""
    try:
        return bytes(memoryview(payload))
    except TypeError:
        raise wrong_type("payload", "bytes", payload) from None
