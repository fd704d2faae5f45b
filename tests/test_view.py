"""View, which behaves like bytes, and IPLayer, which reads its header."""

import array
import copy
import ctypes
import gc
import io
import itertools
import mmap
import operator
import pickle
import random
import socket
import struct
import sys
from typing import NamedTuple

import numpy as np
import pytest

from slimcap import RECORD_DTYPE, Batch, IPLayer, Lease, Packet, View, build_packet, open_file

MAX = sys.maxsize
LENGTHS = (0, 1, 2, 15, 16, 17, 300)
CONTENT = random.Random(1).randbytes(max(LENGTHS))


def batch_of(*payloads, ip_offset=0):
    """A batch of these payloads, with bytes between them that belong to nobody."""
    data = bytearray(b"\xee" * 7)
    records = np.zeros(len(payloads), RECORD_DTYPE)
    for record, payload in zip(records, payloads, strict=True):
        record["offset"], record["cap_len"], record["total_len"] = len(data), len(payload), len(payload)
        record["ip_offset"] = ip_offset
        data += payload + b"\xee" * 7
    return Batch(records, bytes(data))


def view_of(content):
    return batch_of(content).payload(0)


def ip_layer_of(content):
    return batch_of(content).ip_layer(0)


@pytest.fixture(params=[view_of, ip_layer_of], ids=["View", "IPLayer"])
def make(request):
    return request.param


# ---- View: as bytes would


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "operation",
    [
        len,
        bytes,
        bytearray,
        list,
        tuple,
        sum,
        bool,
        hash,
        lambda content: [*reversed(content)],
        lambda content: [*enumerate(content)],
        lambda content: memoryview(content).tobytes(),
        lambda content: memoryview(content).cast("c").tolist(),
        lambda content: np.frombuffer(content, "u1").tolist() if content else [],
        lambda content: b"<" + content + b">",
        lambda content: b"-".join([content, content]),
        lambda content: io.BytesIO(content).getvalue(),
        lambda content: int.from_bytes(content, "big"),
        lambda content: [byte in content for byte in range(256)],
        lambda content: struct.unpack_from("<H", content) if len(content) > 1 else None,
    ],
)
def test_as_bytes_would(make, operation, length):
    content = CONTENT[:length]
    assert operation(make(content)) == operation(content)


@pytest.mark.parametrize("arguments", [(), (":",), (b"-",), (" ", 2), (" ", -3)], ids=str)
@pytest.mark.parametrize("length", LENGTHS)
def test_hex(make, length, arguments):
    content = CONTENT[:length]
    assert make(content).hex(*arguments) == content.hex(*arguments)


def test_hex_by_keyword_and_tobytes(make):
    assert make(CONTENT).hex(sep=":", bytes_per_sep=4) == CONTENT.hex(":", 4)
    assert make(CONTENT).tobytes() == CONTENT
    assert type(make(CONTENT).tobytes()) is bytes


