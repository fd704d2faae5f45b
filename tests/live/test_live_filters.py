"""Live sources: filters and direction."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from slimcap import (
    NO_IP,
    FilterError,
)
from slimcap.filter import Direction, check, compile_expression
from support.bpf_oracles import ETHERNET, LD, RAW, TAG_PRESENT, kernel_accepts, parse_dump
from support.cli import NeedTool
from support.netns import Namespace, Veth
from support.peers import run_peer
from support.traffic import (
    LEFT,
    RIGHT,
    LiveSource,
    OpenSource,
    arp,
    assert_silent,
    collect,
    ethernet,
    payloads,
    udp,
    udp6,
)

# ---- filters


def test_only_ip_passes_by_default(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    frames = [
        arp(),
        ethernet(udp(1)),
        ethernet(b"\0" * 50, 0x88B5),
        ethernet(udp6(2), 0x86DD),
        arp(),
        ethernet(udp(3)),
    ]
    veth.send(frames)
    assert payloads(collect(source, 3)) == [frames[1], frames[3], frames[5]]
    assert_silent(source)


def test_everything_passes_without_auto_filter(veth: Veth, opened: OpenSource) -> None:
    source = opened(auto_filter=False)
    frames = [arp(), ethernet(udp(1)), ethernet(b"\0" * 50, 0x88B5)]
    veth.send(frames)
    got = collect(source, 3)
    assert payloads(got) == frames
    assert [one.ip_offset for one in got] == [NO_IP, 14, NO_IP]


def test_expression_selects_packets(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="udp port 5000")
    frames = [ethernet(udp(i, port=5000 + i % 2)) for i in range(10)]
    veth.send([arp(), *frames])
    assert payloads(collect(source, 5)) == frames[::2]
    assert_silent(source)


def test_expression_with_a_snaplen(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter="arp", snaplen=20)
    veth.send([ethernet(udp()), arp()])
    assert payloads(collect(source, 1)) == [arp()[:20]]


def test_program_with_a_snaplen(veth: Veth, opened: OpenSource) -> None:
    program = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0806), (6, 0, 0, 262144), (6, 0, 0, 0)]
    source = opened(filter=program, snaplen=30)
    veth.send([ethernet(udp()), arp(7)])
    assert payloads(collect(source, 1)) == [arp(7)[:30]]
    assert_silent(source)


@pytest.mark.parametrize(
    "filter", ["no such thing", [], [(0, 0, 0, 0)], [(6, 0, 0)], [(0x15, 9, 9, 0), (6, 0, 0, 1)]]
)
def test_invalid_filter_leaves_nothing_open(opened: OpenSource, filter: Any) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FilterError):
        opened(filter=filter)
    assert os.listdir("/proc/self/fd") == before


def test_live_expressions_ask_the_kernel_for_the_tag(veth: Veth, need_tool: NeedTool) -> None:
    with veth.namespace.inside():
        for text in ("vlan 10 and ip", "tcp port 80"):
            program = compile_expression(text, ETHERNET, live_interface="right")
            wanted = run_peer(need_tool("tcpdump"), "-i", "right", "-dd", text).stdout.decode()
            assert program == parse_dump(wanted)
            assert kernel_accepts(check(program))
            asks = (LD | 0x10 | 0x20, 0, 0, TAG_PRESENT) in program
            assert asks == ("vlan" in text)
        assert compile_expression("ip", RAW, live_interface="right") == compile_expression("ip", RAW)


# ---- direction


@pytest.mark.parametrize("options", [{}, {"filter": "udp"}, {"auto_filter": False}], ids=str)
@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_direction_selects_received_or_sent_packets(
    veth: Veth, opened: OpenSource, direction: Direction, options: dict[str, Any]
) -> None:
    source = opened(direction=direction, **options)
    came = [ethernet(udp(i)) for i in range(3)]
    went = [ethernet(udp(i + 100), dst=LEFT, src=RIGHT) for i in range(3)]
    for pair in zip(came, went, strict=True):
        veth.send([pair[0]])
        veth.namespace.send("right", [pair[1]])
    wanted = {
        "in": came,
        "out": went,
        "both": [frame for pair in zip(came, went, strict=True) for frame in pair],
    }
    assert payloads(collect(source, len(wanted[direction]))) == wanted[direction]
    assert_silent(source)


@pytest.mark.parametrize(("direction", "types"), [("in", [0]), ("out", [4]), ("both", [4, 0])])
def test_direction_on_the_loopback_interface(
    namespace: Namespace, kind: type[LiveSource], direction: Direction, types: list[int]
) -> None:
    """The loopback interface delivers each packet twice, once in each direction."""
    namespace.ip("link set lo up")
    with (
        namespace.inside(), kind("lo", direction=direction) as source,
        socket.socket(type=socket.SOCK_DGRAM) as sock,
    ):  # fmt: skip
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"hello", sock.getsockname())
        assert [one.pkt_type for one in collect(source, len(types))] == types
        assert_silent(source)


def test_unknown_direction_is_refused(opened: OpenSource) -> None:
    with pytest.raises(ValueError, match=r"direction .*sideways"):
        opened(direction="sideways")
