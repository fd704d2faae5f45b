"""Sets of addresses as filters of live captures."""

from __future__ import annotations

import struct

import pytest

from slimcap import FilterError
from slimcap.filter import hosts
from support.netns import Veth
from support.traffic import OpenSource, arp, assert_silent, collect, ethernet, payloads, tagged, udp, udp6


def packet(source: int, destination: int) -> bytes:
    """Return a frame from 10.0.0.0 + `source` to 10.0.0.0 + `destination`."""
    ip = bytearray(udp())
    ip[12:20] = struct.pack(">II", 0x0A000000 + source, 0x0A000000 + destination)
    return ethernet(bytes(ip))


def test_hosts_select_packets(veth: Veth, opened: OpenSource) -> None:
    chosen = [f"10.0.{i >> 6}.{(i & 63) * 4}" for i in range(500)]
    frames = [packet(4 * i + i % 3, 1) for i in range(500)]
    for side, count in (("either", 167), ("src", 167), ("dst", 0)):
        source = opened(filter=hosts(chosen, side=side))  # type: ignore[arg-type]
        veth.send([arp(), *frames, packet(0, 0)])
        wanted = [*frames[::3][:count], packet(0, 0)]
        assert payloads(collect(source, len(wanted))) == wanted
        assert_silent(source)
        source.close()


def test_hosts_after_tags_and_together_with_a_filter(veth: Veth, opened: OpenSource) -> None:
    source = opened(
        filter="len < 80", extra_filter=hosts(["10.0.0.1", "2001:db8::/32"], side="src"), snaplen=40
    )
    one, other, six = packet(1, 2), packet(2, 1), ethernet(udp6(1), 0x86DD)
    veth.send([one, other, tagged(one, 7), tagged(tagged(one, 8), 7), one + bytes(100), six])
    wanted = [one[:40], one[:40], tagged(one, 8)[:40], *([six[:40]] if len(six) < 80 else [])]
    assert payloads(collect(source, len(wanted))) == wanted
    source.set_filter(hosts(["10.0.0.2"]))
    veth.send([other, packet(1, 2), packet(1, 3)])
    assert payloads(collect(source, 1)) == [packet(1, 2)[:40]]
    assert_silent(source)


def test_more_hosts_than_the_kernel_accepts_are_refused(opened: OpenSource) -> None:
    with pytest.raises(FilterError, match=r"the kernel accepts 4096: .*Batch.filter"):
        opened(filter=hosts([f"10.{i >> 8}.{i & 255}.1" for i in range(3000)]))