@pytest.mark.parametrize("length", LENGTHS)
def test_slices(make, length):
    """Every combination of interesting bounds and steps, then random ones."""
    content = CONTENT[:length]
    view = make(content)
    chance = random.Random(length)
    bounds = [None, 0, 1, 2, length // 2, length - 1, length, length + 1, -1, -length, -length - 1]
    bounds += [MAX, -MAX - 1, 2**70, -(2**70)]
    steps = [None, 1, 2, 3, -1, -2, MAX, -MAX - 1, 2**70]
    slices = [slice(*three) for three in itertools.product(bounds, bounds, steps)]
    slices += [slice(*(chance.randint(-400, 400) or 1 for _ in range(3))) for _ in range(300)]
    for key in slices:
        part = view[key]
        assert bytes(part) == content[key], key
        # Without a step nothing is copied.
        assert type(part) is (View if key.step in (None, 1) else bytes), key


def test_slices_of_slices(make):
    chance = random.Random(2)
    for _ in range(200):
        view, content = make(CONTENT), CONTENT
        while content:
            start, stop = chance.randint(-len(content), len(content)), chance.randint(0, len(content))
            view, content = view[start:stop], content[start:stop]
            assert view == content
            if chance.random() < 0.2:
                break


def test_a_slice_shows_the_same_memory(make):
    view = make(CONTENT)
    whole, part = (np.frombuffer(v, "u1").ctypes.data for v in (view, view[20:][10:50]))
    assert part == whole + 30


@pytest.mark.parametrize("as_index", [int, np.int64, np.int8], ids=["int", "int64", "int8"])
def test_indices(make, as_index):
    content = CONTENT[:50]
    view = make(content)
    for index in range(-60, 60):
        if -50 <= index < 50:
            assert view[as_index(index)] == content[index]
            assert type(view[index]) is int
        else:
            with pytest.raises(IndexError):
                view[as_index(index)]


@pytest.mark.parametrize("index", [0, -1, MAX, -MAX - 1, 2**70, -(2**70)])
def test_an_empty_view_has_no_index(make, index):
    with pytest.raises(IndexError):
        make(b"")[index]


@pytest.mark.parametrize("key", ["1", 1.0, None, (0, 1), b"1", [0], ..., np.array([0, 1])], ids=str)
def test_no_such_keys(make, key):
    with pytest.raises(TypeError):
        make(CONTENT)[key]


@pytest.mark.parametrize("key", [slice("a", None), slice(None, 1.5), slice(None, None, "b")], ids=str)
def test_no_such_slices(make, key):
    with pytest.raises(TypeError):
        make(CONTENT)[key]


def test_a_step_of_zero(make):
    with pytest.raises(ValueError, match="step"):
        make(CONTENT)[::0]


# ---- View: comparing

SAME = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "View": view_of,
    "IPLayer": ip_layer_of,
    "Lease": Lease,
    "array": lambda content: array.array("B", content),
    "ctypes": lambda content: (ctypes.c_ubyte * len(content))(*content),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("length", LENGTHS)
def test_equality(make, length, kind):
    content = CONTENT[:length]
    view, same, longer = make(content), SAME[kind](content), SAME[kind](content + b"\0")
    assert (view == same, same == view, view != same, same != view) == (True, True, False, False)
    assert (view == longer, longer == view, view != longer, longer != view) == (False, False, True, True)
    if length:
        other = SAME[kind](content[:-1] + bytes([content[-1] ^ 1]))
        assert (view == other, other == view, view != other, other != view) == (False, False, True, True)


def released(buffer):
    buffer.release()
    return buffer


def closed_mmap():
    area = mmap.mmap(-1, 10)
    area.close()
    return area


UNEQUAL = {
    "None": lambda: None,
    "int": lambda: 0,
    "str": lambda: "text",
    "tuple": lambda: tuple(CONTENT),
    "packet_view": lambda: batch_of(CONTENT)[0],
    "released_memoryview": lambda: released(memoryview(CONTENT)),
    "released_lease": lambda: released(Lease(CONTENT)),
    "closed_mmap": closed_mmap,
}


@pytest.mark.parametrize("kind", UNEQUAL)
def test_nothing_else_is_equal(make, kind):
    # None of these gives a buffer of bytes: as with bytes, that is no error.
    view, other = make(CONTENT), UNEQUAL[kind]()
    assert (view == other, other == view, view != other, other != view) == (False, False, True, True)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_views_have_no_order(make, compare):
    for other in (CONTENT, make(CONTENT), 5):
        with pytest.raises(TypeError, match="not supported"):
            compare(make(CONTENT), other)


def test_a_view_finds_its_bytes_in_a_dict(make):
    found = {CONTENT[:n]: n for n in range(50)}
    assert [found[make(CONTENT[:n])] for n in range(50)] == list(range(50))
    assert len({make(CONTENT), view_of(CONTENT), CONTENT}) == 1


@pytest.mark.parametrize(
    ("length", "shown"),
    [(0, "0 bytes: "), (3, "3 bytes: 00 01 02"), (17, f"17 bytes: {bytes(range(16)).hex(' ')} …")],
)
def test_repr(make, length, shown):
    view = make(bytes(range(length)))
    assert repr(view) == f"<{type(view).__name__}: {shown}>"


# ---- View: read-only


def test_items_and_attributes_cannot_be_set(make):
    view = make(CONTENT)
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises(TypeError):
        del view[0]
    with pytest.raises(AttributeError):
        view.note = 1
    with pytest.raises(TypeError, match="read-only"):
        memoryview(view)[0] = 1


def test_arrays_of_it_cannot_be_made_writeable(make):
    numbers = np.frombuffer(make(CONTENT), "u1")
    assert not numbers.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        numbers.flags.writeable = True


@pytest.mark.parametrize(
    "write",
    [lambda view: (ctypes.c_char * 2).from_buffer(view), lambda view: io.BytesIO(b"no").readinto(view)],
    ids=["ctypes", "readinto"],
)
def test_nobody_gets_a_writable_buffer(make, write):
    view = make(CONTENT)
    with pytest.raises((TypeError, BufferError)):
        write(view)
    assert view == CONTENT


# ---- View: what it does not do


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickling(make, protocol):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make(CONTENT), protocol)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_no_copying_but_by_bytes(make, duplicate):
    with pytest.raises(TypeError, match=r"bytes\(view\)"):
        duplicate(make(CONTENT))


