"""Links and drop counters from answers of rtnetlink, valid and invalid, by a socket that is replaced."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

import pytest

from slimcap import NO_IP, Link, LinkError, LinkNotFound, LinkType
from slimcap.source.live.interfaces import links
from slimcap.source.live.rtnetlink import LinkCounter, LinkDrops


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
    """Replaces the netlink socket: receives the datagrams it was made of."""

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

    def getsockopt(self, _level, _option, size):
        return bytes(size)

    def send(self, _data):
        self.asked += 1

    def recvmsg(self, size):
        data = self.datagrams.pop(0)
        if isinstance(data, OSError):
            raise data
        return data[:size], [], socket.MSG_TRUNC if len(data) > size else 0, (0, 0)


@pytest.fixture
def kernel(monkeypatch):
    """`kernel(datagram, …)` replaces the kernel by one that gives these answers."""

    def put(*datagrams):
        made = Kernel(*datagrams)
        monkeypatch.setattr(socket, "socket", made)
        return made

    return put


def test_is_vlan_is_read_from_the_link_info(kernel):
    kernel(message(16, VLAN), message(16, VLAN), message(16, interface(NAME)))
    link = Link("eth0.5")
    assert link == Link("eth0.5", 7, 1, 1)
    assert link.is_vlan
    assert not link.is_vlan


def test_an_interface_without_a_name_and_of_an_unknown_type_is_accepted(kernel):
    kernel(message(16, interface(arphrd=4711)))
    link = Link("eth0")
    assert (link.name, link.type, link.arphrd, link.ip_offset) == ("", LinkType.USER0, 4711, NO_IP)


def test_a_dump_that_was_interrupted_is_repeated(kernel):
    one, two = interface(attribute(3, b"a\0"), index=9), interface(attribute(3, b"b\0"), index=2)
    changed = message(16, one, 0x10)
    asked = kernel(changed + DONE, changed, DONE, message(16, one) + message(16, two), DONE)
    assert [link.name for link in links()] == ["b", "a"]
    assert asked.asked == 3
    asked = kernel(*[changed + DONE] * 20)
    assert [link.name for link in links()] == ["a"]
    assert asked.asked == 10


def test_invalid_addresses_are_skipped(kernel):
    """Those with a length, prefix or family that IP does not have; a truncated message raises."""

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
    with pytest.raises(LinkError, match="malformed"):
        _ = link.addresses


@pytest.mark.parametrize("code", [errno.EPERM, errno.EBUSY])
def test_other_errors_keep_their_errno(kernel, code):
    for answer in (message(2, struct.pack("=i", -code) + bytes(16)), OSError(code, "text")):
        kernel(answer)
        with pytest.raises(LinkError, match="'eth0'") as caught:
            Link("eth0")
        assert caught.value.errno == code
        assert not isinstance(caught.value, LinkNotFound)
    kernel(message(3, struct.pack("=i", -code)))  # NLMSG_DONE with an error
    with pytest.raises(LinkError) as caught:
        links()
    assert caught.value.errno == code


# ---- invalid answers


def test_an_answer_truncated_at_any_byte_raises_link_error(kernel):
    whole = message(16, VLAN)
    for cut in range(len(whole)):
        kernel(whole[:cut])
        with pytest.raises(LinkError, match=r"'eth0\.5'.*malformed"):
            Link("eth0.5")


def test_a_message_truncated_within_its_attributes_raises_link_error(kernel):
    """The message header is valid. Less than an attribute at the end is ignored."""
    refused = []
    for cut in range(len(VLAN)):
        kernel(message(16, VLAN[:cut]))
        with contextlib.suppress(LinkError):
            assert Link("eth0.5").index == 7
            continue
        refused.append(cut)
    name = range(len(interface()) + 4, len(interface()) + len(NAME) - 1)  # within the name
    assert {*range(16), *name} <= {*refused}
    assert len(interface(NAME)) not in refused


@pytest.mark.parametrize("size", [0, 1, 3, 9, 255, 65535])
def test_an_invalid_attribute_size_raises_link_error(kernel, size):
    kernel(message(16, interface(struct.pack("=HH", size, 3) + b"abcd")))
    with pytest.raises(LinkError, match="malformed"):
        Link("eth0")


@pytest.mark.parametrize("size", [0, 15, 1 << 16, (1 << 32) - 1])
def test_an_invalid_message_size_raises_link_error(kernel, size):
    kernel(struct.pack("=IHHII", size, 16, 0, 1, 0) + VLAN)
    with pytest.raises(LinkError, match="malformed"):
        links()


def test_an_empty_or_truncated_datagram_raises_link_error(kernel):
    for datagram in (bytes(1 << 17), b""):
        kernel(datagram)
        with pytest.raises(LinkError, match="malformed"):
            links()


def test_an_acknowledgement_instead_of_an_answer_raises_link_error(kernel):
    kernel(message(2, bytes(20)))
    with pytest.raises(LinkError, match="malformed"):
        Link("eth0")


# ---- drop counters


def counters(*pairs):
    """Make a struct rtnl_link_stats64 with these values at these indices."""
    values = [0] * 24
    for at, value in pairs:
        values[at] = value
    return attribute(23, struct.pack("=24Q", *values))


def test_drop_counter_counts_from_its_start(kernel):
    first, later = counters((6, 10), (14, 20), (15, 30)), counters((6, 11), (7, 99), (14, 22), (15, 33))
    gone = OSError(errno.ENODEV, "gone")
    kernel(message(16, interface(NAME, first)), message(16, interface(NAME, later)), gone, gone)
    drops = LinkCounter(7)
    assert drops.read() == LinkDrops(rx_dropped=1, rx_fifo_errors=2, rx_missed_errors=3)
    assert drops.read() == (1, 2, 3)
    drops.close()


def test_drop_counter_without_statistics_stays_at_0(kernel):
    cut = interface(NAME, attribute(23, bytes(60)))
    kernel(*(message(16, answer) for answer in (interface(NAME), cut, b"", cut)))
    drops = LinkCounter(7)
    assert drops.read() == (0, 0, 0)
    assert drops.read() == (0, 0, 0)
    drops.close()


def test_drop_counter_of_an_unknown_interface_raises_link_error():
    with pytest.raises(LinkError):
        LinkCounter(0x7FFFFFFF)


def test_a_closed_drop_counter_can_be_read():
    drops = LinkCounter(Link("lo").index)
    drops.close()
    drops.close()
    assert len(drops.read()) == 3
