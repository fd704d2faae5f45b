"""Links without privileges: looked up by name, or known from a capture file."""

from __future__ import annotations

import copy
import dataclasses
import errno
import pickle
import socket

import pytest

import slimcap
from slimcap import NO_IP, Link, LinkError, LinkNotFound, LinkType
from slimcap.source.live.interfaces import links
from support.samples import GOOD


def test_loopback_link_has_the_properties_of_the_interface():
    lo = Link("lo")
    assert (lo.name, lo.index, lo.type, lo.arphrd) == ("lo", socket.if_nametoindex("lo"), 1, 772)
    assert (lo.type_name, lo.ip_offset, lo.is_vlan) == ("ETHERNET", 14, False)
    assert isinstance(lo.is_up, bool)
    assert isinstance(lo.addresses, tuple)


def test_links_lists_the_interfaces_of_this_host():
    found = links()
    assert {(link.index, link.name) for link in found} == set(socket.if_nameindex())
    assert Link("lo") in found
    assert all(link == Link(link.name) for link in found)


def test_links_by_names_and_patterns():
    assert links("lo") == (Link("lo"),)
    assert links(["l?", "lo", "no-such*"]) == links("[l]*o")
    assert links([]) == ()
    assert links("no-such*") == ()
    assert links("*") == links()
    with pytest.raises(LinkNotFound, match="no-such"):
        links(["lo", "no-such"])
    with pytest.raises(TypeError, match="names must be a str or an iterable of str, not int"):
        links(1)
    with pytest.raises(TypeError, match="each of names must be a str, not bytes"):
        links([b"lo"])


def test_addresses_of_all_links_are_those_of_each():
    assert Link.addresses_of(links()) == {link: link.addresses for link in links()}
    assert Link.addresses_of([]) == {}


ODD_NAMES = [
    "", "nosuchinterface"[:14], "sixteen-bytes-xx", "x" * 5000, "lo\0", "\0lo", "\0", "lo\0x", "lo ", "LO",
    "\u00fc", "\u20ac" * 5, "\u20ac" * 6, "\ud800", "\udcff", "lo/", "../lo", ".", "..", "lo:1", "a b", "%d",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_unknown_name_raises_link_not_found(name):
    with pytest.raises(LinkNotFound, match="`ip link`") as caught:
        Link(name)
    assert caught.value.errno == errno.ENODEV
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, LinkError)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", [None, 1, b"lo", ["lo"]])
def test_a_name_that_is_not_a_string_raises_type_error(name):
    with pytest.raises(TypeError, match="str"):
        Link(name)


def test_index_and_type_must_be_given_together():
    with pytest.raises(TypeError, match="an index and a type"):
        Link("lo", 1)
    with pytest.raises(TypeError, match="an index and a type"):
        Link("lo", type=1)
    with pytest.raises(TypeError):
        Link()


def test_a_link_with_index_and_type_is_not_looked_up():
    link = Link("eth0", 3, 113)
    assert (link.name, link.index, link.type, link.arphrd) == ("eth0", 3, 113, None)
    assert link == Link("eth0", 3, 113) == Link(name="eth0", index=3, type=113)
    assert link != Link("eth0", 3, 1)
    assert repr(link) == "Link(name='eth0', index=3, type=LinkType.LINUX_SLL, arphrd=None)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        link.name = "eth1"


@pytest.mark.parametrize("name", ["is_up", "is_vlan", "addresses"])
def test_the_state_of_a_link_of_a_file_raises_link_not_found(name):
    link = Link("lo", 1, 1)
    with pytest.raises(LinkNotFound, match="'lo' is an interface of a capture file") as caught:
        getattr(link, name)
    assert caught.value.errno == errno.ENODEV


def test_ip_offset_is_known_for_these_link_types_only():
    there = {1: 14, 101: 0, 228: 0, 229: 0, 12: 0, 14: 0, 0: 4, 108: 4, 109: 12, 113: 16, 226: 24, 276: 20}
    for linktype in range(300):
        assert Link("x", 0, linktype).ip_offset == there.get(linktype, NO_IP)


def test_ip_offset_is_the_lowest_of_the_samples(sample_of):
    """For every link type in the samples; tags and tunnels only increase it."""
    first = {}
    for name in GOOD:
        linktype = sample_of(name).linktype & 0xFFFF
        offsets = slimcap.read(sample_of(name).path)["ip_offset"]
        first[linktype] = min(first.get(linktype, NO_IP), *offsets.tolist(), NO_IP)
    known = {linktype: at for linktype, at in first.items() if Link("x", 0, linktype).ip_offset != NO_IP}
    assert len(known) > 5
    assert known == {linktype: Link("x", 0, linktype).ip_offset for linktype in known}


@pytest.mark.parametrize("make", [lambda: Link("lo"), lambda: Link("a file", 0, 1)])
def test_copies_of_links_are_equal(make):
    link = make()
    for same in (copy.copy(link), copy.deepcopy(link), pickle.loads(pickle.dumps(link))):
        assert same == link
        assert hash(same) == hash(link)
    assert dataclasses.replace(link) == link
    assert eval(repr(link), {"Link": Link, "LinkType": LinkType}) == link
