"""Mock sources: what holds of both alike, then what only a ring has, or only a socket."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from support.threads import in_child
from support.traffic import (
    ALL,
    GROUP,
    OTHER,
    PAGE,
    RIGHT,
    arp,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
    udp6,
)

from slimcap import (
    NO_IP,
    RECORD_DTYPE,
    Batch,
    CaptureStopped,
    CaptureUnblocked,
    FilterError,
    Link,
    LinkDown,
    LinkDrops,
    LinkGone,
    MockRingSource,
    MockSocketSource,
    Packet,
    PacketType,
    RecordFlag,
    RingExhausted,
    RingSource,
    SocketSource,
    Stats,
    build_packet,
    open_file,
)
from slimcap.filter import accept, minimal_ipv4_transport
from slimcap.source.mocksocket import MockSocket

NOW = 1_700_000_000_123_456_789
TINY = {"block_size": PAGE, "num_blocks": 2}
SHORT = {MockRingSource: TINY, MockSocketSource: {"buffer_size": 4096}}  # soon full


@pytest.fixture(params=[MockRingSource, MockSocketSource], ids=["ring", "socket"])
def kind(request):
    return request.param


@pytest.fixture
def opened(kind):
    """Opens a mock; a read that waits for what does not come ends soon."""
    with contextlib.ExitStack() as stack:
        yield lambda *link, **options: stack.enter_context(kind(*link, **{"timeout": 5} | options))


@pytest.fixture
def ring():
    """Opens a mock that has a ring."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(MockRingSource(**{"timeout": 5} | options))


def packet(frame, pkt_type=0, timestamp=NOW, total_len=None):
    return Packet.from_payload(frame, pkt_type, total_len, timestamp=timestamp)


def batch_of(frames, **columns):
    """A batch of frames one behind the other, with what is said of them."""
    records = np.zeros(len(frames), RECORD_DTYPE)
    lengths = [len(frame) for frame in frames]
    records["cap_len"] = records["total_len"] = lengths
    records["offset"] = np.cumsum([0, *lengths[:-1]])
    records["timestamp"] = NOW
    for name, value in columns.items():
        records[name] = value
    return Batch(records, b"".join(frames))


def hand_over(mock):
    """Let the reader have what was added."""
    if isinstance(mock, MockRingSource):
        mock.finalize_block()


def fill(mock):
    """Add numbered packets until there is no room; they."""
    frames = []
    while mock.can_add_packets:
        frames.append(ethernet(udp(len(frames))))
        mock.add_packet(packet(frames[-1]), timeout=0)
        assert len(frames) < 10_000
    assert len(frames) > 3
    return frames


def drained(mock):
    """What is read until the capture ends."""
    got = []
    for batch in mock.batches(timeout=5):
        got += [bytes(batch.payload(i)) for i in range(len(batch))]
        del batch
    return got


# ---- packets


def test_packets_come_as_they_were_added(opened):
    mock = opened(auto_filter=False)
    frames = [*frames_of(5), arp(), ethernet(udp6(), 0x86DD), ethernet(b"\0"), b"\1", ethernet(udp(1, 2000))]
    for i, frame in enumerate(frames):
        assert mock.add_packet(packet(frame, i % 5, NOW + i, len(frame) + i))
    hand_over(mock)
    got = collect(mock, len(frames))
    assert payloads(got) == frames
    assert [one.pkt_type for one in got] == [i % 5 for i in range(len(frames))]
    assert [one.timestamp for one in got] == [NOW + i for i in range(len(frames))]
    assert [one.total_len - one.cap_len for one in got] == list(range(len(frames)))
    assert [bool(one.flags & RecordFlag.TRUNCATED) for one in got] == [i > 0 for i in range(len(frames))]
    assert [one.ip_offset for one in got] == [14] * 5 + [NO_IP, 14, 14, NO_IP, 14]
    assert mock.total_stats == Stats(len(frames), 0, 0)


