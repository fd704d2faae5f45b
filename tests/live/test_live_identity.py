"""A Link that is used later, or elsewhere: a source opens the interface that was looked up, or none."""

from __future__ import annotations

import pickle
import socket

import pytest

import slimcap
from slimcap import Link, LinkGone, LinkNotFound
from support.netns import Namespace, NewNamespace, Veth
from support.traffic import LiveSource, collect, frames_of, payloads


def test_link_of_another_namespace_is_not_found(
    veth: Veth, new_namespace: NewNamespace, kind: type[LiveSource]
) -> None:
    """Every namespace has an interface lo with index 1."""
    other = new_namespace()
    other.ip("link set lo up")
    with veth.namespace.inside():
        lo = Link("lo")
        listed = slimcap.links()[0]
    with other.inside():
        for link in (lo, listed, pickle.loads(pickle.dumps(lo))):
            assert link == Link("lo")
            with pytest.raises(
                LinkNotFound, match=r"'lo' \(index 1\) was looked up in another network namesp"
            ):
                kind(link)
            with pytest.raises(LinkNotFound, match="another network namespace"):
                _ = link.is_up
        with kind(Link("lo")) as source:
            assert source.link == lo
    with veth.namespace.inside(), kind(lo) as source:
        assert source.link is lo


def test_link_whose_index_is_used_again_is_gone(namespace: Namespace, kind: type[LiveSource]) -> None:
    namespace.ip("link add first index 77 type veth peer name first-peer")
    with namespace.inside():
        link = Link("first")
        namespace.ip("link delete first")
        namespace.ip("link add second index 77 type veth peer name second-peer")
        with pytest.raises(LinkGone, match=r"'first' \(index 77\) was removed.*index 77 is that of 'second'"):
            kind(link)
        namespace.ip("link add first index 78 type veth peer name first-peer")
        with pytest.raises(LinkGone, match=r"'first' .*has index 78, and index 77 is that of 'second'"):
            kind(pickle.loads(pickle.dumps(link)))


def test_link_of_a_removed_interface_is_gone(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip("link delete right")
        with pytest.raises(
            LinkGone, match=r"'right' \(index \d+\) was removed or renamed: it does not exist"
        ):
            kind(link)


def test_link_of_a_renamed_interface_is_gone(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip("link set right down")
        veth.namespace.ip("link set right name other")
        with pytest.raises(LinkGone, match="is that of 'other'"):
            kind(link)


def test_link_of_an_interface_of_another_type_is_gone(namespace: Namespace, kind: type[LiveSource]) -> None:
    fd = namespace.tun("tun", up=False)
    with namespace.inside():
        link = Link("tun")
        namespace.close_tun(fd)
        namespace.ip(f"link add tun index {link.index} type veth peer name peer")
        with pytest.raises(LinkGone, match="has ARPHRD_ number 1, not 65534"):
            kind(link)


def test_link_made_by_hand_is_compared(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside():
        index = socket.if_nametoindex("right")
        with kind(Link("right", index, 1)) as source:
            veth.send(frames_of(1))
            assert payloads(collect(source, 1)) == frames_of(1)
        for link in (Link("right", index + 1000, 1), Link("left", index, 1), Link("nosuch", index, 1)):
            with pytest.raises(LinkNotFound, match=rf"{link.name!r} \(index {link.index}\)"):
                kind(link)


def test_link_of_a_capture_file_is_not_captured_from(veth: Veth, kind: type[LiveSource]) -> None:
    """The kernel captures all interfaces if it is given index 0."""
    with veth.namespace.inside(), pytest.raises(LinkNotFound, match=r"'right' \(index 0\) has index \d+"):
        kind(Link("right", 0, 1))


def test_alternative_name_in_a_link_made_by_hand(veth: Veth, kind: type[LiveSource]) -> None:
    veth.namespace.ip("link property add dev right altname enp0s31f6-a-longer-name")
    with veth.namespace.inside():
        assert Link("enp0s31f6-a-longer-name") == Link("right")
        index = socket.if_nametoindex("right")
        with kind(Link("enp0s31f6-a-longer-name", index, 1)) as source:
            veth.send(frames_of(1))
            assert payloads(collect(source, 1)) == frames_of(1)
        with kind("enp0s31f6-a-longer-name") as source:
            assert source.link.name == "right"
