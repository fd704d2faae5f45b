"""RingSource on interfaces that the tests made: what it gives, what it leaves out, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from slimcap import (
    NO_IP,
    CaptureStopped,
    CaptureUnblocked,
    FilterError,
    LinkDown,
    LinkGone,
    LinkNotFound,
    PacketType,
    RecordFlag,
    RingExhausted,
    Stats,
    View,
    read,
)
from slimcap.source.afring import RingSource
from slimcap.source.link import Link

LEFT, RIGHT = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OTHER, ALL, GROUP = bytes.fromhex("020000000099"), b"\xff" * 6, bytes.fromhex("01005e000001")
PAGE = os.sysconf("SC_PAGESIZE")
SMALL = {"block_size": PAGE, "num_blocks": 2, "block_timeout": 0.001}


# ---- frames


def ethernet(payload, kind=0x0800, dst=RIGHT, src=LEFT):
    return dst + src + struct.pack("!H", kind) + payload


def udp(n=0, size=20, port=5000):
    """IPv4 and UDP with a number in it."""
    data = struct.pack("!I", n) + bytes((n + i) % 251 for i in range(size))
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28 + len(data), n & 0xFFFF, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2"
    )
    return head + struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data


def udp6(n=0):
    data = struct.pack("!I", n)
    addresses = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002")
    return (
        struct.pack("!IHBB", 6 << 28, 8 + len(data), 17, 64)
        + addresses
        + struct.pack("!HHHH", 1, 2, 12, 0)
        + data
    )


def arp(n=0):
    return ethernet(
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + LEFT + bytes(16) + struct.pack("!I", n), 0x0806, ALL
    )


def tagged(frame, tci, tpid=0x8100):
    return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]


def frames_of(count, size=20):
    return [ethernet(udp(i, size + i % 7)) for i in range(count)]


# ---- reading


class Got(NamedTuple):
    data: bytes
    record: np.void

    def __getattr__(self, name):
        return self.record[name].item()


def collect(source, count, within=10):
    """So many packets, copied; the blocks they were in are given back."""
    end = time.monotonic() + within
    got = []
    while len(got) < count:
        batch = source.next_batch(timeout=max(0, end - time.monotonic()))
        rows = batch.records.copy()
        got += [Got(bytes(batch.payload(i)), rows[i]) for i in range(len(batch))]
        del batch
    return got


def payloads(got):
    return [one.data for one in got]


def assert_silent(source):
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.2)


@pytest.fixture
def opened(veth):
    """Opens a RingSource in the namespace of the cable, at its right end."""
    with contextlib.ExitStack() as stack:

        def open_ring(name="right", **options):
            # Each block timeout uses up a block for a single packet, and this machine may be busy.
            options = {"block_size": 1 << 16, "num_blocks": 64} | options
            with veth.namespace.inside():
                return stack.enter_context(RingSource(name, **options))

        yield open_ring


# ---- packets


@pytest.mark.parametrize(
    "options", [{}, {"block_size": 1 << 20, "num_blocks": 16, "block_timeout": 0.01}], ids=str
)
def test_batches_are_what_was_sent(veth, opened, options):
    source = opened(**options)
    frames = frames_of(300)
    before = time.time_ns()
    assert veth.send(frames) == 300
    got = collect(source, 300)
    after = time.time_ns()
    assert payloads(got) == frames
    assert [one.cap_len for one in got] == [one.total_len for one in got] == [len(frame) for frame in frames]
    assert {(one.ip_offset, one.pkt_type, one.flags, one.interface) for one in got} == {(14, 0, 0, 0)}
    times = [one.timestamp for one in got]
    assert before - 10**6 <= times[0]
    assert times == sorted(times)
    assert times[-1] <= after + 10**6
    assert_silent(source)
    assert source.link.name == "right"
    assert source.links == (source.link,)


def test_packet_types(veth, opened):
    source = opened(auto_filter=False)
    veth.send(ethernet(udp(), dst=dst) for dst in (RIGHT, ALL, GROUP, OTHER))
    veth.namespace.send("right", [ethernet(udp(), dst=LEFT, src=RIGHT)])
    assert [PacketType(one.pkt_type) for one in collect(source, 5)] == [0, 1, 2, 3, 4]


def test_promiscuous(veth, opened):
    source = opened(promiscuous=True)
    veth.send([ethernet(udp(), dst=OTHER)])
    assert [one.pkt_type for one in collect(source, 1)] == [PacketType.OTHER_HOST]


def by_next_packet(source):
    packet = source.next_packet(timeout=10)
    return bytes(packet.payload), packet.type, packet.total_len


def by_next_packet_into(source, buf):
    assert source.next_packet(buf, timeout=10) is buf
    return bytes(buf.payload), buf.type, buf.total_len


WAYS = {
    "next_packet": by_next_packet,
    "next_payload": lambda s: s.next_payload(timeout=10),
    "next_payload_zero_copy": lambda s: s.next_payload_zero_copy(timeout=10),
    "next_packet_fn": lambda s: s.next_packet_fn(lambda p, n, kind, at: (bytes(p), kind, n), timeout=10),
    "next": lambda s: (lambda p: (bytes(p.payload), p.type, p.total_len))(next(s)),
    "batch of one": lambda s: (
        lambda b: (bytes(b.payload(0)), b.records["pkt_type"][0], b.records["total_len"][0])
    )(s.next_batch(1, timeout=10)),
}
IP_WAYS = {
    "next_ip_packet": lambda s: s.next_ip_packet(timeout=10),
    "next_ip_packet_zero_copy": lambda s: s.next_ip_packet_zero_copy(timeout=10),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_a_packet(veth, opened, way):
    source = opened(block_timeout=0.002)
    frames = frames_of(30)
    veth.send(frames[:20])
    got = []
    for i in range(30):
        if i == 20:
            veth.send(frames[20:])
        data, kind, total = WAYS[way](source)
        got.append((bytes(data), int(kind), int(total)))
        del data
    assert got == [(frame, 0, len(frame)) for frame in frames]


@pytest.mark.parametrize("way", IP_WAYS)
def test_each_way_to_an_ip_layer(veth, opened, way):
    source = opened(auto_filter=False)
    frames = [arp(), *frames_of(3), arp(), ethernet(udp6(), 0x86DD)]
    veth.send(frames)
    got = []
    for _ in range(4):
        layer, kind, total = IP_WAYS[way](source)
        got.append((bytes(layer), kind, total))
        del layer
    assert got == [(f[14:], 0, len(f)) for f in frames if f[12:14] != b"\x08\x06"]


def test_buffers_that_are_used_again(veth, opened):
    source = opened()
    frames = frames_of(3)
    veth.send(frames)
    packet, buffer = source.new_packet(), bytearray(2000)
    assert by_next_packet_into(source, packet) == (frames[0], 0, len(frames[0]))
    assert source.next_payload(buffer, timeout=10)[0] == frames[1]
    assert bytes(source.next_ip_packet(buffer, timeout=10)[0]) == frames[2][14:]


def test_iteration_ends_with_close(veth, opened):
    source = opened()
    frames = frames_of(5)
    veth.send(frames)
    got = []
    for packet in source:
        got.append(bytes(packet.payload))
        if len(got) == 5:
            source.close()
    assert got == frames
    for again in (source.next_packet, source.next_batch, source.next_payload_zero_copy):
        with pytest.raises(CaptureStopped):
            again()


def test_batches_end_with_close(veth, opened):
    source = opened()
    veth.send(frames_of(5))
    count = 0
    for batch in source.batches(2, timeout=10):
        assert 1 <= len(batch) <= 2
        count += len(batch)
        if count == 5:
            source.close()
    assert count == 5


def test_snaplen(veth, opened):
    source = opened(snaplen=40)
    frames = [ethernet(udp(0, 500)), ethernet(udp(1, 0))[:40], ethernet(udp(2, 0))[:39]]
    veth.send(frames)
    got = collect(source, 3)
    assert payloads(got) == [frame[:40] for frame in frames]
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    assert [one.flags for one in got] == [RecordFlag.TRUNCATED, 0, 0]
    assert source.new_packet().capacity >= 40


def test_snaplen_by_strategy(veth, opened):
    source = opened(snaplen=lambda link_type: 20 + link_type)
    veth.send(frames_of(1))
    assert [one.cap_len for one in collect(source, 1)] == [21]


def test_as_many_packets_in_a_block_as_there_can_be(veth, opened):
    """One byte of each, behind the shortest header there is."""
    source = opened(snaplen=1, block_size=PAGE, num_blocks=8)
    veth.namespace.send("right", [tagged(ethernet(udp(i), src=RIGHT, dst=LEFT), 5) for i in range(200)])
    assert len(collect(source, 200, within=5)) == 200


def test_large_packets(veth, opened):
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 60000")
    source = opened()
    frames = [ethernet(udp(0, 59_000)), ethernet(udp(1))]
    veth.send(frames)
    assert payloads(collect(source, 2)) == frames


# ---- filters


def test_ip_alone_passes_by_itself(veth, opened):
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


def test_everything_passes_if_asked(veth, opened):
    source = opened(auto_filter=False)
    frames = [arp(), ethernet(udp(1)), ethernet(b"\0" * 50, 0x88B5)]
    veth.send(frames)
    got = collect(source, 3)
    assert payloads(got) == frames
    assert [one.ip_offset for one in got] == [NO_IP, 14, NO_IP]


def test_expression(veth, opened):
    source = opened(filter="udp port 5000")
    frames = [ethernet(udp(i, port=5000 + i % 2)) for i in range(10)]
    veth.send([arp(), *frames])
    assert payloads(collect(source, 5)) == frames[::2]
    assert_silent(source)


def test_expression_and_snaplen(veth, opened):
    source = opened(filter="arp", snaplen=20)
    veth.send([ethernet(udp()), arp()])
    assert payloads(collect(source, 1)) == [arp()[:20]]


def test_program(veth, opened):
    program = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0806), (6, 0, 0, 262144), (6, 0, 0, 0)]
    source = opened(filter=program, snaplen=30)
    veth.send([ethernet(udp()), arp(7)])
    assert payloads(collect(source, 1)) == [arp(7)[:30]]
    assert_silent(source)


@pytest.mark.parametrize(
    "filter", ["no such thing", [], [(0, 0, 0, 0)], [(6, 0, 0)], [(0x15, 9, 9, 0), (6, 0, 0, 1)]]
)
def test_bad_filter(opened, filter):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FilterError):
        opened(filter=filter)
    assert os.listdir("/proc/self/fd") == before


def test_vlan_expression_matches_what_the_kernel_took_out(veth, opened):
    source = opened(filter="vlan 7")
    frames = [tagged(ethernet(udp(i)), 6 + i) for i in range(3)]
    veth.send(frames)
    assert [one.vlan_tci for one in collect(source, 1)] == [7]
    assert_silent(source)


# ---- VLANs


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
@pytest.mark.parametrize("tci", [5, 0, 0xE005, 0xFFF])
def test_vlan_in(veth, opened, tpid, tci):
    source = opened()
    plain = ethernet(udp())
    veth.send([tagged(plain, tci, tpid)])
    (got,) = collect(source, 1)
    assert got.data == plain
    assert (got.cap_len, got.total_len, got.ip_offset) == (len(plain), len(plain), 14)
    assert got.flags == RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED
    assert (got.vlan_tci, got.vlan_tpid) == (tci, tpid)


@pytest.mark.parametrize("outer", [0x8100, 0x88A8])
def test_two_tags_in(veth, opened, outer):
    source = opened()
    inner = tagged(ethernet(udp()), 7)
    veth.send([tagged(inner, 100, outer)])
    (got,) = collect(source, 1)
    assert got.data == inner
    assert (got.ip_offset, got.vlan_tci, got.vlan_tpid) == (18, 100, outer)
    assert got.flags == RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_vlan_out(veth, opened, tpid):
    source = opened("left")
    frame = tagged(ethernet(udp()), 5, tpid)
    veth.send([frame, tagged(frame, 9, tpid)])
    one, two = collect(source, 2)
    assert payloads((one, two)) == [frame, tagged(frame, 9, tpid)]
    assert (one.ip_offset, two.ip_offset) == (18, 22)
    assert (one.vlan_tci, two.vlan_tci) == (5, 9)
    assert {got.pkt_type for got in (one, two)} == {PacketType.OUTGOING}
    assert {(got.flags, got.vlan_tpid) for got in (one, two)} == {(RecordFlag.VLAN, tpid)}


@pytest.mark.parametrize("end", ["left", "right"])
@pytest.mark.parametrize("options", [{}, {"auto_filter": False}])
def test_ignore_vlans(veth, opened, end, options):
    source = opened(end, ignore_vlans=True, **options)
    plain = frames_of(2)
    veth.send([tagged(plain[0], 5), plain[0], tagged(plain[0], 0), tagged(plain[0], 5, 0x88A8), plain[1]])
    assert payloads(collect(source, 2)) == plain
    assert_silent(source)


def test_ignore_vlans_and_a_filter(veth, opened):
    source = opened(ignore_vlans=True, filter="udp")
    veth.send([tagged(ethernet(udp(1)), 5), arp(), ethernet(udp(2))])
    assert payloads(collect(source, 1)) == [ethernet(udp(2))]
    assert_silent(source)


# ---- nothing else


def test_sending_end(veth, opened):
    source = opened("left")
    frames = frames_of(10)
    veth.send(frames)
    got = collect(source, 10)
    assert payloads(got) == frames
    assert {one.pkt_type for one in got} == {PacketType.OUTGOING}


def test_nothing_from_before_nor_from_elsewhere(veth, opened):
    tun = veth.namespace.tun("tun")
    veth.send(frames_of(50))
    source = opened()
    os.write(tun, udp(1))
    wanted = ethernet(udp(777))
    veth.send([wanted])
    os.write(tun, udp(2))
    assert payloads(collect(source, 1)) == [wanted]
    assert_silent(source)
    assert source.total_stats == Stats(1, 0, 0)


def test_two_sources_get_the_same(veth, opened):
    sources = opened(), opened(filter="udp")
    frames = frames_of(20)
    veth.send(frames)
    for source in sources:
        assert payloads(collect(source, 20)) == frames


def test_loopback(namespace):
    namespace.ip("link set lo up")
    with namespace.inside(), RingSource("lo") as source, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"hello", sock.getsockname())
        got = collect(source, 2)
        assert [one.pkt_type for one in got] == [PacketType.OUTGOING, PacketType.THIS_HOST]
        assert all(one.data.endswith(b"hello") and one.ip_offset == 14 for one in got)


def test_tun(namespace):
    fd = namespace.tun("tun")
    packets = [udp(1), b"\x10" + bytes(40), udp6(2)]
    with namespace.inside(), RingSource("tun") as source:
        for packet in packets[::2]:
            os.write(fd, packet)
        got = collect(source, 2)
        assert payloads(got) == packets[::2]
        assert [(one.ip_offset, one.total_len) for one in got] == [
            (0, len(packet)) for packet in packets[::2]
        ]
        assert source.link.type == 101


def test_a_link_that_was_looked_up(veth):
    with veth.namespace.inside(), RingSource(Link("right")) as source:
        veth.send(frames_of(1))
        assert payloads(collect(source, 1)) == frames_of(1)
        assert repr(source) == "<RingSource 'right': ETHERNET>"
    assert repr(source) == "<RingSource 'right': ETHERNET, closed>"


# ---- memory


def test_views_outlive_source_and_close(veth, opened):
    source = opened()
    frames = frames_of(40)
    veth.send(frames)
    view, _, _ = source.next_payload_zero_copy(timeout=10)
    layer, _, _ = source.next_ip_packet_zero_copy(timeout=10)
    batch = source.next_batch(timeout=10)
    array = batch.data
    source.close()
    del source
    veth.send([ethernet(bytes(1000), 0x0800)] * 100)
    assert isinstance(view, View)
    assert (bytes(view), bytes(layer)) == (frames[0], frames[1][14:])
    assert [bytes(batch.payload(i)) for i in range(len(batch))] == frames[2 : 2 + len(batch)]
    del batch, view, layer
    assert frames[5] in array.tobytes()


def test_exhausted(veth, opened):
    source = opened(block_size=PAGE, num_blocks=4, block_timeout=0.001)
    frames = frames_of(100, 500)
    held = []
    sent = 0

    def read_and_hold():
        nonlocal sent
        while sent < len(frames):
            veth.send(frames[sent : sent + 5])
            sent += 5
            while sum(map(len, held)) < sent:
                held.append(source.next_batch(timeout=10))

    message = r"4 of 4 blocks are on loan.*\d s: drop the views.*batch\.copy"
    with pytest.raises(RingExhausted, match=message):
        read_and_hold()
    got = [bytes(batch.payload(i)) for batch in held for i in range(len(batch))]
    assert len(held) == 4
    with pytest.raises(RingExhausted):
        source.next_packet(timeout=10)
    held.clear()
    veth.send(frames[sent : sent + 5])
    stats = source.total_stats
    end = time.monotonic() + 10
    while frames[sent + 4] not in got and time.monotonic() < end:
        got += payloads(collect(source, 1))
    # In order, whether or not some were dropped for want of a block.
    assert got == [frame for frame in frames if frame in got]
    assert got[-5:] == frames[sent : sent + 5]
    assert len(got) == stats.packets_received - stats.packets_dropped


def test_one_view_that_is_kept(veth, opened):
    source = opened(**SMALL)
    veth.send(frames_of(1))
    view, _, _ = source.next_payload_zero_copy(timeout=10)
    veth.send(frames_of(1))
    assert len(collect(source, 1)) == 1
    with pytest.raises(RingExhausted, match="1 of 2 blocks are on loan"):
        source.next_packet(timeout=10)
    assert bytes(view) == frames_of(1)[0]
    del view
    veth.send([ethernet(udp(9))])
    assert payloads(collect(source, 1)) == [ethernet(udp(9))]


def test_blocks_that_come_back_out_of_order(veth, opened):
    source = opened(**SMALL | {"num_blocks": 3})
    held = []
    for i in range(3):
        veth.send([ethernet(udp(i))])
        held.append(source.next_batch(timeout=10))
    held[2] = held[1] = None
    with pytest.raises(RingExhausted, match="1 of 3"):
        source.next_batch(timeout=1)
    held[0] = None
    for i in range(10):
        veth.send([ethernet(udp(i))])
        assert payloads(collect(source, 1)) == [ethernet(udp(i))]


def test_a_waiting_reader_rests_though_the_last_batch_is_held(veth, opened):
    """poll(2) says readable as long as the block before the kernel's is not given back."""
    source = opened()
    veth.send(frames_of(1))
    batch = source.next_batch(timeout=10)
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.5)
    assert time.thread_time() - before < 0.2
    assert len(batch) == 1