def test_a_batch_is_its_packets(opened):
    frames = [*frames_of(50), arp(), tagged(ethernet(udp(1)), 5), ethernet(udp6(), 0x86DD)]
    batch = batch_of(frames, pkt_type=[i % 5 for i in range(len(frames))])
    one_by_one, at_once = opened(auto_filter=False), opened(auto_filter=False)
    for view in batch:
        assert one_by_one.add_packet(view)
    assert at_once.add_batch(batch) == len(frames)
    hand_over(one_by_one)
    hand_over(at_once)
    mine, theirs = collect(one_by_one, len(frames)), collect(at_once, len(frames))
    assert payloads(mine) == payloads(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.record.tolist() == b.record.tolist()


def test_what_it_is(kind, opened):
    mock = opened()
    assert isinstance(mock, RingSource if kind is MockRingSource else SocketSource)
    assert mock.link == Link("mock", 1, 1, 1)
    assert mock.link_drops == LinkDrops(0, 0, 0)
    assert mock.can_add_packets
    assert repr(mock) == f"<{kind.__name__} 'mock': ETHERNET>"
    assert opened("eth7").link.name == "eth7"
    mock.close()
    assert repr(mock) == f"<{kind.__name__} 'mock': ETHERNET, closed>"


@pytest.mark.parametrize("timestamp", [0, -1, -(2**63)])
def test_without_a_time_it_is_now(opened, timestamp):
    mock = opened()
    before = time.time_ns()
    mock.add_packet(packet(frames_of(1)[0], timestamp=timestamp))
    hand_over(mock)
    assert before <= collect(mock, 1)[0].timestamp <= time.time_ns()


def test_a_built_packet(opened):
    """It has no EtherType, and so is no IP packet for the filter."""
    built = build_packet("1.2.3.4", "5.6.7.8", 5, 80, 6, b"x" * 9, PacketType.OTHER_HOST, 256)
    assert not opened().add_packet(built)
    mock = opened(auto_filter=False)
    assert mock.add_packet(built)
    hand_over(mock)
    got = mock.next_packet()
    assert (bytes(got.payload), got.type, got.total_len) == (bytes(built.payload), 3, 256)


def test_a_batch_that_is_released_is_none(opened):
    batch = batch_of(frames_of(1))
    batch.release()
    with pytest.raises(ValueError, match="released"):
        opened().add_batch(batch)


@pytest.mark.parametrize("what", [None, b"", 7, "packet"])
def test_what_is_no_packet(opened, what):
    mock = opened()
    for add in (mock.add_packet, mock.add_batch):
        with pytest.raises(TypeError):
            add(what)


def test_an_empty_packet_is_none(opened):
    mock = opened(auto_filter=False)
    assert not mock.add_packet(mock.new_packet())
    assert not mock.add_packet(packet(b""))
    assert mock.add_batch(batch_of([])) == 0
    assert mock.total_stats == Stats(0, 0, 0)


# ---- options


def test_snaplen(opened):
    mock = opened(snaplen=40)
    frames = [ethernet(udp(0, 500)), ethernet(udp(1, 0))[:40], ethernet(udp(2, 0))[:39]]
    assert mock.add_batch(batch_of(frames)) == 3
    hand_over(mock)
    got = collect(mock, 3)
    assert payloads(got) == [frame[:40] for frame in frames]
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    assert [one.flags for one in got] == [RecordFlag.TRUNCATED, 0, 0]


def test_snaplen_by_strategy(opened):
    mock = opened(snaplen=minimal_ipv4_transport)
    mock.add_packet(packet(ethernet(udp(0, 500))))
    hand_over(mock)
    assert collect(mock, 1)[0].cap_len == minimal_ipv4_transport(1)


def test_the_filter_says_who_comes_in(opened):
    frames = [arp(), ethernet(udp(1)), ethernet(udp6(), 0x86DD), ethernet(b"\0" * 50, 0x88B5)]
    for options, passed in [
        ({}, [1, 2]),
        ({"auto_filter": False}, [0, 1, 2, 3]),
        ({"filter": "arp"}, [0]),
        ({"filter": "udp and dst port 5000"}, [1]),
        ({"filter": accept(20)}, [0, 1, 2, 3]),
        ({"filter": [(6, 0, 0, 0)]}, []),
    ]:
        mock = opened(**options)
        assert [mock.add_packet(packet(frame)) for frame in frames] == [i in passed for i in range(4)]
        hand_over(mock)
        assert mock.stats() == Stats(len(passed), 0, 0)
        if passed:
            cut = 20 if options == {"filter": accept(20)} else None
            assert payloads(collect(mock, len(passed))) == [frames[i][:cut] for i in passed]


@pytest.mark.parametrize(
    "options", [{"filter": "no such"}, {"filter": [(0xFFFF, 0, 0, 0)]}, {"filter": [(0x20, 0, 0, 0)]}]
)
def test_bad_filter(opened, options):
    with pytest.raises(FilterError):
        opened(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when_full": "explode"}, "when_full"),
        ({"link_down": "explode"}, "link_down"),
        ({"direction": "up"}, "direction"),
        ({"timeout": -1}, "timeout"),
        ({"snaplen": 0}, "snaplen"),
    ],
)
def test_options_that_cannot_be(opened, options, message):
    with pytest.raises(ValueError, match=message):
        opened(**options)


def test_opened_once(opened):
    mock = opened()
    with pytest.raises(TypeError, match="once"):
        mock.__init__()
    mock.add_packet(packet(frames_of(1)[0]))


@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_direction(opened, direction):
    mock = opened(direction=direction)
    types = [kind for kind in range(5) if direction == "both" or (kind == 4) == (direction == "out")]
    assert mock.add_batch(batch_of(frames_of(5), pkt_type=range(5))) == len(types)
    hand_over(mock)
    assert [one.pkt_type for one in collect(mock, len(types))] == types


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
@pytest.mark.parametrize("tci", [0, 5, 0xEFFF])
def test_tags(opened, tci, tpid):
    """The kernel takes them out of what comes in, and leaves them in what goes out."""
    plain = ethernet(udp(1))
    frame = tagged(plain, tci, tpid)
    for options in ({}, {"reinsert_vlan": True}, {"ignore_vlans": True}):
        mock = opened(**options)
        count = mock.add_batch(batch_of([frame, frame], pkt_type=[0, 4]))
        if options == {"ignore_vlans": True}:
            assert count == 0
            continue
        hand_over(mock)
        came, went = collect(mock, 2)
        stripped = not options
        assert came.data == (plain if stripped else frame)
        assert went.data == frame
        assert came.total_len == len(came.data)
        assert (came.vlan_tci, came.vlan_tpid) == (went.vlan_tci, went.vlan_tpid) == (tci, tpid)
        assert bool(came.flags & RecordFlag.VLAN_STRIPPED) == stripped
        assert went.flags & (RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED) == RecordFlag.VLAN


