"""What holds of RingSource and SocketSource alike: what they give, what they leave out, and how they end."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slimcap import (
    NO_IP,
    RECORD_DTYPE,
    CaptureStopped,
    CaptureUnblocked,
    FilterError,
    Link,
    LinkDown,
    LinkDrops,
    LinkGone,
    LinkNotFound,
    PacketType,
    RecordFlag,
    RingSource,
    SocketSource,
    Stats,
    View,
    read,
)
from support.threads import in_child
from support.traffic import (
    ALL,
    GROUP,
    LEFT,
    OTHER,
    PAGE,
    RIGHT,
    SMALL,
    arp,
    assert_silent,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
    udp6,
)


@pytest.fixture(params=[RingSource, SocketSource], ids=["ring", "socket"])
def kind(request):
    return request.param


@pytest.fixture
def opened(veth, kind):
    """Opens a source in the namespace of the cable, at its right end."""
    with contextlib.ExitStack() as stack:

        def open_source(name="right", **options):
            if kind is RingSource:
                # Each block timeout uses up a block for a single packet, and this machine may be busy.
                options = {"block_size": 1 << 16, "num_blocks": 64} | options
            with veth.namespace.inside():
                return stack.enter_context(kind(name, **options))

        yield open_source


# ---- packets


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
    source = opened()
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


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_tags_are_put_back(veth, opened, tpid):
    source = opened(reinsert_vlan=True, auto_filter=False)
    assert source.reinsert_vlan
    frames = [
        tagged(ethernet(udp(1)), 5, tpid),
        ethernet(udp(2)),
        tagged(tagged(ethernet(udp(3)), 7), 100, tpid),
        tagged(ethernet(udp6(4), 0x86DD), 0, tpid),
        tagged(arp(5), 0xFFFF, tpid),
        tagged(ethernet(b"\0\0"), 6, tpid),
    ]
    veth.send(frames)
    got = collect(source, len(frames))
    assert payloads(got) == frames
    assert [one.total_len for one in got] == [one.cap_len for one in got] == [len(f) for f in frames]
    assert [one.ip_offset for one in got] == [18, 14, 22, 18, NO_IP, 18]
    assert [one.flags for one in got] == [1, 0, 1, 1, 1, 1]  # RecordFlag.VLAN, without VLAN_STRIPPED
    assert [one.vlan_tci for one in got] == [5, 0, 100, 0, 0xFFFF, 6]
    assert {one.vlan_tpid for one in got if one.flags} == {tpid}


@pytest.mark.parametrize("snaplen", [1, 11, 12, 13, 16, 18, 40])
def test_tags_are_put_back_within_the_snaplen(veth, opened, snaplen):
    """Less than two addresses has no place for a tag: it stays where the kernel put it."""
    source = opened(reinsert_vlan=True, auto_filter=False, snaplen=snaplen)
    frame = tagged(ethernet(udp(1)), 5)
    veth.send([frame])
    (got,) = collect(source, 1)
    if snaplen < 12:
        assert (got.data, got.total_len) == (frame[:snaplen], len(frame) - 4)
        assert got.flags == RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED | RecordFlag.TRUNCATED
    else:
        assert (got.data, got.total_len) == (frame[:snaplen], len(frame))
        assert got.flags & RecordFlag.TRUNCATED
        assert not got.flags & RecordFlag.VLAN_STRIPPED


def test_tags_that_went_out_stay(veth, opened):
    source = opened("left", reinsert_vlan=True)
    frame = tagged(ethernet(udp()), 5)
    veth.send([frame])
    assert payloads(collect(source, 1)) == [frame]


# ---- direction


@pytest.mark.parametrize("options", [{}, {"filter": "udp"}, {"auto_filter": False}], ids=str)
@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_direction(veth, opened, direction, options):
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
def test_direction_on_loopback(namespace, kind, direction, types):
    """It delivers each packet twice, once each way."""
    namespace.ip("link set lo up")
    with (
        namespace.inside(), kind("lo", direction=direction) as source,
        socket.socket(type=socket.SOCK_DGRAM) as sock,
    ):  # fmt: skip
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"hello", sock.getsockname())
        assert [one.pkt_type for one in collect(source, len(types))] == types
        assert_silent(source)


def test_no_direction(opened):
    with pytest.raises(FilterError, match="sideways"):
        opened(direction="sideways")


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


def test_loopback(namespace, kind):
    namespace.ip("link set lo up")
    with namespace.inside(), kind("lo") as source, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"hello", sock.getsockname())
        got = collect(source, 2)
        assert [one.pkt_type for one in got] == [PacketType.OUTGOING, PacketType.THIS_HOST]
        assert all(one.data.endswith(b"hello") and one.ip_offset == 14 for one in got)


def test_tun(namespace, kind):
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
def test_types_with_ip(namespace, kind, arphrd):
    """Tunnels, PPP and the like: IP passes, and is found; on those like Ethernet, behind that header."""
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
def test_types_without_ip(namespace, kind, arphrd, options):
    """Whatever it is comes as it is: there is no filter for it, and no IP is looked for."""
    fd = namespace.tun("tun", arphrd=arphrd)
    with namespace.inside(), kind("tun", **options) as source:
        for i in range(5):
            os.write(fd, udp(i))
        got = collect(source, 5)
    assert payloads(got) == [udp(i) for i in range(5)]
    assert {one.ip_offset for one in got} == {NO_IP}


def test_a_link_that_was_looked_up(veth, kind):
    with veth.namespace.inside(), kind(Link("right")) as source:
        veth.send(frames_of(1))
        assert payloads(collect(source, 1)) == frames_of(1)
        assert repr(source) == f"<{kind.__name__} 'right': ETHERNET>"
    assert repr(source) == f"<{kind.__name__} 'right': ETHERNET, closed>"


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


def left_behind(namespace):
    """Descriptors, mappings of rings, and how often the interface is promiscuous."""
    promiscuity = namespace.ip("-d link show right").split("promiscuity ")[1].split()[0]
    return (
        len(os.listdir("/proc/self/fd")),
        Path("/proc/self/maps").read_text().count("socket:"),
        int(promiscuity),
    )


def resident():
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_a_thousand_times_open_and_closed(veth, kind):
    """By several threads at once, as the kernel lets each wait for the others' CPUs (synchronize_rcu)."""
    options = SMALL if kind is RingSource else {"snaplen": 96}

    def open_and_close(count):
        for i in range(count):
            source = kind("right", promiscuous=bool(i % 2), **options)
            if i % 5:
                source.close()
                source.close()

    with veth.namespace.inside(), ThreadPoolExecutor(8) as threads:
        list(threads.map(open_and_close, [25] * 8))
        before, memory = left_behind(veth.namespace), resident()
        list(threads.map(open_and_close, [125] * 8))
        assert left_behind(veth.namespace) == before
        if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what was freed for a while
            assert resident() - memory < 1 << 20


