"""Mocks, compared with the kernel: the same frames and options give the same rows, bytes and counters."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pytest

from slimcap import RECORD_DTYPE, Batch, Packet, PacketType, RingSource, SocketSource, Stats
from slimcap.filter import accept, minimal_ipv4_transport
from slimcap.mock import MockRingSource, MockSocketSource
from support.netns import Namespace, Veth
from support.traffic import (
    ALL,
    GROUP,
    LEFT,
    OTHER,
    PAGE,
    RIGHT,
    Got,
    LiveSource,
    arp,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
    udp6,
)

Mock: TypeAlias = MockRingSource | MockSocketSource
Twins: TypeAlias = tuple[LiveSource, Mock]
OpenTwins: TypeAlias = Callable[..., Twins]

TWINS = [(RingSource, MockRingSource), (SocketSource, MockSocketSource)]


RING: dict[str, Any] = {"block_size": 1 << 16, "num_blocks": 16}


FRAMES = [
    *frames_of(10),
    arp(),
    ethernet(udp6(), 0x86DD),
    ethernet(udp(20, 300)),
    ethernet(udp(21, port=53)),
    ethernet(b"\0" * 50, 0x88B5),
    ethernet(b"\0"),
    ethernet(b"\x45", 0x0800),
    *(
        tagged(ethernet(udp(i)), tci, tpid)
        for i in (30, 31)
        for tci in (0, 5, 7, 0xEFFF)
        for tpid in (0x8100, 0x88A8)
    ),
    tagged(tagged(ethernet(udp(40)), 7), 100, 0x88A8),
    tagged(tagged(ethernet(udp(41)), 5), 7),
    tagged(tagged(tagged(ethernet(udp(42)), 1), 2), 3, 0x88A8),
    tagged(arp(), 7),
    tagged(ethernet(udp6(), 0x86DD), 7),
    *(tagged(ethernet(udp(50)), 7)[:cut] for cut in range(15, 40)),
    ethernet(udp(60), dst=ALL),
    ethernet(udp(61), dst=GROUP),
    ethernet(udp(62), dst=OTHER),
    tagged(ethernet(udp(63), dst=OTHER), 7),
]


TYPES = {
    RIGHT: PacketType.THIS_HOST,
    ALL: PacketType.BROADCAST,
    GROUP: PacketType.MULTICAST,
    OTHER: PacketType.OTHER_HOST,
}


SENT = [ethernet(udp(70), dst=LEFT, src=RIGHT), tagged(ethernet(udp(71), dst=LEFT, src=RIGHT), 7)]


IP_ALONE = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (6, 0, 0, 77), (6, 0, 0, 0)]


TAG = [(0x20, 0, 0, 0xFFFFF000 + 44), (0x15, 0, 1, 7), (6, 0, 0, 262144), (6, 0, 0, 0)]


OUT = [(0x20, 0, 0, 0xFFFFF000 + 4), (0x15, 0, 1, 4), (6, 0, 0, 262144), (6, 0, 0, 0)]


NET = [(0x30, 0, 0, 0xFFF00000 + 0), (0x54, 0, 0, 0xF0), (0x15, 0, 1, 0x40), (6, 0, 0, 30), (6, 0, 0, 0)]


PROTOCOL = [(0x20, 0, 0, 0xFFFFF000), (0x15, 0, 1, 0x0800), (6, 0, 0, 262144), (6, 0, 0, 0)]


LENGTH = [(0x80, 0, 0, 0), (0x35, 0, 1, 70), (6, 0, 0, 262144), (6, 0, 0, 0)]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"auto_filter": False},
    {"auto_filter": False, "snaplen": 60},
    {"auto_filter": False, "snaplen": 13},
    {"snaplen": minimal_ipv4_transport},
    {"auto_filter": False, "reinsert_vlan": True},
    {"auto_filter": False, "reinsert_vlan": True, "snaplen": 17},
    {"ignore_vlans": True},
    {"auto_filter": False, "ignore_vlans": True},
    {"ignore_vlans": True, "filter": "udp"},
    {"direction": "in"},
    {"direction": "out", "auto_filter": False},
    {"direction": "out", "filter": "udp"},
    {"filter": "udp port 53"},
    {"filter": "arp", "snaplen": 20},
    {"filter": "ether broadcast"},
    {"filter": "inbound"},
    {"filter": "outbound"},
    {"filter": "greater 100"},
    {"filter": "vlan"},
    {"filter": "vlan 7"},
    {"filter": "not vlan"},
    {"filter": "vlan 7 and udp"},
    {"filter": "udp or vlan 5"},
    {"filter": "vlan and vlan"},
    {"filter": "vlan 7", "reinsert_vlan": True},
    {"filter": accept(40)},
    {"filter": IP_ALONE},
    {"filter": TAG},
    {"filter": OUT},
    {"filter": NET},
    {"filter": PROTOCOL},
    {"filter": LENGTH},
]  # fmt: skip


@pytest.fixture(params=TWINS, ids=["ring", "socket"])
def twins(request: pytest.FixtureRequest, veth: Veth) -> Iterator[OpenTwins]:
    """Opens a source at the right end of the veth pair, and its mock."""
    real, mock = request.param
    with contextlib.ExitStack() as stack:

        def open_both(**options: Any) -> Twins:
            if real is RingSource:
                options = RING | options
            with veth.namespace.inside():
                live = stack.enter_context(real("right", **options))
                return live, stack.enter_context(mock(live.link, timeout=5, **options))

        yield open_both


def traffic(veth: Veth, frames: Sequence[bytes] = FRAMES, sent: Sequence[bytes] = SENT) -> list[Packet]:
    """Send frames to the right end and out of it; return the packets that a producer adds for them."""
    veth.send(frames)
    veth.namespace.send("right", sent)
    return [Packet.from_payload(frame, TYPES[frame[:6]]) for frame in frames] + [
        Packet.from_payload(frame, PacketType.OUTGOING) for frame in sent
    ]


def assert_same(real: list[Got], mock: list[Got]) -> None:
    """Compare all columns except `timestamp` and `offset`, and the payloads."""
    assert payloads(real) == payloads(mock)
    for name in set(RECORD_DTYPE.names or ()) - {"offset", "timestamp"}:
        assert [one.record[name] for one in real] == [one.record[name] for one in mock], name
    assert all(abs(a.timestamp - b.timestamp) < 60 * 10**9 for a, b in zip(real, mock, strict=True))


def test_mock_passes_and_drops_as_the_kernel_does(veth: Veth, twins: OpenTwins) -> None:
    """Compares which packets pass, not only those that did."""
    pairs = [(options, *twins(**options)) for options in OPTIONS]
    packets = traffic(veth)
    passed = []
    for options, live, mock in pairs:
        count = sum([mock.add_packet(packet) for packet in packets])
        mock.done()
        try:
            assert_same(collect(live, count), collect(mock, count))
            assert live.total_stats == mock.total_stats == Stats(count, 0, 0)
        except (AssertionError, TimeoutError) as error:
            pytest.fail(f"{options}: {error!r}")
        passed.append(count)
    assert len(passed) == len(OPTIONS)
    assert 0 < min(passed) < max(passed)


def test_mock_of_a_link_that_exists(veth: Veth, twins: OpenTwins) -> None:
    live, mock = twins()
    assert mock.link == live.link
    assert mock.link.index == live.link.index > 0


@pytest.mark.parametrize("with_tag", [False, True])
def test_frames_cut_at_every_length(veth: Veth, twins: OpenTwins, with_tag: bool) -> None:
    """The lengths cut tags and headers anywhere; drivers refuse frames shorter than 14 bytes."""
    whole = tagged(tagged(ethernet(udp(1)), 5), 7, 0x88A8) if with_tag else ethernet(udp(1))
    frames = [whole[:cut] for cut in range(15, len(whole))]
    live, mock = twins(auto_filter=False)
    count = sum([mock.add_packet(packet) for packet in traffic(veth, frames, [])])
    assert count == len(frames) - (5 if with_tag else 0)  # which are too short to take the tag out
    mock.done()
    assert_same(collect(live, count), collect(mock, count))
    assert live.total_stats == mock.total_stats


@pytest.mark.parametrize("size", [3000, 3900, 4096 - 48 - 82, 4096 - 48 - 81, 4096, 9000])
def test_packets_around_the_size_of_a_block(veth: Veth, size: int) -> None:
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 60000")
    options: dict[str, Any] = {
        "block_size": PAGE,
        "num_blocks": 8,
        "auto_filter": False,
        "block_timeout": 0.005,
    }
    frames = [ethernet(udp(1)), ethernet(bytes(size - 14)), ethernet(udp(3))]
    with veth.namespace.inside(), RingSource("right", **options) as live, MockRingSource(**options) as mock:
        for frame in frames:
            veth.send([frame])
            mock.add_packet(Packet.from_payload(frame, 0))
        mock.done()
        assert_same(collect(live, 3), collect(mock, 3))


def test_mock_of_a_tun_device(namespace: Namespace) -> None:
    fd = namespace.tun("tun")
    packets = [udp(1), udp6(2), udp(3, 500)]
    for real, mock in TWINS:
        for options in (
            {},
            {"filter": "ip6"},
            {"snaplen": 30},
            {"reinsert_vlan": True, "ignore_vlans": True},
        ):
            with namespace.inside():
                live = real("tun", **options)
                twin = mock(live.link, timeout=5, **options)
            with live, twin:
                for data in packets:
                    os.write(fd, data)
                count = sum(twin.add_packet(Packet.from_payload(data, 0)) for data in packets)
                twin.done()
                assert_same(collect(live, count), collect(twin, count))


def test_full_mock_drops_as_the_kernel_does(veth: Veth) -> None:
    """Compares the counters of packets, drops and freezes."""
    options: dict[str, Any] = {"block_size": PAGE, "num_blocks": 2, "block_timeout": 10}
    frames = frames_of(200)
    with veth.namespace.inside():
        live = RingSource("right", **options)
    with live, MockRingSource(when_full="drop", **options) as mock:
        veth.send(frames)
        for frame in frames:
            mock.add_packet(Packet.from_payload(frame, 0))
        assert live.total_stats == mock.total_stats
        assert live.total_stats.packets_dropped > 100
        mock.done()
        live.stop()
        assert [bytes(packet.payload) for packet in live] == [bytes(packet.payload) for packet in mock]


def test_mock_replays_a_live_source(veth: Veth, twins: OpenTwins) -> None:
    """Bytes, tags and times of a live capture pass through `pipe`."""
    live, mock = twins(auto_filter=False)
    with veth.namespace.inside():
        copy = type(live)("right", **(RING if isinstance(live, RingSource) else {}), auto_filter=False)
    with copy:
        replay = mock.pipe(live)
        traffic(veth)
        time.sleep(0.1)
        live.stop()
        count = replay.wait(5)
        assert count > 50
        theirs, ours = collect(copy, count), collect(mock, count)
        assert [one.timestamp // 10**10 for one in theirs] == [one.timestamp // 10**10 for one in ours]
    assert_same(theirs, ours)


# ---- layout of a block


# TP_STATUS_TS_*: set once the kernel timestamps packets, which it starts when any process asks for it.
TIMESTAMP_BITS = 0xE0000000


def headers_of(batch: Batch) -> list[tuple[int, ...]]:
    """Return the headers of the packets in a block, without time and flow hash."""
    block = bytes(batch.data)
    version, to_priv, status, count, at, used = struct.unpack_from("=6I", block)
    found: list[tuple[int, ...]] = [(version, to_priv, status & 0xFFFF, count, at, used)]
    for _ in range(count):
        header = struct.unpack_from("=IIIIIIHHIIHH8x", block, at)
        address = struct.unpack_from("=HHiHB", block, at + 48)
        status = header[5] & ~TIMESTAMP_BITS
        found.append((header[0], *header[3:5], status, *header[6:8], *header[9:12], *address))
        at += header[0]
    return found


def test_block_of_a_mock_is_laid_out_as_by_the_kernel(veth: Veth) -> None:
    """Compares all fields except times and hashes."""
    with veth.namespace.inside():
        live = RingSource("right", auto_filter=False, block_size=1 << 18)  # a block a batch
    with live, MockRingSource(live.link, auto_filter=False, timeout=5) as mock:
        count = sum([mock.add_packet(packet) for packet in traffic(veth)])
        mock.finalize_block()
        ours = headers_of(mock.next_batch())
        live.stop()
        theirs = [headers_of(batch) for batch in live.batches()]
    assert sum(len(found) - 1 for found in theirs) == count
    assert [found[0][:2] for found in theirs] == [ours[0][:2]] * len(theirs)
    # The kernel's timer may have cut them into several blocks, whose last packets have no next one.
    real = [header for found in theirs for header in found[1:]]
    for a, b in zip(real, ours[1:], strict=True):
        assert a[1:] == b[1:]
        assert a[0] in (b[0], 0) or b[0] == 0


# ---- without privileges


UNPRIVILEGED = """
import ctypes, sys
import slimcap.mock
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
try:
    slimcap.RingSource("lo")