def test_a_packet_too_short_for_its_tag(opened):
    """The kernel drops it before any socket sees it (skb_vlan_untag), unless it is only cut."""
    mock = opened(auto_filter=False)
    whole = tagged(ethernet(udp(1)), 5)
    for cut in range(14, 24):
        assert mock.add_packet(packet(whole[:cut], 0)) == (cut >= 20)
        assert mock.add_packet(packet(whole[:cut], 4))
        assert mock.add_packet(packet(whole[:cut], 0, total_len=len(whole)))


def test_flags_go_through(opened):
    """From a live capture to a mock: a tag stays out, and what is known of checksums is kept."""
    flags = [
        RecordFlag.CHECKSUM_VALID,
        RecordFlag.CHECKSUM_NOT_READY,
        RecordFlag.GSO | RecordFlag.CHECKSUM_NOT_READY,
        RecordFlag.VLAN | RecordFlag.VLAN_STRIPPED,
    ]
    mock = opened()
    mock.add_batch(batch_of(frames_of(4), flags=flags, vlan_tci=[0, 0, 0, 7], vlan_tpid=[0, 0, 0, 0x88A8]))
    hand_over(mock)
    got = collect(mock, 4)
    assert [one.flags for one in got] == flags
    assert (got[3].vlan_tci, got[3].vlan_tpid) == (7, 0x88A8)


@pytest.mark.parametrize("with_type", [True, False])
def test_a_link_without_a_link_layer(opened, with_type):
    link = Link("tun0", 7, 101, 65534) if with_type else Link("tun0", 1, 101)
    mock = opened(link)
    packets = [udp(1), udp6(2), tagged(ethernet(udp(1)), 5)]
    assert [mock.add_packet(packet(data)) for data in packets] == [True, True, False]
    hand_over(mock)
    got = collect(mock, 2)
    assert payloads(got) == packets[:2]
    assert [one.ip_offset for one in got] == [0, 0]
    filtered = opened(link, filter="ip6")
    assert [filtered.add_packet(packet(data)) for data in packets[:2]] == [False, True]


# ---- room


@pytest.fixture
def full(kind, opened):
    """A mock without room, and what it holds."""

    def make(**options):
        mock = opened(**SHORT[kind] | options)
        return mock, fill(mock)

    return make


def test_a_producer_waits_for_room(full, background):
    mock, frames = full()
    more = frames_of(500, 60)
    adding = background(lambda: [mock.add_packet(packet(frame)) for frame in more])
    time.sleep(0.1)
    assert adding.is_alive()
    got = []
    while len(got) < len(frames) + len(more):
        if not adding.is_alive():
            hand_over(mock)
        with contextlib.suppress(TimeoutError):
            got += payloads(collect(mock, 1, within=0.05))
    assert got == frames + more
    assert all(adding.result())
    assert mock.total_stats[:2] == (len(got), 0)


def test_a_producer_waits_no_longer_than_it_is_to(full):
    mock, frames = full()
    for add in (
        lambda: mock.add_packet(packet(frames[0]), timeout=0.05),
        lambda: mock.add_batch(batch_of(frames[:9]), timeout=0.05),
    ):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="no room"):
            add()
        assert 0.05 <= time.monotonic() - began < 1
    with pytest.raises(ValueError, match="timeout"):
        mock.add_packet(packet(frames[0]), timeout=-1)
    assert mock.stats()[:2] == (len(frames), 0)
    assert payloads(collect(mock, len(frames))) == frames
    assert mock.can_add_packets
    assert mock.add_packet(packet(frames[0]), timeout=0)
    hand_over(mock)
    assert payloads(collect(mock, 1)) == frames[:1]


def test_dropped_when_full(full):
    mock, frames = full(when_full="drop")
    assert [mock.add_packet(packet(frame)) for frame in frames_of(7)] == [True] * 7
    assert mock.add_batch(batch_of(frames_of(5))) == 5
    assert mock.total_stats[:2] == (len(frames) + 12, 12)
    assert mock.stats().queue_freezes == isinstance(mock, MockRingSource)
    mock.done()
    assert drained(mock) == frames


@pytest.mark.parametrize("way", ["packet", "batch"])
def test_closed_during_a_producers_wait(full, background, way):
    mock, frames = full()
    if way == "packet":
        adding = background(lambda: mock.add_packet(packet(frames[0])))
    else:
        adding = background(lambda: mock.add_batch(batch_of(frames)))
    time.sleep(0.05)
    began = time.monotonic()
    mock.close()
    with pytest.raises(CaptureStopped):
        adding.result(within=2)
    assert time.monotonic() - began < 1
    with pytest.raises(CaptureStopped):
        mock.add_packet(packet(frames[0]))


def test_closed(opened):
    mock = opened()
    mock.add_packet(packet(frames_of(1)[0]))
    mock.close()
    mock.close()
    with pytest.raises(CaptureStopped):
        mock.add_batch(batch_of(frames_of(1)))
    with pytest.raises(CaptureStopped):
        mock.next_packet()
    with pytest.raises(CaptureStopped):
        mock.run(drain=False)
    mock.run()
    mock.drop(1)
    mock.freeze()
    mock.thaw()
    mock.set_link("down")
    mock.on_packet_added(print)
    hand_over(mock)
    assert isinstance(mock.can_add_packets, bool)
    mock.done()
    for loop in (mock.batches, mock.__iter__):
        with pytest.raises(CaptureStopped):
            loop()
    assert mock.total_stats[:2] == (2, 1)