def test_closed_with_views_open(veth, kind):
    mappings = 1 if kind is RingSource else 0
    with veth.namespace.inside():
        before = left_behind(veth.namespace)
        source = kind("right", promiscuous=True)
        veth.send(frames_of(1))
        batch = source.next_batch(timeout=10)
        assert left_behind(veth.namespace)[1:] == (mappings, 1)
        source.close()
        assert left_behind(veth.namespace) == (before[0], mappings, 0)
        assert bytes(batch.payload(0)) == frames_of(1)[0]
        del batch
        assert left_behind(veth.namespace) == before


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


# ---- stopping


def test_stop_delivers_what_was_captured(veth, opened):
    """The block that the kernel was filling, too."""
    source = opened()
    for count in (1, 500):
        veth.send(frames_of(count))
    source.stop()
    veth.send([ethernet(udp(999))] * 3)  # one of them may get in before the reader sees the stop
    began = time.monotonic()
    got = [bytes(packet.payload) for packet in source]
    assert time.monotonic() - began < 3
    assert got[:501] == frames_of(1) + frames_of(500)
    assert len(got) <= 504
    for again in (source.next_packet, source.next_batch):
        with pytest.raises(EOFError):
            again()
    assert not source.closed


def test_stop_during_a_wait(veth, opened, background):
    source = opened()
    waiting = background(lambda: list(source.batches()))
    time.sleep(0.2)
    began = time.monotonic()
    source.stop()
    assert waiting.result(within=3) == []
    assert time.monotonic() - began < 0.5
    veth.send(frames_of(3))
    with pytest.raises(EOFError):
        source.next_packet(timeout=0.1)