@pytest.mark.parametrize("kind", [View, IPLayer])
def test_nobody_else_makes_views(kind):
    with pytest.raises(TypeError, match="made by"):
        kind()
    with pytest.raises(TypeError):
        kind(b"bytes")


@pytest.mark.parametrize("kind", [View, IPLayer])
def test_without_init_it_is_empty(kind):
    view = kind.__new__(kind)
    assert (len(view), bytes(view), view[:], view[5:], view[::-1], view.hex(), list(view)) == (
        *(0, b"", b"", b"", b"", "", []),
    )
    assert memoryview(view).nbytes == 0
    assert (view == b"", hash(view) == hash(b"")) == (True, True)
    with pytest.raises(IndexError):
        view[0]
    if kind is IPLayer:
        assert facts_of(view) == (0, 0, "", "", 0, 0, "unknown IP layer type (0)")


def test_subclasses_do_not_disturb_the_free_list():
    class Slotted(View):
        __slots__ = ()

    class Layer(IPLayer):
        pass

    for kind in (Slotted, Layer):
        kept = []
        for number in range(300):
            made = kind.__new__(kind)
            assert type(made) is kind
            kept.append(view_of(bytes([number & 0xFF])))
            del made
        assert {type(view) for view in kept} == {View}
        assert [view[0] for view in kept] == [number & 0xFF for number in range(300)]


# ---- IPLayer: what a header says

ANY = b"\x12\x34\x56\x78" * 10  # what follows the ports
PORTS = 4660, 22136  # 0x1234 0x5678
HAVE_PORTS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udp_lite": 136}
HAVE_NONE = {"icmp": 1, "igmp": 2, "gre": 47, "esp": 50, "icmpv6": 58, "no_next": 59, "ospf": 89, "raw": 255}
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
SRC4, DST4, SRC6, DST6 = "192.0.2.10", "198.51.100.80", "2001:db8::10", "2001:db8:80::80"


class Known(NamedTuple):
    """An IP packet, and what is known of it because it was built here."""

    data: bytes
    version: int
    chain: list[
        tuple[int, int]
    ]  # protocol and start of each header behind the IP header; the upper layer last
    has_ports: bool

    def facts_at(self, length):
        """What an IPLayer is to say of the first `length` bytes."""
        version = self.version if length else 0
        names, fixed, addresses = (9, 20, (SRC4, DST4)) if self.version == 4 else (6, 40, (SRC6, DST6))
        if length < fixed:
            protocol = self.data[names] if length > names else 0
            return version, protocol, "", "", 0, 0, f"unknown IP layer type ({version})"
        # An extension header names the next one in its first byte, and is read once eight are there.
        protocol, start = next((link for link in self.chain[:-1] if length < link[1] + 8), self.chain[-1])
        reached = self.has_ports and (protocol, start) == self.chain[-1]
        sport, dport = (
            port if reached and length >= start + end else 0 for port, end in zip(PORTS, (2, 4), strict=True)
        )
        src, dst = addresses
        text = f"{src}:{sport} => {dst}:{dport} (proto: {protocol})"
        return version, protocol, src, dst, sport, dport, text