def test_open_and_close_leave_nothing(veth):
    def state():
        return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("socket:")

    with veth.namespace.inside():
        before = state()
        for i in range(200):
            source = RingSource("right", promiscuous=bool(i % 2), **SMALL)
            source.close()
            source.close()
        assert state() == before
        for _ in range(50):
            RingSource("right", **SMALL)
        assert state() == before
        source = RingSource("right", **SMALL)
        assert state()[1] == before[1] + 1
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
        source.close()
        assert state() == (before[0], before[1] + 1)
        del batch
        assert state() == before


# ---- waiting


@pytest.mark.parametrize("held", [False, True])
def test_close_during_a_wait(veth, opened, background, held):
    source = opened()
    if held:
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
    waiting = background(lambda: source.next_batch(timeout=30))
    time.sleep(0.2)
    source.close()
    with pytest.raises(CaptureStopped):
        waiting.result(within=2)
    if held:
        assert bytes(batch.payload(0)) == frames_of(1)[0]


def test_unblock(veth, opened, background):
    source = opened()
    waiting = background(lambda: source.next_packet(timeout=30))
    time.sleep(0.1)
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        waiting.result(within=2)
    veth.send(frames_of(2))
    assert payloads(collect(source, 2)) == frames_of(2)
    source.unblock()
    with pytest.raises(CaptureUnblocked):
        source.next_packet(timeout=10)