def test_two_threads(kind, opened):
    """Packets are added while they are read: all come, in order, each once."""
    count = 100_000
    mock = opened(block_size=1 << 16, num_blocks=3) if kind is MockRingSource else opened(buffer_size=1 << 16)
    mock.run()
    frames = [ethernet(udp(i, i % 40)) for i in range(1000)]

    def produce():
        for i in range(count // 1000):
            if i % 10 == 9:
                for j, frame in enumerate(frames):
                    mock.add_packet(packet(frame, timestamp=i * 1000 + j + 1))
            else:
                mock.add_batch(batch_of(frames, timestamp=np.arange(i * 1000, (i + 1) * 1000) + 1))
        mock.done()

    times, first_bytes = [], []
    with ThreadPoolExecutor(1) as pool:
        producing = pool.submit(produce)
        for batch in mock.batches():
            times.append(batch["timestamp"].copy())
            first_bytes.append((bytes(batch.payload(0)), int(batch["timestamp"][0])))
            del batch
        producing.result(10)
    assert np.concatenate(times).tolist() == list(range(1, count + 1))
    assert all(data == frames[(at - 1) % 1000] for data, at in first_bytes)
    assert mock.total_stats[:2] == (count, 0)


def test_two_producers(kind, opened, background):
    mock = opened(**SHORT[kind])
    mock.run()

    def produce(pkt_type):
        for i in range(2000):
            mock.add_packet(packet(ethernet(udp(i)), pkt_type))

    producing = [background(lambda pkt_type=pkt_type: produce(pkt_type)) for pkt_type in range(3)]
    got = collect(mock, 6000, within=20)
    for one in producing:
        one.result()
    for pkt_type in range(3):
        mine = [one.data for one in got if one.pkt_type == pkt_type]
        assert mine == [ethernet(udp(i)) for i in range(2000)]


# ---- what a producer can ask for


def test_on_packet_added(opened):
    mock = opened()
    seen = []
    mock.on_packet_added(lambda packet: seen.append((bytes(packet.payload), packet.type)))
    frames = [ethernet(udp(1)), arp(), ethernet(udp(2))]
    mock.add_packet(packet(frames[0], 3))
    mock.add_packet(packet(frames[1]))
    assert seen == [(frames[0], 3)]
    assert mock.add_batch(batch_of(frames)) == 2
    assert seen[1:] == [(frames[0], 0), (frames[2], 0)]
    mock.on_packet_added(None)
    mock.add_packet(packet(frames[0]))
    assert len(seen) == 3
    hand_over(mock)
    assert len(collect(mock, 4)) == 4


def test_on_packet_added_what_it_raises_goes_through_and_the_packet_is_in(opened):
    mock = opened()
    mock.on_packet_added(lambda packet: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mock.add_packet(packet(frames_of(1)[0]))
    with pytest.raises(ZeroDivisionError):
        mock.add_batch(batch_of(frames_of(3)))
    hand_over(mock)
    assert payloads(collect(mock, 2)) == frames_of(1) * 2


def test_on_packet_added_may_do_as_it_likes(opened):
    mock = opened()
    batch = batch_of(frames_of(3))
    later = []

    def added(view):
        later.append(view)
        if len(later) < 3:
            mock.add_packet(view)
        with pytest.raises(BufferError):
            batch.release()
        mock.on_packet_added(None if len(later) > 3 else added)

    mock.on_packet_added(added)
    assert mock.add_batch(batch) == 3
    hand_over(mock)
    assert payloads(collect(mock, 5)) == [frames_of(3)[i] for i in (0, 0, 0, 1, 2)]
    assert {bytes(view.payload) for view in later} <= set(frames_of(3))


def test_add_packet_from(opened, sample_of):
    sample = sample_of("mixed.pcap")
    mock = opened(auto_filter=False)
    with open_file(sample.path) as file:
        came = [mock.add_packet_from(file) for _ in sample.rows]
        with pytest.raises(EOFError):
            mock.add_packet_from(file)
    assert came == [len(row.data) > 0 for row in sample.rows]
    with pytest.raises(CaptureStopped):
        mock.add_packet_from(file)
    other = opened(timeout=None)
    with pytest.raises(TimeoutError, match="no packet"):
        mock.add_packet_from(other, timeout=0.01)
    mock.done()
    assert len(drained(mock)) == sum(came)


def test_time_goes_on_with_run(opened, kind):
    mock = opened(block_timeout=0.05) if kind is MockRingSource else opened()
    if kind is MockRingSource:
        mock.add_packet(packet(frames_of(1)[0]))
        with pytest.raises(TimeoutError):
            mock.next_packet(timeout=0.1)
    else:
        mock.add_packet(packet(frames_of(1)[0]))
        mock.next_packet(timeout=0)
        mock.add_packet(packet(frames_of(1)[0]))
    mock.run()
    assert payloads(collect(mock, 1)) == frames_of(1)
    began = time.monotonic()
    mock.add_packet(packet(frames_of(1)[0]))
    assert payloads(collect(mock, 1)) == frames_of(1)
    took = time.monotonic() - began
    assert took < 1
    if kind is MockRingSource:
        assert took >= 0.05


def test_a_waiting_reader_is_woken(opened, background):
    mock = opened()
    mock.run()
    reading = background(lambda: bytes(mock.next_packet().payload))
    time.sleep(0.05)
    mock.add_packet(packet(frames_of(1)[0]))
    assert reading.result(2) == frames_of(1)[0]


def test_a_waiting_reader_rests(opened):
    mock = opened()
    mock.run()
    mock.add_packet(packet(frames_of(1)[0]))
    held = mock.next_batch()
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0.3)
    assert time.thread_time() - before < 0.15, "spins"
    assert len(held) == 1


def test_done(opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(50)))
    mock.done()
    assert drained(mock) == frames_of(50)
    with pytest.raises(EOFError):
        mock.next_packet()
    assert list(mock) == []
    assert not mock.closed


