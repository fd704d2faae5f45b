"""Links as the kernel has them: types, state, addresses, and deletion."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from pathlib import Path

import pytest

from slimcap import NO_IP, LinkNotFound
from slimcap.packet.link import Link
from slimcap.source.live.interfaces import links
from support.netns import Namespace, NewNamespace, Veth
from support.threads import Background


def properties() -> list[str]:
    """Return the names of the properties that ask the kernel."""
    return [name for name in ("is_up", "is_vlan", "addresses") if isinstance(getattr(Link, name), property)]


def assert_gone(link: Link) -> bool:
    for name in properties():
        with pytest.raises(LinkNotFound, match=f"{link.name}.*ip link") as caught:
            getattr(link, name)
        assert caught.value.errno == errno.ENODEV
    return True


def test_links_of_a_veth_pair(veth: Veth) -> None:
    with veth.namespace.inside():
        left, right = Link(veth.left), Link(veth.right)
        assert (left.name, left.type, left.arphrd, left.type_name) == ("left", 1, 1, "ETHERNET")
        assert (left.index, right.index) == tuple(map(socket.if_nametoindex, ("left", "right")))
        assert left.index != right.index
        assert left.ip_offset == 14
        assert left.is_up
        assert not left.is_vlan
        assert left.addresses == ()
        assert left == Link(veth.left) != right


def test_loopback_link(namespace: Namespace) -> None:
    with namespace.inside():
        lo = Link("lo")
        assert (lo.index, lo.type, lo.arphrd, lo.ip_offset) == (1, 1, 772, 14)
        assert not lo.is_up
        assert lo.addresses == ()
        namespace.ip("link set lo up")
        assert lo.is_up
        assert ipaddress.ip_interface("127.0.0.1/8") in lo.addresses


def test_state_is_read_each_time(veth: Veth) -> None:
    with veth.namespace.inside():
        link = Link(veth.right)
        for state in ("down", "up", "down"):
            veth.namespace.ip(f"link set {veth.right} {state}")
            assert link.is_up == (state == "up")


def test_link_without_carrier_is_up(veth: Veth) -> None:
    veth.namespace.ip(f"link set {veth.left} down")
    with veth.namespace.inside():
        assert Link(veth.right).is_up


# ---- addresses


def test_addresses_of_both_versions(veth: Veth) -> None:
    ns = veth.namespace
    ns.sysctl("net/ipv6/conf/right/disable_ipv6", 0)
    ns.ip("address add 192.0.2.1/24 dev right")
    ns.ip("address add 192.0.2.7/32 dev right")
    ns.ip("address add 198.51.100.1 peer 198.51.100.2/30 dev right")
    ns.ip("address add 2001:db8::1/64 nodad dev right")
    ns.ip("address add 2001:db8:1::1 peer 2001:db8:1::2/127 nodad dev right")
    ns.ip("address add 203.0.113.5/25 dev left")
    wanted = ["192.0.2.1/24", "192.0.2.7/32", "198.51.100.1/30", "2001:db8::1/64", "2001:db8:1::1/127"]
    with ns.inside():
        link = Link("right")
        found = link.addresses
        assert isinstance(found, tuple)
        assert set(found) == {ipaddress.ip_interface(address) for address in wanted}
        assert len(found) == len(wanted)
        assert [address.version for address in found] == [4, 4, 4, 6, 6]
        assert Link("left").addresses == (ipaddress.ip_interface("203.0.113.5/25"),)
        ns.ip("address flush dev right")
        assert link.addresses == ()


def test_hundreds_of_addresses(veth: Veth, tmp_path: Path) -> None:
    """The kernel needs several datagrams for them."""
    wanted = [f"10.{i}.0.{j}/32" for i in range(4) for j in range(200)]
    commands = tmp_path / "commands"
    commands.write_text("".join(f"address add {address} dev right\n" for address in wanted))
    veth.namespace.ip(f"-batch {commands}")
    with veth.namespace.inside():
        assert sorted(map(str, Link("right").addresses)) == sorted(wanted)


# ---- types


@pytest.mark.parametrize(
    ("arphrd", "linktype", "name", "ip_offset"),
    [
        (1, 1, "ETHERNET", 14),
        (772, 1, "ETHERNET", 14),
        (65534, 101, "RAW", 0),
        (512, 101, "RAW", 0),
        (519, 101, "RAW", 0),
        (768, 101, "RAW", 0),
        (769, 101, "RAW", 0),
        (776, 101, "RAW", 0),
        (778, 101, "RAW", 0),
        (823, 101, "RAW", 0),
        (801, 105, "IEEE802_11", NO_IP),
        (803, 127, "IEEE802_11_RADIOTAP", NO_IP),
        (824, 253, "NETLINK", NO_IP),
        (280, 147, "USER0", NO_IP),  # CAN
        (65535, 147, "USER0", NO_IP),  # VOID
        (0, 147, "USER0", NO_IP),
    ],
)
def test_link_types_by_hardware_type(
    namespace: Namespace, arphrd: int, linktype: int, name: str, ip_offset: int
) -> None:
    namespace.tun("fake", arphrd=arphrd, up=False)
    with namespace.inside():
        link = Link("fake")
        assert (link.arphrd, link.type, link.type_name, link.ip_offset) == (arphrd, linktype, name, ip_offset)
        assert not link.is_up
        assert link.addresses == ()
        assert link in links()


def test_tun_and_tap_links(namespace: Namespace) -> None:
    namespace.tun("tun")
    namespace.tun("tap", tap=True)
    with namespace.inside():
        tun, tap = Link("tun"), Link("tap")
        assert (tun.arphrd, tun.type, tun.ip_offset) == (65534, 101, 0)
        assert (tap.arphrd, tap.type, tap.ip_offset) == (1, 1, 14)
        assert tun.is_up
        assert not tap.is_vlan


def test_bridge_link(veth: Veth) -> None:
    veth.namespace.ip("link add bridge type bridge")
    veth.namespace.ip("link set right master bridge")
    with veth.namespace.inside():
        bridge = Link("bridge")
        assert bridge.type == 1
        assert not bridge.is_up
        assert not bridge.is_vlan
        assert Link("right").is_up


def test_vlan_link(veth: Veth) -> None:
    try:
        veth.namespace.ip("link add link right name right.5 type vlan id 5")
    except AssertionError:
        pytest.skip("this kernel makes no VLAN interfaces; tests/source/live has the netlink message of one")
    with veth.namespace.inside():
        assert Link("right.5").is_vlan
        assert not Link("right").is_vlan


# ---- renamed, deleted, moved


def test_renamed_link_keeps_working(veth: Veth) -> None:
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip("link set right name other")
        assert link.is_up
        assert link.addresses == ()
        assert link.name == "right"
        assert Link("other").index == link.index
        with pytest.raises(LinkNotFound):
            Link("right")


def test_alternative_name_is_accepted(veth: Veth) -> None:
    veth.namespace.ip("link property add dev right altname short")
    with veth.namespace.inside():
        assert Link("short") == Link("right")
        assert Link("short").name == "right"


def test_patterns_match_alternative_names(veth: Veth) -> None:
    for name in ("uplink0", "enp0s31f6-a-longer-name"):
        veth.namespace.ip(f"link property add dev right altname {name}")
    with veth.namespace.inside():
        for pattern in ("uplink*", "enp0s31f6-*", "*-longer-name", ["up*", "enp*", "r?ght"]):
            assert links(pattern) == (Link("right"),), pattern
        assert links(["uplink*", "left"]) == links(["left", "right"])
        assert links("uplink?[1-9]") == ()


def test_deleted_link_is_not_found(veth: Veth) -> None:
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip("link delete right")
        assert assert_gone(link)
        with pytest.raises(LinkNotFound):
            Link("right")
        # One of the same name is another one.
        veth.namespace.ip("link add right type veth peer name left")
        assert assert_gone(link)
        assert Link("right").index != link.index


def test_closed_tun_device_is_not_found(namespace: Namespace) -> None:
    fd = namespace.tun("tun")
    with namespace.inside():
        link = Link("tun")
        namespace.close_tun(fd)
        assert assert_gone(link)


def test_link_moved_to_another_namespace_is_not_found(veth: Veth, new_namespace: NewNamespace) -> None:
    other = new_namespace()
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip(f"link set right netns {other.path}")
        assert assert_gone(link)
    with other.inside():
        assert Link("right").type == 1


def test_links_are_looked_up_in_the_namespace_of_the_calling_thread(
    veth: Veth, background: type[Background]
) -> None:
    with pytest.raises(LinkNotFound):
        Link(veth.left)
    with veth.namespace.inside():
        assert background(lambda: Link(veth.left)).result().name == veth.left
    outside = threading.Event()

    def look() -> bool:
        outside.wait(10)
        return Link(veth.left).is_up

    with veth.namespace.inside():
        looking = background(look)
    outside.set()
    assert looking.result()


# ---- lists and names


def test_links_are_sorted_by_index(veth: Veth) -> None:
    with veth.namespace.inside():
        found = links()
        assert {link.name for link in found} == {"lo", "left", "right"}
        assert found == tuple(Link(name) for _, name in socket.if_nameindex())
        assert [link.index for link in found] == sorted(link.index for link in found)


def test_dozens_of_links(namespace: Namespace) -> None:
    """The kernel needs several datagrams for them."""
    for i in range(60):
        namespace.tun(f"tap{i}", tap=True, up=False)
    with namespace.inside():
        found = links()
    assert [link.name for link in found] == ["lo"] + [f"tap{i}" for i in range(60)]


@pytest.mark.parametrize("name", ["a", "fifteen-bytes-x", "with.dots-and_1", "€uro", "a'b\"c\\", "{}"])
def test_unusual_names(namespace: Namespace, name: str) -> None:
    namespace.tun(name, up=False)
    with namespace.inside():
        assert Link(name).name == name
        assert name in [link.name for link in links()]


def test_undecodable_name(namespace: Namespace) -> None:
    name = b"\xff\x80x".decode("utf-8", "surrogateescape")
    namespace.tun(name, up=False)
    with namespace.inside():
        assert [link.name for link in links()] == ["lo", name]
        assert Link(name).index == links()[1].index