def test_stop_during_traffic(veth, opened, background):
    source = opened()
    reading = background(lambda: sum(len(batch) for batch in source.batches()))
    sent = veth.send(frames_of(3000))
    source.stop()
    veth.send(frames_of(3000))
    received = reading.result(within=10)
    stats = source.total_stats
    assert sent <= received + stats.packets_dropped
    assert received == stats.packets_received - stats.packets_dropped


def test_close_after_stop(veth, opened):
    source = opened()
    veth.send(frames_of(3))
    source.stop()
    source.close()
    with pytest.raises(CaptureStopped):
        source.next_packet()


def test_wakes_at_once(opened, background):
    """From a wait: within 5 ms in the median, though the machine may be busy."""
    source = opened()
    took = []
    for _ in range(15):
        woken = []

        def wait(woken=woken):
            with pytest.raises(CaptureUnblocked):
                source.next_packet(timeout=30)
            woken.append(time.monotonic())

        waiting = background(wait)
        time.sleep(0.02)
        began = time.monotonic()
        source.unblock()
        waiting.result(within=5)
        took.append(woken[0] - began)
    assert sorted(took)[7] < 0.05


# ---- other processes


def test_a_forked_process_leaves_the_capture_alone(veth, opened):
    source = opened(promiscuous=True)
    veth.send(frames_of(2))
    batch = source.next_batch(timeout=10)

    def child():
        nonlocal batch
        data = bytes(batch.payload(0))
        batch = None
        with pytest.raises(RuntimeError, match="forked"):
            source.next_batch(timeout=1)
        source.unblock()
        source.close()
        return data == frames_of(2)[0]

    assert in_child(child) == "True"
    assert "promiscuity 1" in veth.namespace.ip("-d link show right")
    assert bytes(batch.payload(0)) == frames_of(2)[0]
    got = batch.copy()
    del batch
    veth.send(frames_of(200))
    assert len(got) + len(collect(source, 202 - len(got))) == 202
    assert source.total_stats == Stats(202, 0, 0)
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        source.next_packet(timeout=0.3)
    assert time.thread_time() - before < 0.15, "spins"


def test_close_while_a_forked_process_lives_on(veth, opened):
    """Its copy of the socket keeps neither promiscuity nor the ring's traffic alive."""
    source = opened(promiscuous=True)
    go_on, wait = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(wait)
        os.read(go_on, 1)
        os._exit(0)
    try:
        source.close()
        assert "promiscuity 0" in veth.namespace.ip("-d link show right")
    finally:
        os.close(wait)
        os.waitpid(pid, 0)
        os.close(go_on)


# ---- from other threads


@pytest.mark.parametrize("way", ["batches", "packets", "views"])
def test_closed_during_full_traffic(veth, opened, background, way):
    """Again and again, at any moment; what was read is whole, and its views stay."""
    frame = ethernet(udp(7, 200))

    def read(source, kept):
        with contextlib.suppress(CaptureStopped):
            if way == "batches":
                for batch in source.batches():
                    kept[:] = [*kept[-2:], batch.payload(len(batch) - 1)]
            elif way == "packets":
                for packet in source:
                    kept[:] = [*kept[-2:], packet.payload]
            else:
                while True:
                    kept[:] = [*kept[-2:], source.next_payload_zero_copy()[0]]

    stop = False

    def send():
        while not stop:
            veth.send([frame] * 200)

    sending = background(send)
    try:
        for i in range(25):
            source, kept = opened(), []
            reading = background(lambda source=source, kept=kept: read(source, kept))
            time.sleep(0.004 * (i % 7))
            if i % 3 == 0:
                source.unblock()
            source.close()
            with contextlib.suppress(CaptureUnblocked):
                reading.result(within=5)
            assert {bytes(payload) for payload in kept} <= {frame}
    finally:
        stop = True
        sending.result(within=10)