def test_done_before_anything_came(opened, background):
    mock = opened()
    reading = background(lambda: drained(mock))
    time.sleep(0.05)
    mock.done()
    assert reading.result(2) == []


def test_stop_in_mid_block(opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(20)))
    hand_over(mock)
    got = [bytes(mock.next_packet().payload) for _ in range(7)]
    mock.add_batch(batch_of([ethernet(udp(99))]))
    mock.stop()
    got += [bytes(packet.payload) for packet in mock]
    assert got == [*frames_of(20), ethernet(udp(99))]


def test_unblock(opened, background):
    mock = opened()
    reading = background(mock.next_packet)
    time.sleep(0.05)
    mock.unblock()
    with pytest.raises(CaptureUnblocked):
        reading.result(2)
    mock.add_packet(packet(frames_of(1)[0]))
    hand_over(mock)
    assert payloads(collect(mock, 1)) == frames_of(1)


# ---- read again and again


def test_no_drain(opened):
    mock = opened()
    frames = frames_of(100)
    mock.add_batch(batch_of(frames))
    mock.run(drain=False)
    assert not mock.can_add_packets
    for add in (lambda: mock.add_packet(packet(frames[0])), lambda: mock.add_batch(batch_of(frames))):
        with pytest.raises(ValueError, match="again and again"):
            add()
    assert [bytes(mock.next_packet().payload) for _ in range(1000)] == frames * 10
    got = payloads(collect(mock, 1000))
    assert got == (frames * (len(got) // 100 + 1))[: len(got)]
    mock.close()
    with pytest.raises(CaptureStopped):
        mock.next_packet()


def test_no_drain_of_a_full_one(full):
    mock, frames = full()
    mock.run(drain=False)
    assert [bytes(mock.next_packet().payload) for _ in range(3 * len(frames))] == frames * 3


def test_no_drain_of_nothing(opened):
    mock = opened()
    for _ in range(2):
        with pytest.raises(ValueError, match="again and again"):
            mock.run(drain=False)
    mock.add_packet(packet(frames_of(1)[0]))
    mock.run(drain=False)
    assert mock.next_packet()


def test_no_drain_ends_with_unblock(opened, background):
    mock = opened()
    mock.add_batch(batch_of(frames_of(10)))
    mock.run(drain=False)
    reading = background(lambda: sum(1 for _ in mock))
    time.sleep(0.05)
    mock.unblock()
    with pytest.raises(CaptureUnblocked):
        reading.result(2)
    reading = background(lambda: drained(mock))
    time.sleep(0.05)
    mock.close()
    assert len(reading.result(2)) > 10


# ---- faults


def test_drops_that_were_not(opened):
    mock = opened()
    mock.drop(7)
    mock.add_batch(batch_of(frames_of(2)))
    assert mock.stats() == Stats(9, 7, 0)
    hand_over(mock)
    assert payloads(collect(mock, 2)) == frames_of(2)
    with pytest.raises(OverflowError):
        mock.drop(-1)


def test_frozen(opened):
    mock = opened()
    a_ring = isinstance(mock, MockRingSource)
    mock.add_packet(packet(ethernet(udp(0))))
    mock.freeze()
    mock.freeze()
    assert mock.add_packet(packet(ethernet(udp(1))))
    assert not mock.add_packet(packet(arp()))
    mock.thaw()
    mock.add_packet(packet(ethernet(udp(2))))
    assert mock.stats() == Stats(3, 1, int(a_ring))
    mock.freeze()
    mock.thaw()
    assert mock.stats() == Stats(0, 0, int(a_ring))
    mock.done()
    assert drained(mock) == [ethernet(udp(0)), ethernet(udp(2))]


def test_a_link_that_goes_down_and_comes_up(opened, background):
    mock = opened()
    mock.run()
    mock.add_packet(packet(ethernet(udp(0))))
    mock.set_link("down")
    assert not mock.add_packet(packet(ethernet(udp(1))))
    assert payloads(collect(mock, 1)) == [ethernet(udp(0))]
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0.3)
    assert time.thread_time() - before < 0.15, "spins"
    reading = background(lambda: payloads(collect(mock, 1)))
    mock.set_link("up")
    mock.add_packet(packet(ethernet(udp(2))))
    assert reading.result(3) == [ethernet(udp(2))]
    assert mock.total_stats == Stats(2, 0, 0)


@pytest.mark.parametrize("waits", [True, False])
def test_a_link_that_is_down_raises(opened, background, waits):
    mock = opened(link_down="raise")
    if waits:
        reading = background(mock.next_packet)
        time.sleep(0.05)
    mock.set_link("down")
    if not waits:
        reading = background(mock.next_packet)
    with pytest.raises(LinkDown, match="mock"):
        reading.result(2)
    mock.set_link("up")
    mock.add_packet(packet(frames_of(1)[0]))
    hand_over(mock)
    assert payloads(collect(mock, 1)) == frames_of(1)


@pytest.mark.parametrize("link_down", ["wait", "raise"])
@pytest.mark.parametrize("before", ["up", "down"])
def test_a_link_that_is_gone(opened, background, link_down, before):
    mock = opened(link_down=link_down)
    mock.add_packet(packet(frames_of(1)[0]))
    hand_over(mock)
    mock.set_link(before)
    mock.set_link("gone")
    assert not mock.add_packet(packet(frames_of(1)[0]))
    assert payloads(collect(mock, 1)) == frames_of(1)  # came before
    with pytest.raises(LinkGone, match="mock"):
        mock.next_packet()
    reading = background(mock.next_packet)
    with pytest.raises(LinkGone):
        reading.result(3)


def test_no_such_state_of_a_link(opened):
    with pytest.raises(ValueError, match="sideways"):
        opened().set_link("sideways")


# ---- hostile batches


@pytest.mark.parametrize(
    "columns",
    [
        {"offset": 10**6},
        {"offset": 2**64 - 1},
        {"cap_len": 2**32 - 1},
        {"cap_len": 10_000},
        {"offset": 2**64 - 1, "cap_len": 2**32 - 1, "total_len": 2**32 - 1},
    ],
    ids=str,
)
def test_rows_that_point_elsewhere_are_passed_over(opened, columns):
    frames = frames_of(3)
    batch = batch_of(frames)
    records = batch.records.copy()
    for name, value in columns.items():
        records[name][1] = value
    try:
        batch = Batch(records, batch.data)
    except ValueError:
        return  # refused before
    mock = opened(auto_filter=False)
    assert mock.add_batch(batch) == 2
    hand_over(mock)
    assert payloads(collect(mock, 2)) == [frames[0], frames[2]]


@pytest.mark.parametrize("reinsert_vlan", [False, True])
@pytest.mark.parametrize("pkt_type", [0, 4, 255])
@pytest.mark.parametrize("flags", [0, RecordFlag.VLAN_STRIPPED, 0xFFFFFFFF])
def test_no_length_on_the_wire_is_believed(opened, flags, pkt_type, reinsert_vlan):
    """Nor a flag: it is never less than what was captured."""
    mock = opened(auto_filter=False, reinsert_vlan=reinsert_vlan)
    whole = tagged(tagged(ethernet(udp(1)), 5), 6)
    frames = [whole[:cut] for cut in range(1, len(whole))]
    for total in (0, 1, 19, 2**31, 2**32 - 1):
        batch = batch_of(
            frames, total_len=total, flags=flags, pkt_type=pkt_type, vlan_tci=7, vlan_tpid=0x8100
        )
        count = mock.add_batch(batch)
        assert len(frames) - 6 <= count <= len(frames)  # too short for the tag: see below
        hand_over(mock)
        for one in collect(mock, count):
            assert one.cap_len <= one.total_len
            assert one.cap_len == len(one.data) <= len(whole) + 4
            assert one.total_len <= len(whole) + 4 or one.total_len >= total - 4


@pytest.mark.parametrize("timestamp", [2**63 - 1, 2**32 * 10**9, 10**18, 1])
def test_times_far_away(opened, timestamp):
    """A ring's seconds have 32 bits."""
    mock = opened()
    mock.add_packet(packet(frames_of(1)[0], timestamp=timestamp))
    hand_over(mock)
    got = collect(mock, 1)[0].timestamp
    assert got % 2**32 * 10**9 == timestamp % 2**32 * 10**9 or got == timestamp % (2**32 * 10**9)


def test_longer_than_any_packet_is(opened):
    mock = opened(auto_filter=False)
    mock.add_batch(batch_of([ethernet(bytes(300_000)), tagged(ethernet(bytes(300_000)), 5)]))
    hand_over(mock)
    got = collect(mock, 2)
    assert all(262_000 <= one.cap_len <= 262_144 for one in got)
    assert [one.total_len for one in got] == [300_014, 300_014]


# ---- processes and objects that are none


def test_a_forked_process_leaves_the_mock_alone(opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(3)))

    def child():
        for use in (
            mock.next_packet,
            lambda: mock.add_packet(packet(arp())),
            lambda: mock.add_batch(batch_of(frames_of(9))),
            mock.done,
            lambda: mock.run(drain=False),
            lambda: mock.drop(1),
            mock.freeze,
            lambda: mock.can_add_packets,
        ):
            with pytest.raises(RuntimeError, match="forked"):
                use()
        mock.close()
        return "left alone"

    assert in_child(child) == "left alone"
    mock.add_packet(packet(ethernet(udp(9))))
    mock.done()
    assert drained(mock) == [*frames_of(3), ethernet(udp(9))]
    assert mock.total_stats == Stats(4, 0, 0)


