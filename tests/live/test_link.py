"""Interfaces as the kernel has them: types, state, addresses, and what becomes of them."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import threading

import pytest

from slimcap import NO_IP, LinkNotFound
from slimcap.packet.link import Link
from slimcap.source.live.interfaces import links


def properties():
    """What asks the kernel."""
    return [name for name in ("is_up", "is_vlan", "addresses") if isinstance(getattr(Link, name), property)]


def is_gone(link):
    for name in properties():
        with pytest.raises(LinkNotFound, match=f"{link.name}.*ip link") as caught:
            getattr(link, name)
        assert caught.value.errno == errno.ENODEV
    return True


def test_ends_of_a_cable(veth):
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


def test_loopback(namespace):
    with namespace.inside():
        lo = Link("lo")
        assert (lo.index, lo.type, lo.arphrd, lo.ip_offset) == (1, 1, 772, 14)
        assert not lo.is_up
        assert lo.addresses == ()
        namespace.ip("link set lo up")
        assert lo.is_up
        assert ipaddress.ip_interface("127.0.0.1/8") in lo.addresses


def test_state_is_read_each_time(veth):
    with veth.namespace.inside():
        link = Link(veth.right)
        for state in ("down", "up", "down"):
            veth.namespace.ip(f"link set {veth.right} {state}")
            assert link.is_up == (state == "up")


def test_up_does_not_ask_for_a_carrier(veth):
    veth.namespace.ip(f"link set {veth.left} down")
    with veth.namespace.inside():
        assert Link(veth.right).is_up


def test_addresses(veth):
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


def test_many_addresses(veth, tmp_path):
    """More than one datagram of the kernel's holds."""
    wanted = [f"10.{i}.0.{j}/32" for i in range(4) for j in range(200)]
    commands = tmp_path / "commands"
    commands.write_text("".join(f"address add {address} dev right\n" for address in wanted))
    veth.namespace.ip(f"-batch {commands}")
    with veth.namespace.inside():
        assert sorted(map(str, Link("right").addresses)) == sorted(wanted)


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
        (280, 147, "147", NO_IP),  # CAN
        (65535, 147, "147", NO_IP),  # VOID
        (0, 147, "147", NO_IP),
    ],
)
def test_types(namespace, arphrd, linktype, name, ip_offset):
    namespace.tun("fake", arphrd=arphrd, up=False)
    with namespace.inside():
        link = Link("fake")
        assert (link.arphrd, link.type, link.type_name, link.ip_offset) == (arphrd, linktype, name, ip_offset)
        assert not link.is_up
        assert link.addresses == ()
        assert link in links()


def test_tun_and_tap(namespace):
    namespace.tun("tun")
    namespace.tun("tap", tap=True)
    with namespace.inside():
        tun, tap = Link("tun"), Link("tap")
        assert (tun.arphrd, tun.type, tun.ip_offset) == (65534, 101, 0)
        assert (tap.arphrd, tap.type, tap.ip_offset) == (1, 1, 14)
        assert tun.is_up
        assert not tap.is_vlan


def test_bridge(veth):
    veth.namespace.ip("link add bridge type bridge")
    veth.namespace.ip("link set right master bridge")
    with veth.namespace.inside():
        bridge = Link("bridge")
        assert bridge.type == 1
        assert not bridge.is_up
        assert not bridge.is_vlan
        assert Link("right").is_up


def test_vlan(veth):
    try:
        veth.namespace.ip("link add link right name right.5 type vlan id 5")
    except AssertionError:
        pytest.skip("this kernel makes no VLAN interfaces; tests/test_link.py has the message of one")
    with veth.namespace.inside():
        assert Link("right.5").is_vlan
        assert not Link("right").is_vlan


def test_renamed(veth):
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip("link set right name other")
        assert link.is_up
        assert link.addresses == ()
        assert link.name == "right"
        assert Link("other").index == link.index
        with pytest.raises(LinkNotFound):
            Link("right")


