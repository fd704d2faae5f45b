"""Live expressions: compiled for the link type that is captured, also on interfaces that are down."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from slimcap import FilterError, LinkType, SocketSource, read
from slimcap.filter import compile_expression
from support.bpf_oracles import ETHERNET, parse_dump
from support.builders.pcap import pcap_header, pcap_record
from support.cli import NeedTool
from support.netns import Namespace, Veth
from support.peers import run_peer
from support.traffic import LiveSource, assert_silent, collect, ethernet, payloads, tagged, udp, udp6

# ARPHRD_ numbers whose packets a packet socket delivers from the IP header on. libpcap would open most of
# them as "cooked", a link type of its own.
PPP, RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, NONE = 512, 519, 768, 769, 776, 778, 823, 65534
PACKETS = [udp(1), udp6(2), udp(3, port=53), udp(4, size=200)]
EXPRESSIONS = ("udp", "ip6", "port 53", "host 192.0.2.1 and greater 100", "not ip", "ip[9] = 17 or inbound")


@pytest.mark.parametrize("arphrd", [PPP, RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, NONE])
def test_expressions_match_on_interfaces_without_a_link_layer(
    arphrd: int, namespace: Namespace, kind: type[LiveSource]
) -> None:
    """A tun device stands for each; the same packets in a file are the oracle."""
    fd = namespace.tun("t0", arphrd=arphrd)
    file = pcap_header(linktype=LinkType.RAW) + b"".join(map(pcap_record, PACKETS))
    for expression in EXPRESSIONS:
        wanted = PACKETS
        if "inbound" not in expression:
            batch = read(io.BytesIO(file), filter=expression)
            wanted = [bytes(batch.payload(index)) for index in range(len(batch))]
            assert len(wanted) > 0
        with namespace.inside(), kind("t0", filter=expression) as source:
            assert source.link is not None
            assert source.link.type == LinkType.RAW
            for packet in PACKETS:
                os.write(fd, packet)
            assert payloads(collect(source, len(wanted))) == wanted, expression
            assert_silent(source)


def test_expressions_are_compiled_while_the_interface_is_down(veth: Veth, kind: type[LiveSource]) -> None:
    veth.namespace.ip("link set dev right down")
    frames = [ethernet(udp(1)), ethernet(udp(2, port=53)), ethernet(udp6(3), 0x86DD)]
    with veth.namespace.inside(), kind("right", filter="port 53 or ip6") as source:
        veth.namespace.ip("link set dev right up")
        veth.namespace.wait_until_up("left", "right")
        veth.send(frames)
        assert payloads(collect(source, 2)) == frames[1:]
        assert_silent(source)


def test_vlan_expression_on_an_interface_that_is_down_requires_lo(veth: Veth) -> None:
    """libpcap compiles `vlan` for a live capture only on an interface that it can open."""
    veth.namespace.ip("link set dev right down")
    with veth.namespace.inside():
        with pytest.raises(FilterError, match=r"cannot open right: .*cannot open lo: .*requires one of them"):
            SocketSource("right", filter="vlan 7")
        veth.namespace.ip("link set dev lo up")
        with SocketSource("right", filter="vlan 7") as source:
            veth.namespace.ip("link set dev right up")
            veth.namespace.wait_until_up("left", "right")
            veth.send([tagged(ethernet(udp(i)), i) for i in range(6, 9)])
            assert [one.vlan_tci for one in collect(source, 1)] == [7]
            assert_silent(source)


def test_broadcast_addresses_are_those_of_the_netmask(
    veth: Veth, kind: type[LiveSource], need_tool: NeedTool
) -> None:
    """Without an IPv4 address only 255.255.255.255 and 0.0.0.0 match, as in tcpdump."""
    last_bytes = ("c0000207", "c00002ff", "ffffffff", "c00003ff", "c000020b")
    frames = [ethernet(udp(1)[:16] + bytes.fromhex(address) + udp(1)[20:]) for address in last_bytes]
    for address, wanted in ((None, [2]), ("192.0.2.9/24", [1, 2, 3]), ("192.0.2.9/30", [0, 1, 2, 3, 4])):
        if address is not None:
            veth.namespace.ip("address flush dev right")
            veth.namespace.ip(f"address add {address} dev right")
        with veth.namespace.inside(), kind("right", filter="ip broadcast") as source:
            veth.send(frames)
            assert payloads(collect(source, len(wanted))) == [frames[index] for index in wanted]
            assert_silent(source)
        if address is None:
            with veth.namespace.inside():
                theirs = run_peer(need_tool("tcpdump"), "-i", "right", "-dd", "ip broadcast").stdout.decode()
                program = compile_expression("ip broadcast", ETHERNET, live_interface="right")
            assert program == parse_dump(theirs)


def test_live_programs_are_those_of_tcpdump(veth: Veth, need_tool: NeedTool) -> None:
    """They are compiled without opening the interface, unless they contain `vlan`."""
    with veth.namespace.inside():
        for text in ("inbound", "outbound and ip", "vlan and vlan 7", "not vlan", "ip6 or vlan 3", "mpls 7"):
            program = compile_expression(text, ETHERNET, live_interface="right")
            theirs = run_peer(need_tool("tcpdump"), "-i", "right", "-dd", text).stdout.decode()
            assert program == parse_dump(theirs), text


def test_interface_without_privileges_is_not_opened(veth: Veth, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimcap.filter import libpcap

    def refuse(*_: Any) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(libpcap, "_open_interface", refuse)
    with veth.namespace.inside():
        assert compile_expression("udp", ETHERNET, live_interface="right")
        with pytest.raises(AssertionError, match="opened"):
            compile_expression("vlan 7", ETHERNET, live_interface="right")