def test_one_reader_at_a_time(opened, background):
    source = opened()
    waiting = background(lambda: source.next_batch(timeout=30))
    time.sleep(0.2)
    with pytest.raises(RuntimeError, match="another thread"):
        source.next_packet(timeout=1)
    source.close()
    with pytest.raises(CaptureStopped):
        waiting.result(within=2)


def test_timeouts_lose_nothing(veth, opened):
    source = opened(timeout=0.005)
    frames = frames_of(60)
    got, timeouts = [], 0
    end = time.monotonic() + 10
    while len(got) < 60 and time.monotonic() < end:
        if timeouts % 3 == 0 and frames:
            veth.send(frames[:1])
            del frames[0]
        try:
            got.append(bytes(source.next_packet().payload))
        except TimeoutError:
            timeouts += 1
            if frames:
                veth.send(frames[:1])
                del frames[0]
    assert got == frames_of(60)


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_timeout(opened, timeout):
    source = opened(timeout=None if timeout == 0 else timeout)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no packet"):
        source.next_packet(timeout=0) if timeout == 0 else source.next_packet()
    assert timeout <= time.monotonic() - began < 2


@pytest.mark.parametrize("block_timeout", [0.0001, 0.001, 0.1])
def test_block_timeout(veth, opened, block_timeout):
    source = opened(block_timeout=block_timeout)
    veth.send(frames_of(1))
    assert len(source.next_batch(timeout=block_timeout + 2)) == 1