def facts_of(layer):
    return layer.type, layer.protocol, layer.src, layer.dst, layer.sport, layer.dport, str(layer)


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
    """`extensions` are pairs: a header's number, and its bytes but for the first, which names the next."""
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
    """Hop-by-hop options, routing header or destination options: 8 bytes and `units` times 8 more."""
    return number, bytes([0xEE, units]) + bytes(range(6 + 8 * units))


def fragment(offset=0, more=1):
    return FRAGMENT, struct.pack(">BBHI", 0xEE, 0xEE, offset << 3 | more, 0x01020304)


def authentication(words=4):
    """RFC 4302: its length counts words of 4 bytes, less 2."""
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
    # A length below the minimum is taken for the minimum.
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
    # Behind a later fragment's header is data, even if it was the rest of an extension header.
    "ipv6_later_fragment_of_options": ipv6(DESTINATION, [fragment(9)], later_fragment=True),
    "ipv6_every_extension": ipv6(6, EVERY_EXTENSION),
    "ipv6_every_extension_icmp": ipv6(58, EVERY_EXTENSION),
    "ipv6_every_extension_bare": ipv6(6, EVERY_EXTENSION, body=b""),
    "ipv6_many_extensions": ipv6(17, [extension(DESTINATION)] * 31),
}


@pytest.mark.parametrize("name", KNOWN)
def test_ip_layer_cut_anywhere(name):
    """The rest of the packet lies right behind each cut: whoever reads on would find what is asked for."""
    known = KNOWN[name]
    records = np.zeros(len(known.data) + 1, RECORD_DTYPE)
    records["cap_len"] = range(len(records))
    batch = Batch(records, known.data)
    for length in range(len(records)):
        assert facts_of(batch.ip_layer(length)) == known.facts_at(length), length


@pytest.mark.parametrize("name", KNOWN)
def test_known_packets_tell_something(name):
    """That the table above does not compare nothings."""
    known = KNOWN[name]
    version, protocol, src, dst, sport, dport, text = known.facts_at(len(known.data))
    assert (version, protocol) == (int(name[3]), known.chain[-1][0])
    assert (sport, dport) == (PORTS if known.has_ports and not name.endswith("bare") else (0, 0))
    assert text.startswith(f"{src}:{sport} => {dst}")


def test_too_many_extension_headers_are_not_followed():
    known = ipv6(6, [extension(DESTINATION)] * 100)
    layer = ip_layer_of(known.data)
    assert (layer.protocol, layer.sport, layer.dport) == (DESTINATION, 0, 0)


def test_an_extension_header_longer_than_the_packet():
    layer = ip_layer_of(ipv6(6, [(ROUTING, bytes([0xEE, 255]) + bytes(6))]).data)
    assert (layer.protocol, layer.sport, layer.dport) == (6, 0, 0)


def test_options_longer_than_the_packet():
    layer = ip_layer_of(ipv4(6, header_words=15, body=bytes(39)).data)
    assert (layer.protocol, layer.src, layer.sport) == (6, SRC4, 0)


def test_str_is_the_go_librarys():
    layer = build_packet("1.2.3.4", "6.7.8.9", 5, 80, 6).ip_layer
    assert str(layer) == "1.2.3.4:5 => 6.7.8.9:80 (proto: 6)"
    layer = build_packet("2001:db8::1", "::2", 5, 80, 17).ip_layer
    assert str(layer) == "2001:db8::1:5 => ::2:80 (proto: 17)"


@pytest.mark.parametrize(("family", "size", "start"), [(socket.AF_INET, 4, 12), (socket.AF_INET6, 16, 8)])
def test_addresses_as_the_c_library_writes_them(family, size, start):
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
    """Random bytes, but for a likely version and, often, a protocol that is looked into."""
    content = bytearray(chance.randbytes(chance.randrange(1, 90)))
    content[0] = chance.choice((0x45, 0x4F, 0x60))
    at = 6 if content[0] == 0x60 else 9
    if len(content) > at and chance.random() < 0.7:
        content[at] = chance.choice((HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, 6, 17))
    return bytes(content)