def test_never_initialised(kind):
    mock = kind.__new__(kind)
    for call in (
        lambda: mock.add_packet(packet(arp())),
        lambda: mock.run(drain=False),
        lambda: mock.add_batch(batch_of(frames_of(1))),
    ):
        with pytest.raises((AttributeError, ValueError, EOFError)):
            call()
    assert list(mock) == []
    mock.close()


def test_a_socket_of_a_mock_by_itself():
    """It drops what comes, as one that is bound to nothing."""
    device = MockSocket(Link("mock", 1, 1))
    assert not device.has_room
    assert not device.add_packet(packet(frames_of(1)[0]))
    assert device.add_batch(batch_of(frames_of(3))) == 0
    assert not device.finalize()
    with pytest.raises(TypeError, match="ring"):
        device.add_empty_block()


# ---- the ring


def test_a_block_is_handed_over(ring):
    mock = ring()
    assert not mock.finalize_block()
    mock.add_batch(batch_of(frames_of(3)))
    assert mock.finalize_block()
    assert not mock.finalize_block()
    mock.add_batch(batch_of(frames_of(2)))
    assert mock.finalize_block()
    assert [len(mock.next_batch()) for _ in range(2)] == [3, 2]


def test_a_full_block_is_handed_over(ring):
    mock = ring(**TINY)
    frames = frames_of(40)
    count = mock.add_batch(batch_of(frames))
    first = mock.next_batch()
    assert 20 < len(first) < 40
    mock.finalize_block()
    assert len(first) + len(mock.next_batch()) == count


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 14, 40, 1500, 3930])
def test_rings_of_few_blocks(ring, num_blocks, size):
    """Round and round, with blocks of each number of packets."""
    mock = ring(block_size=PAGE, num_blocks=num_blocks, auto_filter=False)
    sent = got = 0
    for count in range(1, 3 * PAGE // (size + 100)):
        for _ in range(count):
            if not mock.can_add_packets:
                break
            mock.add_packet(
                packet(sent.to_bytes(4, "little")[: min(size, 4)] + bytes(max(0, size - 4))), timeout=0
            )
            sent += 1
        mock.finalize_block()
        while got < sent:
            for one in collect(mock, 1):
                assert one.data[:4] == got.to_bytes(4, "little")[: min(size, 4)]
                assert one.cap_len == size
                got += 1
    assert sent > 1
    assert mock.total_stats[:2] == (sent, 0)


def test_empty_blocks_are_passed_over(ring):
    mock = ring(**TINY)
    for i in range(5):
        assert mock.add_empty_block()
        mock.add_packet(packet(ethernet(udp(i))))
        mock.finalize_block()
        assert payloads(collect(mock, 1)) == [ethernet(udp(i))]
    assert mock.add_empty_block()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0.02)
    mock.add_packet(packet(ethernet(udp(7))))
    assert mock.add_empty_block()  # behind the open one, which it hands over
    assert not mock.add_empty_block()
    mock.done()
    assert drained(mock) == [ethernet(udp(7))]
    assert mock.total_stats.packets_received == 6