def test_interrupted_by_a_signal_handler(opened):
    source = opened()

    def handler(*_):
        raise InterruptedError("by the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(InterruptedError, match="by the handler"):
            source.next_batch(timeout=10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- the link


def set_link(veth, state):
    veth.namespace.ip(f"link set dev right {state}")


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_down_and_up(veth, opened, inside):
    """Outside: the reading thread is not in the namespace that the interface is in."""
    source = opened()
    veth.send(frames_of(3))
    with veth.namespace.inside() if inside else contextlib.nullcontext():
        time.sleep(0.1)  # for the block to retire
        set_link(veth, "down")
        assert payloads(collect(source, 3)) == frames_of(3)
        began = time.thread_time()
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.5)
        assert time.thread_time() - began < 0.25, "spins"
        set_link(veth, "up")
        for i in range(3):
            veth.send([ethernet(udp(i))])
            assert payloads(collect(source, 1)) == [ethernet(udp(i))]


def test_down_is_not_gone_for_a_thread_elsewhere(veth):
    """Which asks for an index that its own namespace does not have."""
    veth.namespace.ip("link add high index 40000 type veth peer name low")
    veth.namespace.ip("link set high up")
    with veth.namespace.inside():
        source = RingSource("high")
    with source:
        veth.namespace.ip("link set high down")
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.5)