def test_alternative_name(veth):
    veth.namespace.ip("link property add dev right altname short")
    with veth.namespace.inside():
        assert Link("short") == Link("right")
        assert Link("short").name == "right"


def test_deleted(veth):
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip("link delete right")
        assert is_gone(link)
        with pytest.raises(LinkNotFound):
            Link("right")
        # One of the same name is another one.
        veth.namespace.ip("link add right type veth peer name left")
        assert is_gone(link)
        assert Link("right").index != link.index


def test_tun_whose_program_ended(namespace):
    fd = namespace.tun("tun")
    with namespace.inside():
        link = Link("tun")
        namespace.close_tun(fd)
        assert is_gone(link)


def test_moved_to_another_namespace(veth, new_namespace):
    other = new_namespace()
    with veth.namespace.inside():
        link = Link("right")
        veth.namespace.ip(f"link set right netns {other.path}")
        assert is_gone(link)
    with other.inside():
        assert Link("right").type == 1


def test_the_namespace_is_the_calling_threads(veth, background):
    with pytest.raises(LinkNotFound):
        Link(veth.left)
    with veth.namespace.inside():
        assert background(lambda: Link(veth.left)).result().name == veth.left
    outside = threading.Event()

    def look():
        outside.wait(10)
        return Link(veth.left).is_up

    with veth.namespace.inside():
        looking = background(look)
    outside.set()
    assert looking.result()


def test_links(veth):
    with veth.namespace.inside():
        found = links()
        assert {link.name for link in found} == {"lo", "left", "right"}
        assert found == tuple(Link(name) for _, name in socket.if_nameindex())
        assert [link.index for link in found] == sorted(link.index for link in found)


def test_many_links(namespace):
    """More than one datagram of the kernel's holds."""
    for i in range(60):
        namespace.tun(f"tap{i}", tap=True, up=False)
    with namespace.inside():
        found = links()
    assert [link.name for link in found] == ["lo"] + [f"tap{i}" for i in range(60)]


@pytest.mark.parametrize("name", ["a", "fifteen-bytes-x", "with.dots-and_1", "€uro", "a'b\"c\\", "{}"])
def test_names_that_the_kernel_takes(namespace, name):
    namespace.tun(name, up=False)
    with namespace.inside():
        assert Link(name).name == name
        assert name in [link.name for link in links()]


def test_name_that_is_no_text(namespace):
    name = b"\xff\x80x".decode("utf-8", "surrogateescape")
    namespace.tun(name, up=False)
    with namespace.inside():
        assert [link.name for link in links()] == ["lo", name]
        assert Link(name).index == links()[1].index


# ---- the fixtures


def received(sock, count):
    sock.settimeout(5)
    return [sock.recvfrom(65536) for _ in range(count)]


def test_what_is_sent_arrives_and_nothing_else(veth):
    frames = [veth.right_mac + veth.left_mac + b"\x88\xb5" + bytes([i]) * 50 for i in range(100)]
    with veth.namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((veth.right, 3))  # ETH_P_ALL
        assert veth.send(frames) == 100
        got = received(sock, 100)
        assert [data for data, _ in got] == frames
        assert {address[2] for _, address in got} == {socket.PACKET_HOST}
        veth.namespace.ip("link set right down")
        veth.namespace.ip("link set right up")
        sock.settimeout(1.5)
        with pytest.raises(OSError, match="down"):
            sock.recv(65536)
        with pytest.raises(TimeoutError):
            sock.recv(65536)


def test_what_is_written_to_a_tun_device_arrives(namespace):
    fd = namespace.tun("tun")
    packet = bytes.fromhex("450000140000000040000000c0000201c0000202")
    with namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("tun", 3))
        os.write(fd, packet)
        assert received(sock, 1)[0][0] == packet


def test_a_thread_comes_back_from_a_namespace(veth, new_namespace):
    before = os.readlink("/proc/thread-self/ns/net")

    def fail():
        with veth.namespace.inside(), new_namespace().inside():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.readlink("/proc/thread-self/ns/net") == before
