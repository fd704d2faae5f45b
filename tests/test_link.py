"""Interfaces without privileges: names, links of files, and answers of the kernel that make no sense."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import pickle
import socket
import struct

import make_samples
import pytest

import slimcap
from slimcap import NO_IP, Link, LinkDrops, LinkError, LinkNotFound
from slimcap.source import link as module
from slimcap.source.link import links
from slimcap.source.rtnetlink import DropCounter

GOOD = [name for name in make_samples.SAMPLES if not name.startswith("bad/")]


def test_loopback():
    lo = Link("lo")
    assert (lo.name, lo.index, lo.type, lo.arphrd) == ("lo", socket.if_nametoindex("lo"), 1, 772)
    assert (lo.type_name, lo.ip_offset, lo.is_vlan) == ("ETHERNET", 14, False)
    assert isinstance(lo.is_up, bool)
    assert isinstance(lo.addresses, tuple)


def test_links_are_those_of_this_host():
    found = links()
    assert {(link.index, link.name) for link in found} == set(socket.if_nameindex())
    assert Link("lo") in found
    assert all(link == Link(link.name) for link in found)


ODD_NAMES = ["", "nosuchinterface"[:14], "sixteen-bytes-xx", "x" * 5000, "lo\0", "\0lo", "\0", "lo\0x", "lo "]
ODD_NAMES += ["LO", "\u00fc", "\u20ac" * 5, "\u20ac" * 6, "\ud800", "\udcff"]
ODD_NAMES += ["lo/", "../lo", ".", "..", "lo:1", "a b", "%d"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_no_interface(name):
    with pytest.raises(LinkNotFound, match="`ip link`") as caught:
        Link(name)
    assert caught.value.errno == errno.ENODEV
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, LinkError)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", [None, 1, b"lo", ["lo"]])
def test_names_of_another_type(name):
    with pytest.raises(TypeError, match="str"):
        Link(name)


def test_index_and_type_come_together():
    with pytest.raises(TypeError, match="an index and a type"):
        Link("lo", 1)
    with pytest.raises(TypeError, match="an index and a type"):
        Link("lo", type=1)
    with pytest.raises(TypeError):
        Link()


def test_link_of_a_file():
    link = Link("eth0", 3, 113)
    assert (link.name, link.index, link.type, link.arphrd) == ("eth0", 3, 113, None)
    assert link == Link("eth0", 3, 113) == Link(name="eth0", index=3, type=113)
    assert link != Link("eth0", 3, 1)
    assert repr(link) == "Link(name='eth0', index=3, type=113, arphrd=None)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        link.name = "eth1"


@pytest.mark.parametrize("name", ["is_up", "is_vlan", "addresses"])
def test_the_kernel_is_not_asked_about_the_link_of_a_file(name):
    link = Link("lo", 1, 1)
    with pytest.raises(LinkNotFound, match="'lo' is in a capture file") as caught:
        getattr(link, name)
    assert caught.value.errno == errno.ENODEV


def test_ip_offset():
    there = {1: 14, 101: 0, 228: 0, 229: 0, 12: 0, 14: 0, 0: 4, 108: 4, 113: 16, 276: 20}
    for linktype in range(300):
        assert Link("x", 0, linktype).ip_offset == there.get(linktype, NO_IP)


def test_ip_offset_is_the_first_in_the_samples(sample_of):
    """Of every link type that some sample has: tags and tunnels come on top."""
    first = {}
    for name in GOOD:
        linktype = sample_of(name).linktype & 0xFFFF
        offsets = slimcap.read(sample_of(name).path)["ip_offset"]
        first[linktype] = min(first.get(linktype, NO_IP), *offsets.tolist(), NO_IP)
    known = {linktype: at for linktype, at in first.items() if Link("x", 0, linktype).ip_offset != NO_IP}
    assert len(known) > 5
    assert known == {linktype: Link("x", 0, linktype).ip_offset for linktype in known}


@pytest.mark.parametrize("make", [lambda: Link("lo"), lambda: Link("a file", 0, 1)])
def test_copies_are_equal(make):
    link = make()
    for same in (copy.copy(link), copy.deepcopy(link), pickle.loads(pickle.dumps(link))):
        assert same == link
        assert hash(same) == hash(link)
    assert dataclasses.replace(link) == link
    assert eval(repr(link)) == link


# ---- what the kernel answers


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def interface(*attributes, index=7, arphrd=1, flags=1):
    return struct.pack("=BxHiII", 0, arphrd, index, flags, 0) + b"".join(attributes)


def message(kind, body, flags=0):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body + bytes(-len(body) % 4)


DONE = message(3, bytes(4))
NAME = attribute(3, b"eth0.5\0")
VLAN = interface(NAME, attribute(0x8000 | 18, attribute(1, b"vlan\0") + attribute(2, b"")))


class Kernel:
    """Stands in for the socket: gives the datagrams it was made of."""

    def __init__(self, *datagrams):
        self.datagrams = list(datagrams)
        self.asked = 0

    def __call__(self, *_arguments):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def close(self):
        pass

    def send(self, _data):
        self.asked += 1

    def recvmsg(self, size):
        data = self.datagrams.pop(0)
        if isinstance(data, OSError):
            raise data
        return data[:size], [], socket.MSG_TRUNC if len(data) > size else 0, (0, 0)


@pytest.fixture
def kernel(monkeypatch):
    """`kernel(datagram, …)` is what is asked from then on."""

    def put(*datagrams):
        made = Kernel(*datagrams)
        monkeypatch.setattr(socket, "socket", made)
        return made

    return put


def test_vlan(kernel):
    kernel(message(16, VLAN), message(16, VLAN), message(16, interface(NAME)))
    link = Link("eth0.5")
    assert link == Link("eth0.5", 7, 1, 1)
    assert link.is_vlan
    assert not link.is_vlan


def test_answer_cut_at_every_byte(kernel):
    whole = message(16, VLAN)
    for cut in range(len(whole)):
        kernel(whole[:cut])
        with pytest.raises(LinkError, match=r"'eth0\.5'.*makes no sense"):
            Link("eth0.5")


def test_content_cut_at_every_byte(kernel):
    """Messages that are whole, of an interface that is not: refused, but for a rest that is no attribute."""
    refused = []
    for cut in range(len(VLAN)):
        kernel(message(16, VLAN[:cut]))
        with contextlib.suppress(LinkError):
            assert Link("eth0.5").index == 7
            continue
        refused.append(cut)
    name = range(len(interface()) + 4, len(interface()) + len(NAME) - 1)  # where the name is cut
    assert {*range(16), *name} <= {*refused}
    assert len(interface(NAME)) not in refused


@pytest.mark.parametrize("size", [0, 1, 3, 9, 255, 65535])
def test_attribute_of_a_size_that_cannot_be(kernel, size):
    kernel(message(16, interface(struct.pack("=HH", size, 3) + b"abcd")))
    with pytest.raises(LinkError, match="makes no sense"):
        Link("eth0")


@pytest.mark.parametrize("size", [0, 15, 1 << 16, (1 << 32) - 1])
def test_message_of_a_size_that_cannot_be(kernel, size):
    kernel(struct.pack("=IHHII", size, 16, 0, 1, 0) + VLAN)
    with pytest.raises(LinkError, match="makes no sense"):
        links()


def test_datagrams_that_are_too_long_or_empty(kernel):
    for datagram in (bytes(1 << 17), b""):
        kernel(datagram)
        with pytest.raises(LinkError, match="makes no sense"):
            links()


def test_acknowledgement_is_no_answer(kernel):
    kernel(message(2, bytes(20)))
    with pytest.raises(LinkError, match="makes no sense"):
        Link("eth0")


@pytest.mark.parametrize("code", [errno.EPERM, errno.EBUSY])
def test_other_errors_keep_their_number(kernel, code):
    for answer in (message(2, struct.pack("=i", -code) + bytes(16)), OSError(code, "text")):
        kernel(answer)
        with pytest.raises(LinkError, match="'eth0'") as caught:
            Link("eth0")
        assert caught.value.errno == code
        assert not isinstance(caught.value, LinkNotFound)
    kernel(message(3, struct.pack("=i", -code)))  # the end of a list, which says why
    with pytest.raises(LinkError) as caught:
        links()
    assert caught.value.errno == code


def test_a_list_that_changed_meanwhile_is_asked_for_again(kernel):
    one, two = interface(attribute(3, b"a\0"), index=9), interface(attribute(3, b"b\0"), index=2)
    changed = message(16, one, 0x10)
    asked = kernel(changed + DONE, changed, DONE, message(16, one) + message(16, two), DONE)
    assert [link.name for link in links()] == ["b", "a"]
    assert asked.asked == 3
    asked = kernel(*[changed + DONE] * 20)
    assert [link.name for link in links()] == ["a"]
    assert asked.asked == 10


def test_addresses_that_are_none(kernel):
    """What has a length, a prefix or a family that IP does not have is left out; a cut message is refused."""

    def address(family, prefix, value, index=7):
        return message(20, struct.pack("=BBBBi", family, prefix, 0, 0, index) + attribute(2, value))

    there = message(16, interface(attribute(3, b"eth0\0")))
    odd = [
        address(socket.AF_INET, 24, bytes(3)),
        address(socket.AF_INET, 33, bytes(4)),
        address(socket.AF_INET6, 129, bytes(16)),
        address(socket.AF_INET6, 64, bytes(4)),
        address(28, 0, b"\1\0"),  # MPLS
        address(socket.AF_INET, 24, b"\1\1\1\1", index=8),
        message(20, struct.pack("=BBBBi", socket.AF_INET, 24, 0, 0, 7)),
    ]
    link = Link("eth0", 7, 1, 1)
    kernel(there, b"".join(odd) + address(socket.AF_INET, 24, b"\x0a\0\0\1"), DONE)
    assert [str(found) for found in link.addresses] == ["10.0.0.1/24"]
    kernel(there, message(20, bytes(7)), DONE)
    with pytest.raises(LinkError, match="makes no sense"):
        _ = link.addresses


def test_interface_without_a_name_or_of_an_unknown_type(kernel):
    kernel(message(16, interface(arphrd=4711)))
    link = Link("eth0")
    assert (link.name, link.type, link.arphrd, link.ip_offset) == ("", module.UNKNOWN, 4711, NO_IP)


# ---- drops


def counters(*pairs):
    """struct rtnl_link_stats64 with these values at these places."""
    values = [0] * 24
    for at, value in pairs:
        values[at] = value
    return attribute(23, struct.pack("=24Q", *values))


def test_drops(kernel):
    first, later = counters((6, 10), (14, 20), (15, 30)), counters((6, 11), (7, 99), (14, 22), (15, 33))
    gone = OSError(errno.ENODEV, "gone")
    kernel(message(16, interface(NAME, first)), message(16, interface(NAME, later)), gone, gone)
    drops = DropCounter(7)
    assert drops.read() == LinkDrops(rx_dropped=1, rx_fifo_errors=2, rx_missed_errors=3)
    assert drops.read() == (1, 2, 3)
    drops.close()


def test_drops_of_a_kernel_that_does_not_say(kernel):
    cut = interface(NAME, attribute(23, bytes(60)))
    kernel(*(message(16, answer) for answer in (interface(NAME), cut, b"", cut)))
    drops = DropCounter(7)
    assert drops.read() == (0, 0, 0)
    assert drops.read() == (0, 0, 0)
    drops.close()


def test_drops_of_no_interface():
    with pytest.raises(LinkError):
        DropCounter(0x7FFFFFFF)


def test_drops_of_a_closed_counter():
    drops = DropCounter(Link("lo").index)
    drops.close()
    drops.close()
    assert len(drops.read()) == 3
