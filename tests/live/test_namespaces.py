"""The namespaces, veth pairs and tun devices of support.netns."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from support.netns import Namespace, NewNamespace, Veth


def received(sock: socket.socket, count: int) -> list[tuple[bytes, Any]]:
    sock.settimeout(5)
    return [sock.recvfrom(65536) for _ in range(count)]


def test_veth_delivers_what_is_sent_and_nothing_else(veth: Veth) -> None:
    frames = [veth.right_mac + veth.left_mac + b"\x88\xb5" + bytes([i]) * 50 for i in range(100)]
    with veth.namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((veth.right, 3))  # ETH_P_ALL
        assert veth.send(frames) == 100
        got = received(sock, 100)
        assert [data for data, _ in got] == frames
        assert {address[2] for _, address in got} == {socket.PACKET_HOST}
        veth.namespace.ip("link set right down")
        veth.namespace.ip("link set right up")
        sock.settimeout(0.3)
        with pytest.raises(OSError, match="down"):
            sock.recv(65536)
        with pytest.raises(TimeoutError):
            sock.recv(65536)


def test_tun_device_delivers_what_is_written(namespace: Namespace) -> None:
    fd = namespace.tun("tun")
    packet = bytes.fromhex("450000140000000040000000c0000201c0000202")
    with namespace.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("tun", 3))
        os.write(fd, packet)
        assert received(sock, 1)[0][0] == packet


def test_thread_returns_from_a_namespace(veth: Veth, new_namespace: NewNamespace) -> None:
    before = os.readlink("/proc/thread-self/ns/net")

    def fail() -> None:
        with veth.namespace.inside(), new_namespace().inside():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.readlink("/proc/thread-self/ns/net") == before