def test_down_and_up_during_a_wait(veth, opened, background):
    source = opened()
    with veth.namespace.inside():
        waiting = background(lambda: payloads(collect(source, 1)))
    time.sleep(0.1)
    set_link(veth, "down")
    time.sleep(0.3)
    set_link(veth, "up")
    veth.send(frames_of(1))
    assert waiting.result(12) == frames_of(1)


def test_opened_while_down(veth, opened):
    set_link(veth, "down")
    source = opened()
    with veth.namespace.inside():
        with pytest.raises(TimeoutError):
            source.next_packet(timeout=0.3)
        set_link(veth, "up")
        veth.send(frames_of(1))
        assert payloads(collect(source, 1)) == frames_of(1)


@pytest.mark.parametrize("when", ["before", "opened", "waiting"])
def test_down_raises(veth, opened, background, when):
    if when == "before":
        set_link(veth, "down")
    source = opened(link_down="raise")
    if when == "opened":
        set_link(veth, "down")
    with veth.namespace.inside():
        waiting = background(lambda: source.next_packet(timeout=30))
    if when == "waiting":
        time.sleep(0.2)
        set_link(veth, "down")
    with pytest.raises(LinkDown, match=r"ip link set up.*right") as caught:
        waiting.result(within=3)
    assert caught.value.errno == errno.ENETDOWN
    set_link(veth, "up")
    veth.send(frames_of(1))
    with veth.namespace.inside():
        assert payloads(collect(source, 1)) == frames_of(1)


