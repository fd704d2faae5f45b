"""Live sources on interfaces other than Ethernet: loopback, tun devices, segmentation offload."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimcap import NO_IP, Link, LinkNotFound, PacketType, RecordFlag, Stats
from slimcap.source.live.rtnetlink import LinkDrops
from support.netns import Namespace, Veth
from support.traffic import (
    ALL,
    LiveSource,
    OpenSource,
    collect,
    ethernet,
    frames_of,
    payloads,
    udp,
    udp6,
)


def test_loopback_delivers_each_packet_twice(namespace: Namespace, kind: type[LiveSource]) -> None:
    namespace.ip("link set lo up")
    with namespace.inside(), kind("lo") as source, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"hello", sock.getsockname())
        got = collect(source, 2)
        assert [one.pkt_type for one in got] == [PacketType.OUTGOING, PacketType.THIS_HOST]
        assert all(one.data.endswith(b"hello") and one.ip_offset == 14 for one in got)


def test_tun_device_delivers_ip_packets(namespace: Namespace, kind: type[LiveSource]) -> None:
    fd = namespace.tun("tun")
    packets = [udp(1), b"\x10" + bytes(40), udp6(2)]
    with namespace.inside(), kind("tun") as source:
        for packet in packets[::2]:
            os.write(fd, packet)
        got = collect(source, 2)
        assert payloads(got) == packets[::2]
        assert [(one.ip_offset, one.total_len) for one in got] == [
            (0, len(packet)) for packet in packets[::2]
        ]
        assert source.link.type == 101


@pytest.mark.parametrize("arphrd", [1, 512, 519, 768, 769, 772, 776, 778, 823, 65534])
def test_link_types_with_ip(namespace: Namespace, kind: type[LiveSource], arphrd: int) -> None:
    """The IP header is at the start, or after an Ethernet header."""
    fd = namespace.tun("tun", arphrd=arphrd)
    at = 14 if arphrd in (1, 772) else 0
    packets = [udp(1), udp6(2)]
    if at:
        packets = [ethernet(udp(1)), ethernet(udp6(2), 0x86DD)]
    with namespace.inside(), kind("tun") as source:
        for packet in packets:
            if not at:
                os.write(fd, packet)
        if at:  # a tun device takes nothing but IP
            namespace.send("tun", packets)
        got = collect(source, 2)
    assert payloads(got) == packets
    assert [one.ip_offset for one in got] == [at, at]


@pytest.mark.parametrize("arphrd", [32, 280, 801, 803, 824, 826, 4711, 0xFFFE - 1])
@pytest.mark.parametrize(
    "options", [{}, {"ignore_vlans": True, "reinsert_vlan": True, "direction": "in"}], ids=str
)
def test_link_types_without_ip_are_not_filtered(
    namespace: Namespace, kind: type[LiveSource], arphrd: int, options: dict[str, Any]
) -> None:
    """There is no automatic filter, and no IP header is looked for."""
    fd = namespace.tun("tun", arphrd=arphrd)
    with namespace.inside(), kind("tun", **options) as source:
        for i in range(5):
            os.write(fd, udp(i))
        got = collect(source, 5)
    assert payloads(got) == [udp(i) for i in range(5)]
    assert {one.ip_offset for one in got} == {NO_IP}


def test_link_object_is_accepted(veth: Veth, kind: type[LiveSource]) -> None:
    with veth.namespace.inside(), kind(Link("right")) as source:
        veth.send(frames_of(1))
        assert payloads(collect(source, 1)) == frames_of(1)
        assert repr(source) == f"<{kind.__name__} 'right': ETHERNET>"
    assert repr(source) == f"<{kind.__name__} 'right': ETHERNET, closed>"


def test_segmentation_offload_delivers_the_whole_packet(namespace: Namespace, kind: type[LiveSource]) -> None:
    """The device is to cut a packet of 20,000 bytes; it arrives whole, and flagged."""
    fd = namespace.tun("tap", tap=True, vnet_hdr=True)
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 1000, 0, 0) + bytes(range(256)) * 78
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    frame = ethernet(ip + tcp, dst=ALL)
    # struct virtio_net_hdr: NEEDS_CSUM, GSO_TCPV4, header length, segment size, checksum's start and place
    header = struct.pack("=BBHHHH", 1, 1, 54, 1400, 34, 16)
    with namespace.inside(), kind("tap") as source:
        os.write(fd, header + frame)
        os.write(fd, bytes(10) + frame[:200])
        whole, plain = collect(source, 2)
    assert whole.data == frame
    assert (whole.total_len, whole.cap_len, whole.ip_offset) == (len(frame), len(frame), 14)
    assert whole.flags == RecordFlag.GSO | RecordFlag.CHECKSUM_NOT_READY
    assert not plain.flags & (RecordFlag.GSO | RecordFlag.CHECKSUM_NOT_READY)


# ---- drops


def test_drops_of_the_interface(namespace: Namespace, kind: type[LiveSource]) -> None:
    """A tun device drops packets other than IP before any socket sees them."""
    fd = namespace.tun("tun")
    with namespace.inside():
        for _ in range(2):
            with pytest.raises(OSError, match="Invalid argument"):
                os.write(fd, b"\0" * 40)
        source = kind("tun")
    with source:
        assert source.link_drops == LinkDrops(0, 0, 0)
        for _ in range(3):
            with pytest.raises(OSError, match="Invalid argument"):
                os.write(fd, b"\0" * 40)
        assert source.link_drops == LinkDrops(3, 0, 0)
        with namespace.inside():
            counters = Path("/proc/net/dev").read_text().split("tun:")[1].split()
        assert int(counters[3]) == 5
        assert source.total_stats == Stats(0, 0, 0)
    assert source.link_drops == LinkDrops(3, 0, 0)


def test_drops_of_an_interface_that_is_gone(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.namespace.ip("link delete right")
    assert source.link_drops == LinkDrops(0, 0, 0)


# ---- opening


def test_unknown_interface_is_not_found(opened: OpenSource) -> None:
    with pytest.raises(LinkNotFound, match="nosuch"):
        opened("nosuch0")


def test_source_is_initialised_once(opened: OpenSource) -> None:
    source = opened()
    with pytest.raises(TypeError, match="opened once"):
        source.__init__("right")  # type: ignore[misc]


DROP_PRIVILEGES = """
import ctypes, sys
import slimcap
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
try:
    getattr(slimcap, sys.argv[1])("lo", **eval(sys.argv[2]))
except PermissionError as error:
    print(error.errno, error)
"""


@pytest.mark.parametrize("options", [{}, {"promiscuous": True}, {"filter": "udp"}], ids=str)
def test_without_privileges(kind: type[LiveSource], options: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROP_PRIVILEGES, kind.__name__, repr(options)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith(f"{errno.EPERM} "), done.stderr[-500:]
    assert "setcap cap_net_raw" in done.stdout
    assert "CAP_NET_RAW" in done.stdout
    assert os.path.realpath(sys.executable) in done.stdout
    assert "every script" in done.stdout


def test_sandbox_that_refuses_is_not_called_a_missing_privilege(kind: type[LiveSource]) -> None:
    """In a user namespace of its own a process has all capabilities, but not for this network namespace."""
    script = f"""
import slimcap
try:
    slimcap.{kind.__name__}("lo")
except PermissionError as error:
    print(error)
"""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-P", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"no user namespace can be made here: {done.stderr}")
    assert "although this process has CAP_NET_RAW" in done.stdout, done.stderr
    assert "setcap" not in done.stdout