except PermissionError:
    pass
else:
    sys.exit("still privileged")
frames = eval(sys.argv[3])
for text in eval(sys.argv[2]):
    with getattr(slimcap.mock, sys.argv[1])(filter=text, timeout=5) as mock:
        passed = [mock.add_packet(slimcap.Packet.from_payload(frame, 0)) for frame in frames]
        mock.done()
        got = [bytes(packet.payload) for packet in mock]
        print([i for i in range(len(frames)) if passed[i]], len(got) == sum(passed))
"""


PLAIN = [ethernet(udp(1)), tagged(ethernet(udp(2)), 7), tagged(ethernet(udp(3)), 8), arp()]


EXPRESSIONS = {
    "udp": [0, 1, 2],
    "arp": [3],
    "vlan": [1, 2],
    "vlan 7": [1],
    "vlan 8 and udp": [2],
    "not vlan": [0, 3],
}


@pytest.mark.parametrize("kind", [MockRingSource, MockSocketSource])
def test_expressions_need_no_privileges(kind: type[Mock]) -> None:
    """Expressions give the same result with privileges and without, also those with `vlan`."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, kind.__name__, repr(list(EXPRESSIONS)), repr(PLAIN)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.splitlines() == [f"{wanted} True" for wanted in EXPRESSIONS.values()]
    for text, wanted in EXPRESSIONS.items():
        with kind(filter=text, timeout=5) as mock:
            passed = [mock.add_packet(Packet.from_payload(frame, 0)) for frame in PLAIN]
        assert [i for i, came in enumerate(passed) if came] == wanted