@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("link_down", ["wait", "raise"])
def test_deleted_during_a_wait(veth, opened, background, inside, link_down, held):
    source = opened(link_down=link_down)
    batch = None
    if held:
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
    with veth.namespace.inside() if inside else contextlib.nullcontext():
        waiting = background(lambda: source.next_packet(timeout=30))
    time.sleep(0.2)
    began = time.monotonic()
    veth.namespace.ip("link delete right")
    with pytest.raises((LinkGone, LinkDown) if link_down == "raise" else LinkGone):
        waiting.result(within=5)
    assert time.monotonic() - began < 2.5
    assert batch is None or bytes(batch.payload(0)) == frames_of(1)[0]
    with veth.namespace.inside(), pytest.raises(LinkGone):
        source.next_packet(timeout=3)


def test_deleted_and_made_again(veth, opened):
    source = opened()
    veth.namespace.ip("link delete right")
    veth.namespace.ip("link add right type veth peer name left")
    with veth.namespace.inside(), pytest.raises(LinkGone, match="open a new source") as caught:
        source.next_packet(timeout=3)
    assert caught.value.errno == errno.ENODEV
    assert "right" in str(caught.value)


def test_packets_before_the_deletion_are_delivered(veth, opened):
    source = opened()
    veth.send(frames_of(4))
    time.sleep(0.2)
    veth.namespace.ip("link delete right")
    with veth.namespace.inside():
        assert payloads(collect(source, 4)) == frames_of(4)
        with pytest.raises(LinkGone):
            source.next_packet(timeout=3)


