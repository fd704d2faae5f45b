"""`source.account()`: every packet of an interface is accounted for, to the packet."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from slimcap import Account, RingSource, SocketSource
from support.netns import Namespace, NewNamespace, Veth
from support.threads import in_child, wait_until
from support.traffic import OTHER, PAGE, LiveSource, OpenSource, arp, collect, ethernet, frames_of, udp

# A veth interface counts a packet when it hands it over, and what it counts is shown by `ip`.
WEB = [ethernet(udp(n, port=80)) for n in range(30)]
DNS = [ethernet(udp(n, port=53)) for n in range(20)]


def settled(source: LiveSource, link_packets: int) -> Account:
    """Return the account once the interface has counted so many packets."""
    wait_until(lambda: source.account().link_packets == link_packets)
    account = source.account()
    assert sum_of(account) == link_packets
    return account


def sum_of(account: Account) -> int:
    assert account.link_drops is not None
    assert account.filtered is not None
    parts = account.link_drops, account.filtered, account.dropped, account.delivered, account.in_flight
    assert min(parts) >= 0
    return sum(parts)


def counters_of(namespace: Namespace, name: str) -> dict[str, Any]:
    (link,) = json.loads(namespace.ip(f"-json -statistics link show {name}"))
    statistics: dict[str, Any] = link["stats64"]
    return statistics


def test_filtered_packets_are_the_difference(veth: Veth, opened: OpenSource) -> None:
    veth.send(WEB)  # before it is opened
    source = opened(filter="udp port 80")
    assert source.account() == (0, 0, 0, 0, 0, 0)
    veth.send(WEB + DNS)
    veth.send([arp()] * 5)
    assert settled(source, 55) == Account(55, 0, 25, 0, 0, 30)
    collect(source, 30)
    assert source.account() == Account(55, 0, 25, 0, 30, 0)
    assert source.account().link_packets == counters_of(veth.namespace, "right")["rx"]["packets"] - 30
    source.close()
    assert source.account() == Account(55, 0, 25, 0, 30, 0)


def test_packets_of_current_rows_are_in_flight(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.send(frames_of(50))
    settled(source, 50)
    for _ in range(7):
        source.next_packet(timeout=5)
    assert source.account() == Account(50, 0, 0, 0, 7, 43)
    source.close()  # which discards them
    assert source.account() == Account(50, 0, 0, 0, 7, 43)
    veth.send(frames_of(5))
    assert source.account() == Account(50, 0, 0, 0, 7, 43)


def test_packets_after_stop_are_filtered(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.send(frames_of(20))
    settled(source, 20)
    source.stop()
    assert sum(len(batch) for batch in source.batches()) == 20
    veth.send(frames_of(3))
    assert settled(source, 23) == Account(23, 0, 3, 0, 20, 0)


def test_packets_dropped_by_a_full_ring(veth: Veth) -> None:
    with (
        veth.namespace.inside(),
        RingSource("right", block_size=PAGE, num_blocks=2, block_timeout=0.001) as source,
    ):
        veth.send(frames_of(500))
        account = settled(source, 500)
        assert account.dropped > 400
        assert (account.link_drops, account.filtered, account.delivered) == (0, 0, 0)
        assert account.dropped + account.in_flight == 500
        got = collect(source, account.in_flight)
        assert source.account() == Account(500, 0, 0, account.dropped, len(got), 0)


def test_packets_dropped_by_a_full_receive_buffer(veth: Veth) -> None:
    with veth.namespace.inside(), SocketSource("right", buffer_size=1 << 14) as source:
        veth.send(frames_of(500))
        account = settled(source, 500)
        assert account.dropped > 400
        assert account.dropped + account.in_flight == 500


def test_both_directions_are_counted(veth: Veth, opened: OpenSource) -> None:
    accounts = []
    for direction in ("both", "in", "out"):
        source = opened(direction=direction)
        veth.send(frames_of(10))
        veth.namespace.send("right", frames_of(4))
        total = {"both": 14, "in": 10, "out": 4}[direction]
        accounts.append(settled(source, total))
        source.close()
    assert accounts == [(n, 0, 0, 0, 0, n) for n in (14, 10, 4)]


def test_loopback_counts_each_packet_twice(namespace: Namespace, kind: type[LiveSource]) -> None:
    namespace.ip("link set lo up")
    with namespace.inside(), kind("lo") as source:
        namespace.send("lo", [ethernet(udp(n), dst=bytes(6), src=bytes(6)) for n in range(6)])
        assert settled(source, 12).in_flight == 12


@pytest.mark.parametrize("promiscuous", [False, True])
def test_packets_for_other_hosts(veth: Veth, opened: OpenSource, promiscuous: bool) -> None:
    """A veth interface hands over all packets in any case."""
    source = opened(promiscuous=promiscuous)
    veth.send([ethernet(udp(n), dst=OTHER) for n in range(8)])
    assert settled(source, 8) == Account(8, 0, 0, 0, 0, 8)


def test_link_down_and_up(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.send(frames_of(10))
    settled(source, 10)
    collect(source, 10)
    veth.namespace.ip("link set right down")
    veth.namespace.ip("link set right up")
    veth.namespace.wait_until_up("left", "right")
    veth.send(frames_of(6))
    settled(source, 16)
    collect(source, 6)
    assert source.account() == Account(16, 0, 0, 0, 16, 0)


def test_sent_packets_that_the_driver_drops_are_captured_and_counted(veth: Veth, opened: OpenSource) -> None:
    """The other end is up, but the driver refuses packets that do not fit its MTU."""
    source = opened("left")
    veth.namespace.ip("link set right mtu 100")
    for frame in frames_of(5, 40) + frames_of(5, 400):
        with contextlib.suppress(OSError):  # some kernels report it
            veth.send([frame])
    account = settled(source, 10)
    assert counters_of(veth.namespace, "left")["tx"]["packets"] == 5
    assert account == Account(10, 0, 0, 0, 0, 10)


def test_packets_dropped_by_the_interface(namespace: Namespace, kind: type[LiveSource]) -> None:
    device = namespace.tun("tun")
    with namespace.inside(), kind("tun") as source:
        for _ in range(3):
            with pytest.raises(OSError, match="Invalid argument"):
                os.write(device, bytes(40))  # no version of IP
        for number in range(5):
            os.write(device, udp(number))
        assert settled(source, 8) == Account(8, 3, 0, 0, 0, 5)


@pytest.mark.parametrize("remove", ["link delete right", "link set right netns {}"])
def test_counters_of_an_interface_that_is_gone_are_none(
    veth: Veth, opened: OpenSource, new_namespace: NewNamespace, remove: str
) -> None:
    source = opened()
    veth.send(frames_of(4))
    settled(source, 4)
    veth.namespace.ip(remove.format(new_namespace().path))
    assert source.account() == Account(None, None, None, 0, 0, 4)
    source.close()
    assert source.account() == Account(None, None, None, 0, 0, 4)


def test_a_forked_process_does_not_know_the_interface(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    veth.send(frames_of(4))
    settled(source, 4)
    assert in_child(lambda: tuple(source.account())[:3]) == "(None, None, None)"


@pytest.mark.parametrize("merges", [False, True])
def test_packets_that_gro_merged_count_as_filtered(
    veth: Veth, opened: OpenSource, new_namespace: NewNamespace, need_tool: Callable[[str], str], merges: bool
) -> None:
    """The interface counts them one by one."""
    ethtool, there = need_tool("ethtool"), new_namespace()
    veth.namespace.ip(f"link set left netns {there.path}")
    for namespace, end, number in ((there, "left", 1), (veth.namespace, "right", 2)):
        namespace.ip_batch(f"address add 192.0.2.{number}/24 dev {end}", f"link set {end} up")
        options = ["gro", "on" if merges else "off", "tso", "off", "gso", "off"]
        with namespace.inside():
            subprocess.run([ethtool, "-K", end, *options], check=True, timeout=20)
    veth.namespace.wait_until_up("right")
    source = opened(auto_filter=False)
    with veth.namespace.inside():
        server = socket.create_server(("192.0.2.2", 0))
    with server, there.inside(), socket.create_connection(server.getsockname(), timeout=20) as client:
        receiver, _ = server.accept()
        with receiver:
            sending = threading.Thread(target=client.sendall, args=(bytes(2_000_000),))
            sending.start()
            received = 0
            while received < 2_000_000:
                received += len(receiver.recv(1 << 20))
            sending.join()
    source.stop()
    captured = sum(len(batch) for batch in source.batches())
    account = source.account()
    assert account.delivered == captured
    assert account.link_packets == sum_of(account) > 2_000_000 / 1500
    assert account.filtered is not None
    assert (account.filtered > 100) is merges


def test_nothing_is_negative_or_lost_while_packets_come(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="udp port 80")
    total = 60 * (len(WEB) + len(DNS))
    sender = threading.Thread(target=lambda: [veth.send(WEB + DNS) for _ in range(60)])
    sender.start()
    try:
        read, end = 0, time.monotonic() + 20
        while read < 60 * len(WEB) and time.monotonic() < end:
            read += len(source.next_batch(timeout=10))
            account = source.account()
            assert account.link_packets is not None
            assert account.in_flight >= 0
            assert account.delivered == read
    finally:
        sender.join()
    assert settled(source, total) == Account(total, 0, 60 * len(DNS), 0, read, 0)