# ---- the link


def set_link(veth, state):
    veth.namespace.ip(f"link set dev right {state}")
    if state == "up":
        for end in ("left", "right"):
            veth.namespace.wait_until_active(end)


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


def test_down_is_not_gone_for_a_thread_elsewhere(veth, kind):
    """Which asks for an index that its own namespace does not have."""
    veth.namespace.ip("link add high index 40000 type veth peer name low")
    veth.namespace.ip("link set high up")
    with veth.namespace.inside():
        source = kind("high")
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


@pytest.mark.parametrize("pause", [0, 0.2])
def test_packets_before_the_deletion_are_delivered(veth, opened, pause):
    """Those in a block that the kernel has not handed over yet, too."""
    source = opened()
    veth.send(frames_of(4))
    time.sleep(pause)
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


def test_unknown_interface(opened):
    with pytest.raises(LinkNotFound, match="nosuch"):
        opened("nosuch0")


def test_opened_once(opened):
    source = opened()
    with pytest.raises(TypeError, match="once"):
        source.__init__("right")


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
def test_without_privileges(kind, options):
    done = subprocess.run(
        [sys.executable, "-c", DROP_PRIVILEGES, kind.__name__, repr(options)],
        capture_output=True,
        text=True,
        timeout=60,
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


def test_drops_of_the_interface(namespace, kind):
    """A tun device drops what is no IP packet, before any socket sees it."""
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


def test_drops_of_an_interface_that_is_gone(veth, opened):
    source = opened()
    veth.namespace.ip("link delete right")
    assert source.link_drops == LinkDrops(0, 0, 0)


# ---- both


def wait_for_stamps(veth, sources):
    """Packets are stamped as they come in only some time after the first socket asks for it; until then, each
    socket does it for itself (net_enable_timestamp, which may leave it to a work queue)."""
    for _ in range(200):
        veth.send(frames_of(1))
        if len({collect(source, 1)[0].timestamp for source in sources}) == 1:
            return
        time.sleep(0.01)
    pytest.fail("packets are not stamped as they come in")


def test_records_of_both_sources_are_equal(veth):
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 60000")
    frames = [
        *frames_of(20), arp(), ethernet(udp6(), 0x86DD), tagged(ethernet(udp(1)), 5),
        ethernet(udp(4), dst=OTHER),
        tagged(tagged(ethernet(udp(2)), 6), 0, 0x88A8), ethernet(udp(3, 300)), ethernet(udp(5), dst=ALL),
        ethernet(udp(6), dst=GROUP), ethernet(udp(7, 40_000)), ethernet(b"\0"),
    ]  # fmt: skip
    for options in ({}, {"snaplen": 60}, {"reinsert_vlan": True}, {"reinsert_vlan": True, "snaplen": 60}):
        with veth.namespace.inside():
            sources = [kind("right", auto_filter=False, **options) for kind in (RingSource, SocketSource)]
        wait_for_stamps(veth, sources)
        veth.send(frames)
        veth.namespace.send("right", frames)
        mine, theirs = (collect(source, 2 * len(frames)) for source in sources)
        names = [name for name in RECORD_DTYPE.names if name != "offset"]
        assert payloads(mine) == payloads(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert one.record[names].tolist() == other.record[names].tolist()
        for source in sources:
            source.close()


def test_segmentation_offload(namespace, kind):
    """A packet of 20,000 bytes, which its device is to cut, comes whole, and says so."""
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
