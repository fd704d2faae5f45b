"""Build link-layer frames: Ethernet with tags, ARP, MPLS, PPP, LLC, Linux cooked, Cisco HDLC, loopback."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from ipaddress import ip_address

from support.builders.layers import IPV4, IPV6, PPP_IPV4, PPP_IPV6, ethertype_of, mac


def ethernet(
    payload: bytes,
    ethertype: int | None = None,
    *,
    src: bytes = mac(1),
    dst: bytes = mac(10),
    tags: Sequence[tuple[int, int]] = (),
    pad: bool = False,
    fcs: bool = False,
) -> bytes:
    """Build a frame; `tags` are (TPID, TCI), outermost first; default `ethertype`: that of an IP payload."""
    kind = ethertype_of(payload) if ethertype is None else ethertype
    frame = dst + src + b"".join(struct.pack(">HH", *tag) for tag in tags) + struct.pack(">H", kind) + payload
    frame = frame.ljust(60, b"\0") if pad else frame
    return frame + struct.pack("<I", zlib.crc32(frame)) if fcs else frame


def arp(operation: int, src: bytes, src_ip: str, dst: bytes, dst_ip: str) -> bytes:
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + src + ip_address(src_ip).packed + dst + ip_address(dst_ip).packed


def mpls(payload: bytes, *labels: int, ttl: int = 63) -> bytes:
    stack = (label << 12 | (i == len(labels) - 1) << 8 | ttl for i, label in enumerate(labels))
    return b"".join(struct.pack(">I", entry) for entry in stack) + payload


def pppoe(payload: bytes, code: int = 0, session: int = 0x2A) -> bytes:
    return struct.pack(">BBHH", 0x11, code, session, len(payload)) + payload


def pppoe_tags(*tags: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in tags)


def ppp(payload: bytes, protocol: int | None = None) -> bytes:
    kind = {IPV4: PPP_IPV4, IPV6: PPP_IPV6}[ethertype_of(payload)] if protocol is None else protocol
    return struct.pack(">H", kind) + payload


def ppp_control(code: int, ident: int, options: bytes) -> bytes:
    return struct.pack(">BBH", code, ident, 4 + len(options)) + options


def llc_frame(payload: bytes, dst: bytes = mac(10)) -> bytes:
    """Build an IEEE 802.3 frame: a length in place of the EtherType."""
    return ethernet(payload, len(payload), dst=dst, pad=True)


def snap(payload: bytes, kind: int, oui: int = 0) -> bytes:
    return b"\xaa\xaa\x03" + oui.to_bytes(3, "big") + struct.pack(">H", kind) + payload


def sll(
    payload: bytes, protocol: int | None = None, *, kind: int = 0, device: int = 1, address: bytes = mac(1)
) -> bytes:
    """Build a Linux cooked frame; `kind` is the packet type, `device` the ARPHRD number."""
    protocol = ethertype_of(payload) if protocol is None else protocol
    return struct.pack(">HHH8sH", kind, device, len(address), address, protocol) + payload


def sll2(
    payload: bytes, protocol: int | None = None, *, kind: int = 0, device: int = 1, address: bytes = mac(1)
) -> bytes:
    protocol = ethertype_of(payload) if protocol is None else protocol
    return struct.pack(">HHIHBB8s", protocol, 0, 3, device, kind, len(address), address) + payload


def chdlc(payload: bytes, protocol: int | None = None, address: int = 0x0F) -> bytes:
    return struct.pack(">BBH", address, 0, ethertype_of(payload) if protocol is None else protocol) + payload


def family(payload: bytes, number: int, order: str) -> bytes:
    """Prepend the 4-byte address family of BSD loopbacks."""
    return struct.pack(order + "I", number) + payload
