"""Sets of addresses and prefixes: the search tree, what matches in files, batches and mocks."""

from __future__ import annotations

import bisect
import ipaddress
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimcap
from slimcap import FilterError, LinkType, ip_to_str, open_file, open_files, plan, read
from slimcap.filter import HostSet, Machine, build_program, compile_expression, hosts
from slimcap.filter.range_tree import Range, search
from slimcap.mock import MockRingSource, build_packet
from support.batches import batch_of
from support.bpf_frames import TAGGED, WITH_IP, ethernet_frames
from support.bpf_oracles import ETHERNET, kernel_accepts
from support.samples import GOOD

LIVE: Any = {"snaplen": 96, "auto_filter": False, "ignore_vlans": False, "interface": None}
SUPPORTED = {0, 1, 12, 14, 101, 108, 109, 113, 226, 228, 229, 276}

# ---- the tree


def merged(ranges: list[Range]) -> list[Range]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def some_range(rng: random.Random, bits: int, base: int) -> Range:
    """Return a single value, one near `base`, a prefix, a short or a long range, or one at an end."""
    top = (1 << bits) - 1
    value = rng.getrandbits(bits)
    near = (base & ~0xFFFF) | rng.getrandbits(rng.choice((4, 16)))
    prefix = rng.randrange(1, bits + 1)
    low = value >> (bits - prefix) << (bits - prefix)
    return rng.choice(
        (
            (value, value), (near, near), (low, low | ((1 << (bits - prefix)) - 1)),
            (value, min(top, value + rng.getrandbits(33))), (0, 3), (top - 5, top), (top, top), (0, 0),
        )
    )  # fmt: skip


