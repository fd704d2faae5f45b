"""IPLayer reads version, protocol, addresses and ports of a header that may be cut anywhere."""

from __future__ import annotations

import itertools
import random
import socket
import struct
from typing import NamedTuple

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, IPLayer, View
from slimcap.mock import build_packet
from support.packets import ip_layer_of

# ---- packets, and what is known of them


ANY = b"\x12\x34\x56\x78" * 10  # what follows the ports
PORTS = 4660, 22136  # 0x1234 0x5678
HAVE_PORTS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udp_lite": 136}
HAVE_NONE = {"icmp": 1, "igmp": 2, "gre": 47, "esp": 50, "icmpv6": 58, "no_next": 59, "ospf": 89, "raw": 255}
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
SRC4, DST4, SRC6, DST6 = "192.0.2.10", "198.51.100.80", "2001:db8::10", "2001:db8:80::80"


class Known(NamedTuple):
    """An IP packet, and the values that it was built with."""

    data: bytes
    version: int
    chain: list[tuple[int, int]]  # protocol and offset of each header after the IP header
    has_ports: bool

    def facts_at(self, length):
        """Return the expected properties of an IPLayer of the first `length` bytes."""
        version = self.version if length else 0
        names, fixed, addresses = (9, 20, (SRC4, DST4)) if self.version == 4 else (6, 40, (SRC6, DST6))
        if length < fixed:
            protocol = self.data[names] if length > names else 0
            return version, protocol, "", "", 0, 0, f"unknown IP layer type ({version})"
        # The first byte of an extension header names the next; it is read if eight bytes were captured.
        protocol, start = next((link for link in self.chain[:-1] if length < link[1] + 8), self.chain[-1])
        reached = self.has_ports and (protocol, start) == self.chain[-1]
        src_port, dst_port = (
            port if reached and length >= start + end else 0 for port, end in zip(PORTS, (2, 4), strict=True)
        )
        src, dst = addresses
        text = f"{src}:{src_port} => {dst}:{dst_port} (proto: {protocol})"
        return version, protocol, src, dst, src_port, dst_port, text


def facts_of(layer):
    return layer.type, layer.protocol, layer.src, layer.dst, layer.src_port, layer.dst_port, str(layer)


def ipv4(protocol, *, options=b"", header_words=None, fragment=0, body=ANY):
    words = 5 + len(options) // 4
    head = struct.pack(
        ">BBHHHBBH",
        *(4 << 4 | (words if header_words is None else header_words), 0, 20 + len(options) + len(body)),
        *(7, fragment, 64, protocol, 0),
    )
    head += socket.inet_aton(SRC4) + socket.inet_aton(DST4)
    has_ports = protocol in HAVE_PORTS.values() and fragment & 0x1FFF == 0
    return Known(head + options + body, 4, [(protocol, len(head + options))], has_ports)


def ipv6(protocol, extensions=(), *, body=ANY, later_fragment=False):
    """Build a packet; the first byte of each extension (number, bytes) becomes the next number."""
    numbers = [*(number for number, _ in extensions), protocol]
    chain, behind = [], b""
    for number, (_, content) in zip(numbers[1:], extensions, strict=True):
        chain.append((numbers[len(chain)], 40 + len(behind)))
        behind += bytes([number]) + content[1:]
    chain.append((protocol, 40 + len(behind)))
    head = struct.pack(">IHBB", 6 << 28 | 0x0AB12345, len(behind + body), numbers[0], 64)
    head += socket.inet_pton(socket.AF_INET6, SRC6) + socket.inet_pton(socket.AF_INET6, DST6)
    has_ports = protocol in HAVE_PORTS.values() and not later_fragment
    return Known(head + behind + body, 6, chain, has_ports)


def extension(number, units=0):
    """Build hop-by-hop options, destination options or a routing header of 8 + 8 * units bytes."""
    return number, bytes([0xEE, units]) + bytes(range(6 + 8 * units))