def test_ip_layers_of_noise():
    chance = random.Random(4)
    seen_ports = 0
    for _ in range(3000):
        content = noise(chance)
        version, protocol, src, dst, sport, dport, text = facts_of(ip_layer_of(content))
        assert version == content[0] >> 4
        assert protocol in content or protocol == 0
        assert all(port == 0 or struct.pack(">H", port) in content for port in (sport, dport))
        assert bool(src) == bool(dst) == (len(content) >= {4: 20, 6: 40}[version])
        known = f"{src}:{sport} => {dst}:{dport} (proto: {protocol})"
        assert text == (known if src else f"unknown IP layer type ({version})")
        seen_ports += bool(dport)
    assert seen_ports > 100


def test_a_part_of_an_ip_layer_is_a_plain_view():
    layer = ip_layer_of(KNOWN["ipv4_tcp"].data)
    assert type(layer[:20]) is View
    assert layer[:20] == KNOWN["ipv4_tcp"].data[:20]


# ---- lifetimes


def small(content=CONTENT[:60]):
    return Packet(bytes(6) + content)


def large():
    return Packet(bytes(6) + CONTENT)


def next_payload_into(source):
    return source.next_payload(bytearray(2000))[0]


OWNERS = {
    # Each drops what the view is of.
    "small_packet": lambda path: small().payload,
    "large_packet": lambda path: large().payload,
    "packet_ip_layer": lambda path: large().ip_layer,
    "packet_copy": lambda path: small().copy().payload,
    "packet_slice": lambda path: small().payload[3:][:9],
    "memoryview_of_small_packet": lambda path: memoryview(small()),
    "memoryview_of_large_packet": lambda path: memoryview(large()),
    "payload_of_a_filled_packet": lambda path: Packet.from_payload(CONTENT, buf=small()).payload,
    "batch": lambda path: batch_of(CONTENT).payload(0),
    "batch_ip_layer": lambda path: batch_of(CONTENT, ip_offset=14).ip_layer(0),
    "batch_packet": lambda path: batch_of(CONTENT)[0].payload,
    "sub_batch": lambda path: batch_of(CONTENT, CONTENT[:50])[[1, 0]][1:].payload(0),
    "batch_copy": lambda path: batch_of(CONTENT).copy()[0].ip_layer,
    "memoryview_of_batch": lambda path: memoryview(batch_of(CONTENT).payload(0)),
    "numpy_of_batch": lambda path: np.frombuffer(batch_of(CONTENT).payload(0), "u1"),
    "iterator": lambda path: iter(batch_of(CONTENT).payload(0)),
    "source_batch": lambda path: open_file(path).next_batch().payload(3),
    "source_packet": lambda path: open_file(path).next_packet().ip_layer,
    "source_next": lambda path: next(open_file(path)).payload,
    "source_payload_into": lambda path: next_payload_into(open_file(path)),
    "source_ip_packet": lambda path: open_file(path).next_ip_packet()[0],
    "source_payload_zero_copy": lambda path: open_file(path).next_payload_zero_copy()[0],
    "source_ip_packet_zero_copy": lambda path: open_file(path).next_ip_packet_zero_copy()[0],
    "source_packet_fn": lambda path: open_file(path).next_packet_fn(lambda payload, *_: payload),
}


def churn(path):
    """Take memory of every kind that the views above had, and write to it."""
    noise = [Packet(b"\xaa" * n) for n in (6, 60, 154, 155, 306, 2006) for _ in range(100)]
    noise += [batch_of(b"\xaa" * n).copy() for n in (60, 300, 70_000) for _ in range(20)]
    noise += [source.next_batch() for source in [open_file(path) for _ in range(4)]]
    noise += [view_of(b"\xaa" * 60) for _ in range(100)]
    return noise


@pytest.mark.parametrize("owner", OWNERS)
def test_a_view_outlives_what_it_is_of(owner, data_path):
    path = data_path / "snaplen0.pcap"
    expected = bytes(OWNERS[owner](path))
    assert len(expected) > 8
    view = OWNERS[owner](path)
    gc.collect()
    assert churn(data_path / "mixed.pcap")
    assert bytes(view) == expected


def test_a_view_outlives_the_closed_source(data_path):
    with open_file(data_path / "mixed.pcap") as source:
        views = [source.next_payload_zero_copy()[0] for _ in range(50)]
    with open_file(data_path / "mixed.pcap") as source:
        expected = [bytes(next(source).payload) for _ in range(50)]
    del source
    assert churn(data_path / "snap96.pcap")
    assert views == expected