def test_no_drain_of_empty_blocks_alone(ring):
    mock = ring()
    mock.add_empty_block()
    with pytest.raises(ValueError, match="again and again"):
        mock.run(drain=False)
    mock.add_packet(packet(frames_of(1)[0]))
    mock.add_empty_block()
    mock.run(drain=False)
    assert [bytes(mock.next_packet().payload) for _ in range(5)] == frames_of(1) * 5


def test_no_drain_after_a_release(ring):
    mock = ring()
    mock.add_batch(batch_of(frames_of(3)))
    mock.finalize_block()
    mock.force_block_release()
    mock.add_packet(packet(arp()), 0)
    mock.add_packet(packet(ethernet(udp(7))))
    mock.run(drain=False)
    assert [bytes(mock.next_packet().payload) for _ in range(5)] == [ethernet(udp(7))] * 5


def test_no_drain_only_from_the_start(ring):
    mock = ring()
    mock.add_batch(batch_of(frames_of(3)))
    mock.finalize_block()
    mock.next_packet()
    with pytest.raises(ValueError, match="before it is read"):
        mock.run(drain=False)


def test_no_drain_with_blocks_on_loan(ring):
    """A block that is shown is not shown again before it is back."""
    mock = ring()
    for i in range(2):
        mock.add_packet(packet(ethernet(udp(i))))
        mock.finalize_block()
    mock.run(drain=False)
    held = [mock.next_batch() for _ in range(2)]
    with pytest.raises(RingExhausted, match="2 of 2"):
        mock.next_batch()
    held.clear()
    assert payloads(collect(mock, 4)) == [ethernet(udp(i)) for i in (0, 1, 0, 1)]


def test_release_makes_room(ring):
    mock = ring(**TINY)
    fill(mock)
    mock.force_block_release()
    assert mock.can_add_packets
    mock.add_packet(packet(ethernet(udp(99))), timeout=0)
    mock.finalize_block()
    assert payloads(collect(mock, 1)) == [ethernet(udp(99))]
    mock.add_packet(packet(ethernet(udp(98))), timeout=0)
    mock.force_block_release()  # of a block that is open, too
    mock.add_packet(packet(ethernet(udp(97))), timeout=0)
    mock.done()
    assert drained(mock) == [ethernet(udp(97))]