def fragment(offset=0, more=1):
    return FRAGMENT, struct.pack(">BBHI", 0xEE, 0xEE, offset << 3 | more, 0x01020304)


def authentication(words=4):
    """Build an authentication header; its length field counts words of 4 bytes, minus 2 (RFC 4302)."""
    return AUTHENTICATION, bytes([0xEE, words - 2]) + bytes(range(4 * words - 2))


EVERY_EXTENSION = [
    extension(HOP_BY_HOP),
    extension(DESTINATION, 2),
    extension(ROUTING, 3),
    fragment(),
    authentication(6),
    extension(DESTINATION),
]
KNOWN = {
    **{f"ipv4_{name}": ipv4(number) for name, number in (HAVE_PORTS | HAVE_NONE).items()},
    **{f"ipv4_options_{n}": ipv4(6, options=bytes(range(n))) for n in (4, 12, 40)},
    # A length below the minimum counts as the minimum.
    **{f"ipv4_header_words_{n}": ipv4(17, header_words=n) for n in range(5)},
    "ipv4_dont_fragment": ipv4(6, fragment=0x4000),
    "ipv4_first_fragment": ipv4(6, fragment=0x2000),
    "ipv4_second_fragment": ipv4(6, fragment=0x2001),
    "ipv4_last_fragment": ipv4(17, fragment=0x1FFF, options=bytes(8)),
    "ipv4_bare": ipv4(6, body=b""),
    **{f"ipv6_{name}": ipv6(number) for name, number in (HAVE_PORTS | HAVE_NONE).items()},
    **{
        f"ipv6_{name}_{units}": ipv6(6, [extension(number, units)])
        for name, number in (("hop_by_hop", HOP_BY_HOP), ("routing", ROUTING), ("destination", DESTINATION))
        for units in (0, 1, 9)
    },
    **{f"ipv6_authentication_{words}": ipv6(17, [authentication(words)]) for words in (3, 4, 6, 7)},
    "ipv6_atomic_fragment": ipv6(17, [fragment(more=0)]),
    "ipv6_first_fragment": ipv6(6, [fragment()]),
    "ipv6_second_fragment": ipv6(6, [fragment(1)], later_fragment=True),
    "ipv6_last_fragment": ipv6(132, [extension(DESTINATION), fragment(0x1FFF, 0)], later_fragment=True),
    # After the header of a later fragment comes data, even if that continues an extension header.
    "ipv6_later_fragment_of_options": ipv6(DESTINATION, [fragment(9)], later_fragment=True),
    "ipv6_every_extension": ipv6(6, EVERY_EXTENSION),
    "ipv6_every_extension_icmp": ipv6(58, EVERY_EXTENSION),
    "ipv6_every_extension_bare": ipv6(6, EVERY_EXTENSION, body=b""),
    "ipv6_many_extensions": ipv6(17, [extension(DESTINATION)] * 31),
}


# ---- tests


@pytest.mark.parametrize("name", KNOWN)
def test_ip_layer_reads_no_byte_after_a_cut(name):
    """The rest of the packet is in memory right after each cut."""
    known = KNOWN[name]
    records = np.zeros(len(known.data) + 1, RECORD_DTYPE)
    records["cap_len"] = range(len(records))
    batch = Batch(records, known.data)
    for length in range(len(records)):
        assert facts_of(batch.ip_layer(length)) == known.facts_at(length), length


@pytest.mark.parametrize("name", KNOWN)
def test_known_packets_have_addresses_and_ports(name):
    """Otherwise the table above would compare zeros."""
    known = KNOWN[name]
    version, protocol, src, dst, src_port, dst_port, text = known.facts_at(len(known.data))
    assert (version, protocol) == (int(name[3]), known.chain[-1][0])
    assert (src_port, dst_port) == (PORTS if known.has_ports and not name.endswith("bare") else (0, 0))
    assert text.startswith(f"{src}:{src_port} => {dst}")


def test_too_many_extension_headers_are_not_followed():
    known = ipv6(6, [extension(DESTINATION)] * 100)
    layer = ip_layer_of(known.data)
    assert (layer.protocol, layer.src_port, layer.dst_port) == (DESTINATION, 0, 0)


