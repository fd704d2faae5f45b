"""Sets of addresses as filters of live captures."""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
import sys
from typing import Any

import pytest

from slimcap import FilterError
from slimcap.filter import hosts
from slimcap.mock import build_packet
from slimcap.source.live.host.ebpf_program import load_ebpf
from support.bpf_oracles import KernelMachine, random_packet, random_program
from support.cli import PATIENCE
from support.netns import Veth
from support.profiles import profile_seed
from support.traffic import OpenSource, arp, assert_silent, collect, ethernet, payloads, tagged, udp, udp6

SO_ATTACH_BPF = 50
# Ancillary loads that only classic programs have: netlink attributes, hardware type, CPU, flow dissector, …
UNTRANSLATED = {0xFFFFF000 + offset for offset in (12, 16, 28, 36, 40, 52, 56)}


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


# ---- more than a classic program can have

MANY = [f"10.{i >> 8}.{i & 255}.{j}" for i in range(5000) for j in range(1 + (i < 2500))]
MANY += ["2001:db8:1::/48", "2001:db8:2::7"]  # of IPv4, half of them addresses, half adjoining ones: prefixes


@pytest.mark.parametrize("side", ["either", "src", "dst"])
def test_any_number_of_hosts_select_packets(veth: Veth, opened: OpenSource, side: Any) -> None:
    source = opened(filter=hosts(MANY, side=side), snaplen=60)
    rng, frames, wanted = random.Random(1), [arp()], []
    for _ in range(300):
        ends = [rng.randrange(6000) << 8 | rng.randrange(4) for _ in range(2)]
        inside = [(end & 255) < (2 if end >> 8 < 2500 else end >> 8 < 5000) for end in ends]
        frames.append(packet(*ends))
        if {"either": any(inside), "src": inside[0], "dst": inside[1]}[side]:
            wanted.append(frames[-1][:60])
    assert 20 < len(wanted) < 280
    veth.send(frames)
    assert payloads(collect(source, len(wanted))) == wanted
    assert_silent(source)


def test_any_number_of_ipv6_hosts_select_packets(veth: Veth, opened: OpenSource) -> None:
    source = opened(filter=hosts(MANY, side="dst"), auto_filter=False)
    addresses = ["2001:db8:1:ffff::", "2001:db8:2::7", "2001:db8:2::6", "2001:db8:3::", "2001:db8::7"]
    frames = [bytes(build_packet("2001:db8:2::7", address, 1, 2)) for address in addresses]
    frames = [b"\2\0\0\0\0\2" + frame[6:] for frame in frames]
    veth.send([*frames, *(tagged(tagged(frame, 1), 2) for frame in frames)])
    wanted = [*frames[:2], *(tagged(frame, 1) for frame in frames[:2])]
    assert payloads(collect(source, 4)) == wanted
    assert_silent(source)


def test_large_sets_are_combined_with_other_filters(veth: Veth, opened: OpenSource) -> None:
    both = opened(filter=hosts(MANY, side="src"), extra_filter=hosts([*MANY, "10.99.0.0/16"], side="dst"))
    other = opened(
        filter="udp and len < 80", extra_filter=hosts(MANY), direction="in", ignore_vlans=True, snaplen=50
    )
    frames = [packet(0, 256), packet(0, 99 << 16), packet(99 << 16, 0), packet(0, 0)[:42], packet(7, 7)]
    veth.send([*frames, tagged(packet(1, 1), 5), packet(1, 1) + bytes(90)])
    veth.namespace.send("right", [packet(1, 0)])
    wanted = [frames[0], frames[1], frames[3], packet(1, 1), packet(1, 1) + bytes(90), packet(1, 0)]
    assert payloads(collect(both, 6)) == wanted
    assert payloads(collect(other, 4)) == [frame[:50] for frame in frames[:4]]
    assert_silent(other)
    both.set_filter("udp and src host 10.0.0.9")
    veth.send([packet(9, 1), packet(9, 2), packet(1, 1)])
    assert payloads(collect(both, 1)) == [packet(9, 1)]
    both.set_filter(hosts([*MANY, "10.0.0.9"], side="src"))
    veth.send([packet(9, 1), packet(9, 2), packet(1, 1)])
    assert payloads(collect(both, 2)) == [packet(9, 1), packet(1, 1)]
    assert_silent(both)


def test_metadata_that_only_the_kernel_has_can_be_loaded(veth: Veth, opened: OpenSource) -> None:
    # protocol is 0x0800, vlan_tpid 0x88a8, vlan_tci 7
    program = [
        *((0x20, 0, 0, 0xFFFFF000), (0x15, 0, 5, 0x0800), (0x20, 0, 0, 0xFFFFF03C), (0x15, 0, 3, 0x88A8)),
        *((0x20, 0, 0, 0xFFFFF02C), (0x15, 0, 1, 7), (6, 0, 0, 262144), (6, 0, 0, 0)),
    ]
    source = opened(filter=program, extra_filter=hosts(MANY))
    veth.send([tagged(packet(1, 1), 7), tagged(packet(1, 1), 8, 0x88A8), tagged(packet(1, 0), 7, 0x88A8)])
    assert payloads(collect(source, 1)) == [packet(1, 0)]
    with pytest.raises(FilterError, match="ancillary load 0xfffff038 cannot be combined"):  # a random number
        opened(filter=[(0x20, 0, 0, 0xFFFFF038), (6, 0, 0, 1)], extra_filter=hosts(MANY))


def test_invalid_filters_with_a_large_set_are_refused(opened: OpenSource) -> None:
    before = os.listdir("/proc/self/fd")
    for filter in ("no such thing", [(6, 0, 0)]):
        with pytest.raises(FilterError):
            opened(filter=filter, extra_filter=hosts(MANY))
    assert os.listdir("/proc/self/fd") == before


def test_translated_programs_return_what_classic_ones_do() -> None:
    """Random programs on datagrams; the kernel runs both."""
    rng, kept = random.Random(profile_seed() or 5), 0
    machine = KernelMachine()
    try:
        for _ in range(400):
            program, data = random_program(rng), random_packet(rng)
            wanted = machine.run(program, data)
            if any(load in UNTRANSLATED for code, _, _, load in program if code & 0xE7 == 0x20):
                continue
            kept += 1
            with load_ebpf([], 1, program) as translated:
                machine.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, translated.fileno())
            assert machine.receive(data) == wanted, program
    finally:
        machine.close()
    assert kept > 200


def test_missing_privileges_are_explained(veth: Veth) -> None:
    script = f"""
import slimcap
from slimcap.filter import hosts
try:
    slimcap.open_live("right", filter=hosts({MANY[:7500]!r}))
except slimcap.FilterError as error:
    print(error)
"""
    with veth.namespace.inside():
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_admin,-bpf,-net_admin,-perfmon", sys.executable, "-P", "-"],
            input=script, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    assert (
        "<HostSet: 5,000 IPv4 ranges, either side>: so many addresses require an eBPF program" in done.stdout
    )