def test_release_leaves_what_is_on_loan(ring):
    mock = ring(block_size=PAGE, num_blocks=3)
    for i in range(2):
        mock.add_packet(packet(ethernet(udp(i))))
        mock.finalize_block()
    held = mock.next_batch()
    mock.force_block_release()
    for i in range(10, 12):
        mock.add_packet(packet(ethernet(udp(i))), timeout=0)
        mock.finalize_block()
    assert not mock.can_add_packets
    assert bytes(held.payload(0)) == ethernet(udp(0))
    assert payloads(collect(mock, 2)) == [ethernet(udp(i)) for i in (10, 11)]
    with pytest.raises(RingExhausted):
        mock.next_batch()
    del held
    assert mock.can_add_packets


def test_release_lets_a_producer_go_on(ring, background):
    mock = ring(**TINY)
    fill(mock)
    adding = background(lambda: mock.add_packet(packet(ethernet(udp(99)))))
    time.sleep(0.05)
    mock.force_block_release()
    assert adding.result(2)


def test_release_of_a_closed_one(ring):
    mock = ring()
    mock.add_packet(packet(arp()))
    mock.close()
    mock.force_block_release()
    MockRingSource.__new__(MockRingSource).force_block_release()


def test_held_blocks_stop_the_ring(ring, background):
    mock = ring(**TINY)
    mock.run()
    held = []
    for i in range(2):
        mock.add_packet(packet(ethernet(udp(i))))
        held.append(mock.next_batch())
    assert not mock.can_add_packets
    with pytest.raises(RingExhausted, match="2 of 2 blocks are on loan"):
        mock.next_batch()
    adding = background(lambda: mock.add_packet(packet(ethernet(udp(2)))))
    time.sleep(0.05)
    assert adding.is_alive()
    del held[1]
    time.sleep(0.05)
    assert adding.is_alive()  # the next is the other
    held.clear()
    assert adding.result(2)
    assert payloads(collect(mock, 1)) == [ethernet(udp(2))]


def test_losing_until_the_counters_are_read(ring):
    mock = ring(auto_filter=False)

    def flags():
        mock.add_batch(batch_of(frames_of(2)))
        mock.finalize_block()
        return [one.flags for one in collect(mock, 2)]

    assert flags() == [0, 0]
    mock.drop(3)
    assert flags() == [RecordFlag.LOSING, 0]
    assert flags() == [RecordFlag.LOSING, 0]
    assert mock.stats().packets_dropped == 3
    assert flags() == [0, 0]


def test_each_freeze_counts_once(ring):
    mock = ring(**TINY, when_full="drop")
    for i in range(3):
        fill(mock)
        mock.add_batch(batch_of(frames_of(5)))
        assert mock.total_stats.queue_freezes == i + 1
        while mock.total_stats.packets_dropped:
            with contextlib.suppress(TimeoutError):
                mock.next_batch(timeout=0)
                continue
            break
    assert mock.total_stats.packets_dropped == 15


@pytest.mark.parametrize("size", [PAGE - 100, PAGE, 3 * PAGE])
def test_packets_larger_than_a_block(ring, size):
    """prb_fill_curr_block() gets what fits (tpacket_rcv, max_frame_len)."""
    mock = ring(**TINY)
    frames = [ethernet(udp(1)), ethernet(udp(2, size)), ethernet(udp(3))]
    got = []
    for frame in frames:
        mock.add_packet(packet(frame), timeout=0)
        mock.finalize_block()
        got += collect(mock, 1)
    assert payloads(got) == [frame[: PAGE - 48 - 82] for frame in frames]
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    assert [one.flags for one in got] == [0, RecordFlag.TRUNCATED if size > PAGE - 200 else 0, 0]


def test_views_outlive_a_mock(kind, opened):
    mock = opened()
    mock.add_batch(batch_of(frames_of(5)))
    hand_over(mock)
    batch = mock.next_batch()
    views = [batch.payload(i) for i in range(5)]
    del batch
    mock.close()
    del mock
    assert [bytes(view) for view in views] == frames_of(5)


# ---- the socket


def test_the_socket_has_each_packet_at_once():
    with MockSocketSource(timeout=0) as mock:
        for i in range(100):
            mock.add_packet(packet(ethernet(udp(i))))
            assert bytes(mock.next_packet().payload) == ethernet(udp(i))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, 1024])
def test_the_socket_gives_batches(batch_size):
    with MockSocketSource(timeout=1, batch_size=batch_size) as mock:
        mock.add_batch(batch_of(frames_of(100)))
        mock.done()
        sizes = [len(batch) for batch in mock.batches()]
    assert sum(sizes) == 100
    assert max(sizes) == min(batch_size, 100)
    assert all(a >= b for a, b in pairwise(sizes))


def test_the_buffer_counts_what_is_in_it():
    with MockSocketSource(timeout=1, buffer_size=1 << 16) as mock:
        small = len(fill(mock))
    with MockSocketSource(timeout=1, buffer_size=1 << 16) as mock:
        large = 0
        while mock.can_add_packets:
            mock.add_packet(packet(ethernet(udp(1, 9000))), timeout=0)
            large += 1
    assert 2 * (1 << 16) / 900 < small < 2 * (1 << 16) / 700
    assert 10 < large < 16


def test_destinations_are_what_they_were(opened):
    mock = opened()
    for pkt_type, dst in enumerate((RIGHT, ALL, GROUP, OTHER)):
        mock.add_packet(packet(ethernet(udp(), dst=dst), pkt_type))
    hand_over(mock)
    assert [PacketType(one.pkt_type) for one in collect(mock, 4)] == [0, 1, 2, 3]