@pytest.mark.parametrize("words", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 30, 300])
def test_tree_finds_what_is_in_a_range(words: int, size: int) -> None:
    bits, rng = 32 * words, random.Random(words * size)
    for _ in range(60 if size < 30 else 6):
        base = rng.getrandbits(bits)
        ranges = merged([some_range(rng, bits, base) for _ in range(size)])
        machine = Machine([(1, 0, 0, 0), *search(ranges, words, 0, 77), (6, 0, 0, 0)])
        tried = {0, (1 << bits) - 1, *(rng.getrandbits(bits) for _ in range(50))}
        for first, last in ranges:
            tried |= {max(0, first - 1), first, (first + last) // 2, last, min((1 << bits) - 1, last + 1)}
        for value in tried:
            at = bisect.bisect_right(ranges, (value, 1 << 129)) - 1
            wanted = 77 if at >= 0 and value <= ranges[at][1] else 0
            assert machine.run(value.to_bytes(bits // 8)) == wanted, (hex(value), ranges)


@pytest.mark.parametrize("size", [0, 1, 4, 100, 1500])
def test_kernel_accepts_programs_of_many_hosts(size: int) -> None:
    rng = random.Random(size)
    chosen = hosts([ipaddress.IPv4Address(rng.getrandbits(32)) for _ in range(size)])
    program = build_program(ETHERNET, chosen, **LIVE)
    assert kernel_accepts(program)
    assert len(program) < 100 + 2.6 * size


def test_too_many_hosts_for_the_kernel_are_refused() -> None:
    chosen = hosts([f"10.{i >> 8}.{i & 255}.1" for i in range(5000)])
    with pytest.raises(
        FilterError, match=r"<HostSet: 5,000 IPv4 ranges, either side>: .* 4096 instructions.*Batch.filter"
    ):
        build_program(ETHERNET, chosen, **LIVE)


def test_100_000_hosts_take_seconds() -> None:
    rng = random.Random(3)
    numbers = rng.sample(range(1 << 32), 100_000)
    begin = time.process_time()
    chosen = hosts([str(ipaddress.IPv4Address(number)) for number in numbers], side="dst")
    machine = Machine(chosen.program(LinkType.RAW))
    assert time.process_time() - begin < 10
    known = set(numbers)
    head = b"E" + bytes(15)
    for number in [*numbers[:500], *(number + 1 & 0xFFFFFFFF for number in numbers[:500])]:
        assert (machine.run(head + number.to_bytes(4)) > 0) == (number in known)


# ---- what matches


def frames_of(source: str, destination: str) -> list[bytes]:
    """Return an IP packet after all headers that are looked through."""
    ip = bytes(build_packet(source, destination, 1, 2, payload=b"x"))[14:]
    ethertype, ppp = (b"\x08\0", b"\0\x21") if "." in source else (b"\x86\xdd", b"\0\x57")
    pppoe = b"\x88\x64\x11\0\0\1\0\x40" + ppp
    tags = [b"", b"\x81\0\0\7", b"\x88\xa8\0\7\x81\0\0\7", b"\x81\0\0\7" * 3]
    return [bytes(12) + tag + kind + ip for tag in tags for kind in (ethertype, pppoe)]


@pytest.mark.parametrize(
    ("side", "expression"),
    [
        ("either", "(ip or ip6) and (net 10.0.0.0/24 or host 192.0.2.7 or net 2001:db8::/64)"),
        ("src", "(ip or ip6) and (src net 10.0.0.0/24 or src host 192.0.2.7 or src net 2001:db8::/64)"),
        ("dst", "(ip or ip6) and (dst net 10.0.0.0/24 or dst host 192.0.2.7 or dst net 2001:db8::/64)"),
    ],
)
def test_hosts_match_as_tcpdump_expressions(side: Any, expression: str) -> None:
    """libpcap looks at no IP after tags or PPPoE, and at the addresses of cut packets in another order."""
    chosen = hosts(["10.0.0.0/24", "192.0.2.7", "2001:db8::/64"], side=side)
    ours = Machine(chosen.program(ETHERNET, snaplen=50))
    theirs = Machine(compile_expression(expression, ETHERNET, snaplen=50))
    four = ("10.0.0.255", "10.0.1.0", "192.0.2.7", "192.0.2.6")
    six = ("2001:db8::ffff:0:1", "2001:db8:0:1::", "2001:db7:ffff::")
    count = 0
    for addresses in (four, six):
        for source in addresses:
            for destination in addresses:
                plain, *others = frames_of(source, destination)
                first, end = (26, 34) if addresses is four else (22, 54)
                for cut in range(len(plain) + 1):
                    wanted = theirs.run(plain[:cut])
                    assert ours.run(plain[:cut]) == wanted or first + 4 <= cut < end
                count += theirs.run(plain) > 0
                assert {ours.run(frame) for frame in others} == {theirs.run(plain)}
    assert 5 < count < 22
    for name, frame in ethernet_frames().items():
        if not frame[12:].startswith((b"\x08\0", b"\x86\xdd")) and name not in TAGGED | WITH_IP:
            assert ours.run(frame) == 0, name


# Packets with IP that are not seen: after MPLS labels, LLC, rarer tags, and tags or LLC in cooked captures.
UNSEEN = {
    "ethernet_mpls.pcap": 11,
    "ethernet_llc.pcap": 3,
    "ethernet_vlan.pcap": 2,
    "sll.pcap": 2,
    "sll2.pcap": 2,
}
DAMAGED = {"odd_headers.pcap", "odd_lengths.pcap"}  # addresses in IP headers that are cut off or not valid


@pytest.mark.parametrize("name", [name for name in GOOD if name.endswith(".pcap") and name not in DAMAGED])
def test_hosts_in_files_are_those_of_the_header_columns(name: str, data_path: Path) -> None:
    batch = read(data_path / name)
    headers = batch.headers(["src", "dst", "ip_version"])
    has_ip = headers["ip_version"] > 0
    if batch.links[0].type not in SUPPORTED:
        has_ip[:] = False
    texts = {column: np.asarray(ip_to_str(headers[column])) for column in ("src", "dst")}
    chosen = sorted({*texts["src"][has_ip], *texts["dst"][has_ip]} - {"::", "0.0.0.0"})[::2]
    inside = {column: has_ip & np.isin(texts[column], chosen) for column in texts}
    inside["either"] = inside["src"] | inside["dst"]
    unseen = 0
    for side, wanted in inside.items():
        found = batch.filter(hosts(chosen, side=side))  # type: ignore[arg-type]
        expected = [int(time) for time in batch[wanted]["timestamp"]]
        times = [int(time) for time in found["timestamp"]]
        assert set(times) <= set(expected)
        unseen = len(expected) - len(times)
    assert unseen == UNSEEN.get(name, 0)


def test_hosts_filter_sources_and_batches(data_path: Path) -> None:
    path = data_path / "mixed.pcap"
    chosen = hosts(["10.0.0.0/8", "2001:db8::/32"])
    wanted = read(path, where={"net": ["10.0.0.0/8", "2001:db8::/32"]})
    wanted = wanted[wanted.headers(["ip_version"])["ip_version"] > 0]
    times = [int(time) for time in wanted["timestamp"]]
    assert 0 < len(times) < len(read(path))
    assert [int(time) for time in read(path, filter=chosen)["timestamp"]] == times
    assert [int(time) for time in read(path).filter(chosen)["timestamp"]] == times
    with open_files([path, path], filter=chosen) as source:
        assert sum(map(len, source.batches())) == 2 * len(times)
    tasks = pickle.loads(pickle.dumps(plan(path, chunk_bytes=1000, filter=chosen)))
    assert sum(len(task.read()) for task in tasks) == len(times)
    with MockRingSource(filter=chosen) as mock:
        frames = batch_of(frames_of("10.0.0.1", "192.0.2.1") + frames_of("11.0.0.1", "192.0.2.1"))
        assert mock.add_batch(frames) == 8
        mock.set_filter(hosts(["192.0.2.1"], side="dst"))
        assert mock.add_batch(frames) == 16
        mock.set_filter(hosts([]))
        assert mock.add_batch(frames) == 0
    with MockRingSource(filter="udp", extra_filter=chosen) as mock:
        assert mock.add_batch(frames) == 2  # the kernel removes a tag
        assert mock.interfaces[0].filter == ""
    many = [f"10.{i >> 8}.{i & 255}.9" for i in range(5000)]
    with MockRingSource(filter=hosts(many), extra_filter="udp", snaplen=40) as mock:
        assert mock.add_batch(frames) == 0
        mock.set_filter(hosts([*many, "10.0.0.1"], side="src"))
        assert mock.add_batch(frames) == 2
        mock.finalize_block()
        assert list(mock.next_batch()["cap_len"]) == [40, 40]


def test_link_types_without_a_program_are_named(data_path: Path) -> None:
    with open_file(data_path / "ieee80211.pcap", filter=hosts(["10.0.0.1"])) as source:
        assert list(source) == []
        ((link_type, reason),) = source.unfilterable.items()
    assert link_type == LinkType.IEEE802_11
    assert "hosts: no filter for link type IEEE802_11: use the conditions of HeaderFilter" in reason
    with pytest.raises(FilterError, match="link type 9999"):
        hosts([]).program(9999)


# ---- sets


def test_sets_are_compared_and_shown() -> None:
    one = hosts(["192.0.2.1", "192.0.2.0/32", "2001:db8::1", ipaddress.ip_network("2001:db8::/127")])
    other = hosts(["192.0.2.0/31", "2001:db8::/127", "::ffff:192.0.2.1", ipaddress.ip_address("192.0.2.0")])
    assert one == other == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(other)
    assert repr(one) == "<HostSet: 1 IPv4 range, 1 IPv6 range, either side>"
    assert one != hosts(["192.0.2.0/31", "2001:db8::/127"], side="src")
    assert one != "192.0.2.0/31"
    assert repr(hosts(iter([]))) == "<HostSet: empty, either side>"
    assert isinstance(one, HostSet)
    everything = Machine(hosts(["0.0.0.0/0", "::/0"]).program(ETHERNET))
    assert all(
        everything.run(frame) > 0 for frame in frames_of("1.2.3.4", "5.6.7.8") + frames_of("::1", "::2")
    )


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (["10.0.0.1/8"], ValueError, "hosts must be addresses .* has host bits set"),
        (["10.0.0"], ValueError, "hosts must be addresses"),
        (["010.0.0.1"], ValueError, "hosts must be addresses"),
        (["10.0.0.1\0"], ValueError, "hosts must be addresses"),
        (["localhost"], ValueError, "hosts must be addresses"),
        (["fe80::1%eth0"], ValueError, "without zones"),
        ([b"abcd"], TypeError, "each of hosts must be an IP address or network, not bytes"),
        ([1], TypeError, "each of hosts must be an IP address or network, not int"),
        ("10.0.0.1", TypeError, "hosts must be an iterable of IP addresses"),
        (7, TypeError, "hosts must be an iterable of IP addresses"),
    ],
)
def test_what_is_not_a_host_is_refused(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hosts(value)


def test_side_is_one_of_three() -> None:
    call: Callable[..., HostSet] = hosts
    with pytest.raises(ValueError, match='side must be "either", "src" or "dst", not \'both\''):
        call([], side="both")
    assert slimcap.filter.hosts([]).side == "either"