def test_moved_away(veth, opened, new_namespace):
    source = opened()
    veth.namespace.ip(f"link set right netns {new_namespace().path}")
    with veth.namespace.inside(), pytest.raises(LinkGone):
        source.next_packet(timeout=3)


def test_renamed(veth, opened):
    source = opened()
    veth.namespace.ip("link set right name other")
    veth.send(frames_of(1))
    assert payloads(collect(source, 1)) == frames_of(1)


# ---- options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"block_size": PAGE + 1}, ValueError, "multiple of the page size"),
        ({"block_size": 0}, ValueError, "multiple of the page size"),
        ({"block_size": -PAGE}, ValueError, "multiple of the page size"),
        ({"block_size": 1 << 31}, ValueError, "2 GiB"),
        ({"block_size": "x"}, TypeError, None),
        ({"num_blocks": 0}, ValueError, "num_blocks"),
        ({"num_blocks": -1}, ValueError, "num_blocks"),
        ({"num_blocks": 1 << 40}, ValueError, "num_blocks"),
        ({"num_blocks": 1.5}, TypeError, None),
        ({"block_timeout": 0}, ValueError, "block_timeout"),
        ({"block_timeout": -1}, ValueError, "block_timeout"),
        ({"block_timeout": float("nan")}, ValueError, "block_timeout"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"snaplen": 0}, FilterError, "snaplen"),
        ({"snaplen": -5}, FilterError, "snaplen"),
        ({"snaplen": 262145}, FilterError, "snaplen"),
        ({"snaplen": "x"}, TypeError, None),
        ({"link_down": "x"}, ValueError, "link_down"),
        ({"no_such": 1}, TypeError, "no_such"),
    ],
    ids=str,
)
def test_options_that_cannot_be(opened, options, error, message):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match=message):
        opened(**options)
    assert len(os.listdir("/proc/self/fd")) == before


def test_unknown_interface(opened):
    with pytest.raises(LinkNotFound, match="nosuch"):
        opened("nosuch0")


def test_opened_once(opened):
    source = opened()
    with pytest.raises(TypeError, match="once"):
        source.__init__("right")


def test_a_block_goes_back_with_the_last_view(veth, opened):
    """Not only at the next read."""
    source = opened(block_size=PAGE, num_blocks=1, block_timeout=0.001)
    for i in range(3):
        veth.send([ethernet(udp(i))])
        batch = source.next_batch(timeout=3)
        assert bytes(batch.payload(0)) == ethernet(udp(i))
        del batch


@pytest.mark.parametrize("ring", [(PAGE, 2), (PAGE * 3, 5), (1 << 20, 4), (PAGE, 300)], ids=str)
def test_rings(veth, opened, ring):
    source = opened(block_size=ring[0], num_blocks=ring[1], block_timeout=0.001)
    for i in range(20):
        veth.send([ethernet(udp(i))])
        assert payloads(collect(source, 1)) == [ethernet(udp(i))]