def test_an_extension_header_longer_than_the_packet_hides_the_ports():
    layer = ip_layer_of(ipv6(6, [(ROUTING, bytes([0xEE, 255]) + bytes(6))]).data)
    assert (layer.protocol, layer.src_port, layer.dst_port) == (6, 0, 0)


def test_options_longer_than_the_packet_hide_the_ports():
    layer = ip_layer_of(ipv4(6, header_words=15, body=bytes(39)).data)
    assert (layer.protocol, layer.src, layer.src_port) == (6, SRC4, 0)


def test_str_is_that_of_the_go_library():
    layer = build_packet("1.2.3.4", "6.7.8.9", 5, 80, 6).ip_layer
    assert str(layer) == "1.2.3.4:5 => 6.7.8.9:80 (proto: 6)"
    layer = build_packet("2001:db8::1", "::2", 5, 80, 17).ip_layer
    assert str(layer) == "2001:db8::1:5 => ::2:80 (proto: 17)"


@pytest.mark.parametrize(("family", "size", "start"), [(socket.AF_INET, 4, 12), (socket.AF_INET6, 16, 8)])
def test_addresses_are_written_as_by_the_c_library(family, size, start):
    chance = random.Random(size)
    addresses = [bytes(16), b"\xff" * 16, bytes(15) + b"\1", bytes(10) + b"\xff" * 6, b"\xfe\x80" + bytes(14)]
    addresses += [
        bytes(chance.choice((0, 0, 1, chance.randrange(256))) for _ in range(16)) for _ in range(300)
    ]
    for src, dst in itertools.pairwise(address[-size:] for address in addresses):
        layer = ip_layer_of(bytes([0x45 if size == 4 else 0x60]) + bytes(start - 1) + src + dst)
        assert (layer.src, layer.dst) == (socket.inet_ntop(family, src), socket.inet_ntop(family, dst))
        assert str(layer) == f"{layer.src}:0 => {layer.dst}:0 (proto: 0)"


@pytest.mark.parametrize("version", sorted(set(range(16)) - {4, 6}))
def test_other_versions_are_unknown(version):
    layer = ip_layer_of(bytes([version << 4]) + bytes(80))
    assert facts_of(layer) == (version, 0, "", "", 0, 0, f"unknown IP layer type ({version})")


def noise(chance):
    """Return random bytes, with a known version and often a known protocol."""
    content = bytearray(chance.randbytes(chance.randrange(1, 90)))
    content[0] = chance.choice((0x45, 0x4F, 0x60))
    at = 6 if content[0] == 0x60 else 9
    if len(content) > at and chance.random() < 0.7:
        content[at] = chance.choice((HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, 6, 17))
    return bytes(content)


def test_random_bytes_give_values_that_are_in_them():
    chance = random.Random(4)
    seen_ports = 0
    for _ in range(3000):
        content = noise(chance)
        version, protocol, src, dst, src_port, dst_port, text = facts_of(ip_layer_of(content))
        assert version == content[0] >> 4
        assert protocol in content or protocol == 0
        assert all(port == 0 or struct.pack(">H", port) in content for port in (src_port, dst_port))
        assert bool(src) == bool(dst) == (len(content) >= {4: 20, 6: 40}[version])
        known = f"{src}:{src_port} => {dst}:{dst_port} (proto: {protocol})"
        assert text == (known if src else f"unknown IP layer type ({version})")
        seen_ports += bool(dst_port)
    assert seen_ports > 100


def test_a_slice_of_an_ip_layer_is_a_view():
    layer = ip_layer_of(KNOWN["ipv4_tcp"].data)
    assert type(layer[:20]) is View
    assert layer[:20] == KNOWN["ipv4_tcp"].data[:20]


def test_an_ip_layer_without_init_has_no_header():
    assert facts_of(IPLayer.__new__(IPLayer)) == (0, 0, "", "", 0, 0, "unknown IP layer type (0)")