DROP_PRIVILEGES = """
import ctypes, sys
from slimcap.source.afring import RingSource
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
try:
    RingSource("lo", **eval(sys.argv[1]))
except PermissionError as error:
    print(error.errno, error)
"""


@pytest.mark.parametrize("options", [{}, {"promiscuous": True}, {"filter": "udp"}], ids=str)
def test_without_privileges(options):
    done = subprocess.run(
        [sys.executable, "-c", DROP_PRIVILEGES, repr(options)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(f"{errno.EPERM} "), done.stderr[-500:]
    assert "setcap cap_net_raw" in done.stdout
    assert "CAP_NET_RAW" in done.stdout
    assert sys.executable in done.stdout


# ---- counters


def test_stats(veth, opened):
    source = opened()
    assert source.stats() == Stats(0, 0, 0)
    veth.send(frames_of(10))
    collect(source, 10)
    assert source.stats() == Stats(10, 0, 0)
    assert source.stats() == Stats(0, 0, 0)
    veth.send([*frames_of(5), arp()])
    collect(source, 5)
    assert source.total_stats == Stats(15, 0, 0)
    assert source.stats() == Stats(5, 0, 0)
    veth.send(frames_of(2))
    source.close()
    assert source.total_stats == Stats(17, 0, 0)
    assert source.stats() == Stats(2, 0, 0)


def test_drops(veth, opened):
    source = opened(block_size=PAGE, num_blocks=2)
    veth.send(frames_of(60, 500))
    held = [source.next_batch(timeout=10), source.next_batch(timeout=10)]
    veth.send(frames_of(10))
    count = sum(map(len, held))
    held.clear()
    # The flag, which lasts until the counters are read.
    veth.send(frames_of(1))
    got = collect(source, 1)
    assert got[0].flags & RecordFlag.LOSING
    received, dropped, freezes = source.stats()
    assert received == 71
    assert dropped == 71 - count - len(got) > 0
    assert freezes > 0
    assert source.stats() == Stats(0, 0, 0)
    assert source.total_stats == Stats(received, dropped, freezes)


# ---- tcpdump


def test_same_as_tcpdump(veth, opened, need_tool, tmp_path):
    path = tmp_path / "tcpdump.pcap"
    frames = [
        *frames_of(40, 100), arp(), ethernet(udp6(), 0x86DD), tagged(ethernet(udp(1)), 5),
        tagged(tagged(ethernet(udp(2)), 6), 0, 0x88A8), ethernet(udp(3, 300)),
    ]  # fmt: skip
    command = (
        f"{need_tool('tcpdump')} -i right -w {path} -U -n -Z root --immediate-mode -s 128 -c {len(frames)}"
    )
    source = opened(auto_filter=False, snaplen=128)
    with veth.namespace.inside():
        tcpdump = subprocess.Popen(command.split(), stderr=subprocess.PIPE, text=True)
    try:
        said = tcpdump.stderr.readline()
        while said and "listening on" not in said:
            if (
                "Couldn't change to" in said
            ):  # it gives up privileges even as root, which `unshare -Ur` forbids
                pytest.skip(said.strip())
            said = tcpdump.stderr.readline()
        veth.send(frames)
        got = collect(source, len(frames))
        tcpdump.wait(10)
    finally:
        tcpdump.kill()
        tcpdump.wait()
        tcpdump.stderr.close()
    theirs = read(path)
    assert len(theirs) == len(got) == len(frames)
    for i, mine in enumerate(got):
        row, data, total = theirs.records[i], mine.data, mine.total_len
        if mine.flags & RecordFlag.VLAN_STRIPPED:  # libpcap puts it back in
            data, total = tagged(data, mine.vlan_tci, mine.vlan_tpid), total + 4
        assert bytes(theirs.payload(i)) == data[:128]
        assert row["total_len"] == total
        assert (row["vlan_tci"], row["vlan_tpid"]) == (mine.vlan_tci, mine.vlan_tpid)
        assert abs(int(row["timestamp"]) - mine.timestamp) < 5 * 10**9
