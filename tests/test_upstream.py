"""Every behaviour that the Go library slimcap states in its own tests, in our API, over the mocks.

In the order of its packages: capture, afpacket and afring (one mock each), pcap, event, filter, socket, link.
Where ours differs on purpose, the test says so and why.
"""

from __future__ import annotations

import io
import os
import time

import pytest
from make_samples import SAMPLES, pcap_header, pcap_record

from slimcap import (
    NO_IP,
    CaptureStopped,
    CaptureUnblocked,
    FileFormatError,
    Link,
    LinkNotFound,
    MockRingSource,
    MockSocketSource,
    Packet,
    PacketType,
    PcapSource,
    RecordFlag,
    Stats,
    TruncatedFileError,
    build_packet,
    open_file,
)
from slimcap.filter import (
    accept,
    build_program,
    fixed,
    minimal_ipv4_header,
    minimal_ipv4_transport,
    minimal_ipv6_header,
    minimal_ipv6_transport,
)

COUNT = 10_000
SHOWN = 56  # bytes of a packet that are captured: all but the last 2


@pytest.fixture(params=[MockRingSource, MockSocketSource], ids=["afring", "afpacket"])
def kind(request):
    return request.param


def packet_number(n):
    """Packet `n` of the 10,000: addresses, ports, type and length tell which.

    Upstream's mocks take BuildPacket's all-zero link-layer header for that of an IP packet. Ours look at the
    EtherType, as the kernel and the filter do, so it gets one. And upstream has lengths on the wire that are
    less than what was captured, or 16 bits of them; ours are never less, so that these are 100 more.
    """
    i, j = divmod(n, 100)
    built = build_packet(
        f"1.2.3.{i % 254 + 1}",
        f"4.5.6.{j % 254 + 1}",
        i,
        j,
        6,
        bytes([i, j]) * 10,
        (i + j) % 5,
        total_len_of(n),
    )
    payload = bytearray(built.payload)
    payload[12:14] = b"\x08\x00"
    return Packet.from_payload(payload, built.type, built.total_len)


def total_len_of(n):
    return 100 + n


def ip_layer_text(n):
    """IPLayer.String() of packet `n`; without ports, it has none in upstream's builder either."""
    i, j = divmod(n, 100)
    return f"1.2.3.{i % 254 + 1}:{i} => 4.5.6.{j % 254 + 1}:{j} (proto: 6)"


PACKETS = [packet_number(n) for n in range(COUNT)]
# Upstream leaves ports out if one of them is 0, and reads what is in their place: not stated, not checked.
NAMED = [n for n in range(COUNT) if n // 100 and n % 100]


class Reader:
    """A capture method, with the buffer that it is given again and again, if it takes one.

    Gives payload, type and total length; a method that gives the IP layer, that instead of the payload.
    """

    def __init__(self, name, read, *, ip_layer=False):
        self.name, self.read, self.ip_layer = name, read, ip_layer


def by_packet(packet):
    return packet.payload, packet.type, packet.total_len


def by_function(source):
    def seen(payload, total_len, pkt_type, ip_layer_offset):
        assert ip_layer_offset == 14 or source.link.name != "mock"  # upstream has one for all of a file
        return payload, pkt_type, total_len

    return source.next_packet_fn(seen)


READERS = [
    Reader("NextPacket", lambda source, _: by_packet(source.next_packet())),
    Reader("NextPacketInPlace", lambda source, buf: by_packet(source.next_packet(buf))),
    Reader("NextPayload", lambda source, _: source.next_payload()),
    Reader("NextPayloadInPlace", lambda source, buf: source.next_payload(buf)),
    Reader("NextPayloadZeroCopy", lambda source, _: source.next_payload_zero_copy()),
    Reader("NextIPPacket", lambda source, _: source.next_ip_packet(), ip_layer=True),
    Reader("NextIPPacketInPlace", lambda source, buf: source.next_ip_packet(buf), ip_layer=True),
    Reader("NextIPPacketZeroCopy", lambda source, _: source.next_ip_packet_zero_copy(), ip_layer=True),
    Reader("NextPacketFn", lambda source, _: by_function(source)),
    Reader("iteration", lambda source, _: by_packet(next(source))),
]


def shown(n):
    """What is captured of packet `n`."""
    return bytes(PACKETS[n].payload)[:SHOWN]


def buffer_for(reader, source):
    return source.new_packet() if reader.name == "NextPacketInPlace" else bytearray(SHOWN)


def open_mock(kind, **options):
    """As upstream's tests open theirs, where it matters."""
    return kind("mock", **{"snaplen": SHOWN, "timeout": 10} | options)


# ---- capture methods


@pytest.fixture
def produce(background):
    """Adds all packets in a thread, as upstream's tests do, and then ends the capture."""

    def start(mock):
        def add():
            for packet in PACKETS:
                mock.add_packet(packet, timeout=10)
            mock.done()

        mock.run()
        return background(add)

    return start


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_capture_methods(kind, reader, produce):
    """10,000 packets come once each, in order, by each method; then the end, and counters that tell."""
    checked = 0
    with open_mock(kind) as mock:
        adding = produce(mock)
        buf = buffer_for(reader, mock)
        for n, packet in enumerate(PACKETS):
            data, pkt_type, total_len = reader.read(mock, buf)
            wanted = packet.ip_layer if reader.ip_layer else packet.payload
            assert bytes(data) == bytes(wanted)[: SHOWN - 14 if reader.ip_layer else SHOWN]
            # Upstream's three meanings: the frame's length, 16 bits of that, what the IP header says.
            assert total_len == total_len_of(n)
            assert pkt_type == sum(divmod(n, 100)) % 5
            if n % 100 and n >= 100:
                layer = data if reader.ip_layer else Packet.from_payload(bytes(data)).ip_layer
                assert str(layer) == ip_layer_text(n)
                checked += 1
            del data
        adding.result()
        assert mock.stats() == Stats(COUNT, 0, mock.total_stats.queue_freezes)
        with pytest.raises((EOFError, StopIteration)):
            reader.read(mock, buf)
    assert checked == len(NAMED)


def test_batches(kind, produce):
    """What upstream has not: the same packets, many at a time."""
    with open_mock(kind) as mock:
        adding = produce(mock)
        lengths, types = [], []
        for batch in mock.batches():
            lengths += batch["total_len"].tolist()
            types += batch["pkt_type"].tolist()
            del batch
        adding.result()
    assert lengths == [total_len_of(n) for n in range(COUNT)]
    assert types == [sum(divmod(n, 100)) % 5 for n in range(COUNT)]


@pytest.mark.parametrize("reader", [r for r in READERS if r.name.endswith("InPlace")], ids=lambda r: r.name)
def test_a_buffer_that_is_too_short_gets_what_fits(kind, reader):
    """Upstream gives the buffer's full capacity back, whatever was written; ours, what was written."""
    with open_mock(kind) as mock:
        mock.add_packet(PACKETS[101])
        mock.done()
        buf = Packet.from_payload(bytes(20)) if reader.name == "NextPacketInPlace" else bytearray(20)
        data, _, total_len = reader.read(mock, buf)
        whole = shown(101)[14:] if reader.ip_layer else shown(101)
        assert bytes(data) == whole[: len(buf) if isinstance(buf, bytearray) else buf.capacity]
        assert isinstance(buf, Packet) or len(data) == 20
        assert total_len == total_len_of(101)


@pytest.mark.parametrize("reader", [r for r in READERS if r.ip_layer], ids=lambda r: r.name)
def test_what_is_no_ip_packet_is_passed_over(kind, reader):
    """Upstream's NextIPPacket is an error there, after which the caller tries again."""
    with open_mock(kind, auto_filter=False) as mock:
        mock.add_packet(Packet.from_payload(bytes(60)))
        mock.add_packet(PACKETS[101])
        mock.done()
        data, _, _ = reader.read(mock, bytearray(60))
        assert str(data) == ip_layer_text(101)
        del data
        with pytest.raises(EOFError):
            reader.read(mock, bytearray(60))


# ---- options


@pytest.mark.parametrize(
    "strategy",
    [
        *map(fixed, (1, 10, 64, 128, 65536, 131072)),
        minimal_ipv4_header, minimal_ipv4_transport, minimal_ipv6_header, minimal_ipv6_transport,
    ],
)  # fmt: skip
def test_capture_length(kind, strategy):
    most = strategy(1)
    with kind(snaplen=strategy, timeout=5) as mock:
        assert mock.new_packet().capacity >= most
        mock.add_packet(PACKETS[101])
        mock.done()
        packet = mock.next_packet()
        assert packet.cap_len == min(most, PACKETS[101].cap_len)
        assert packet.total_len == total_len_of(101)
        assert bool(packet.flags & RecordFlag.TRUNCATED)


@pytest.mark.parametrize("promiscuous", [True, False])
def test_promiscuous(kind, promiscuous):
    """A mock has nothing to switch, and takes it. Upstream's attribute is the caller's own variable here."""
    with kind(promiscuous=promiscuous) as mock:
        assert mock.can_add_packets


@pytest.mark.parametrize("block_size", [4096 * 100, 1 << 20, 2 << 20])
@pytest.mark.parametrize("num_blocks", [1, 2, 4, 64])
def test_buffer_size(block_size, num_blocks):
    with MockRingSource(block_size=block_size, num_blocks=num_blocks) as mock:
        assert (mock.block_size, mock.num_blocks) == (block_size, num_blocks)


def test_block_size_alignment():
    """A block is pages. Upstream has a frame size, too, which TPACKET_V3 does not use."""
    page = os.sysconf("SC_PAGESIZE")
    tried = 0
    for power in range(22):
        for size in (1 << power, (1 << power) + 1):
            if size % page:
                with pytest.raises(ValueError, match=rf"multiple of the page size.* {size}$"):
                    MockRingSource(block_size=size)
            else:
                MockRingSource(block_size=size, num_blocks=1).close()
                tried += 1
    assert tried > 5


# ---- the ends


def test_closed_source(kind):
    mock = open_mock(kind)
    mock.close()
    for _ in range(2):
        with pytest.raises(CaptureStopped):
            mock.next_packet()


def test_close_keeps_what_views_show(kind):
    """Upstream unmaps the ring at once, and what was read without a copy is gone."""
    mock = open_mock(kind)
    mock.add_packet(PACKETS[101])
    mock.done()
    payload, _, _ = mock.next_payload_zero_copy()
    mock.close()
    assert bytes(payload) == shown(101)


def test_unblock_on_close(kind, background):
    mock = open_mock(kind, timeout=None)
    reading = background(mock.next_packet)
    time.sleep(0.1)
    assert reading.is_alive()
    began = time.monotonic()
    mock.close()
    with pytest.raises(CaptureStopped):
        reading.result(within=2)
    assert time.monotonic() - began < 1


def test_closed_source_no_drain(kind):
    """It is filled before it is read again and again; and closing ends it."""
    mock = open_mock(kind)
    with pytest.raises(ValueError, match="again and again"):
        mock.run(drain=False)
    added = 0
    while mock.can_add_packets:
        mock.add_packet(PACKETS[added % COUNT], timeout=0)
        added += 1
    assert added > 1000
    mock.run(drain=False)
    mock.close()
    for _ in range(2):
        with pytest.raises(CaptureStopped):
            mock.next_packet()


def test_no_drain(kind):
    """Each round gives the same packets. The counters say what came, as everywhere: once."""
    with open_mock(kind) as mock:
        for packet in PACKETS[:500]:
            mock.add_packet(packet)
        mock.run(drain=False)
        for _ in range(20):
            assert [mock.next_packet().total_len for _ in range(500)] == list(range(100, 600))
        assert mock.total_stats == Stats(500, 0, 0)


def test_fill_ring_buffer(kind):
    """Until there is no room, which never makes it wait; and all is there."""
    options = {"block_size": 1 << 16, "num_blocks": 5} if kind is MockRingSource else {"buffer_size": 1 << 18}
    with open_mock(kind, **options) as mock:
        added = 0
        while mock.can_add_packets:
            assert mock.add_packet(PACKETS[added], timeout=0)
            added += 1
        mock.done()
        assert len(list(mock)) == added > 100


def test_force_block_release(kind):
    """Upstream's makes every block the kernel's again. Ours leaves to a view what it shows."""
    if kind is not MockRingSource:
        assert not hasattr(kind, "force_block_release")
        return
    with open_mock(kind, block_size=os.sysconf("SC_PAGESIZE"), num_blocks=2) as mock:
        mock.add_packet(PACKETS[101])
        mock.finalize_block()
        payload, _, _ = mock.next_payload_zero_copy()
        mock.add_packet(PACKETS[102])
        mock.finalize_block()
        assert not mock.can_add_packets
        mock.force_block_release()
        mock.add_packet(PACKETS[103], timeout=0)
        mock.finalize_block()
        assert bytes(payload) == shown(101)
        assert bytes(mock.next_packet().payload) == shown(103)


# ---- pipes


@pytest.mark.parametrize("other", [MockRingSource, MockSocketSource], ids=["to afring", "to afpacket"])
def test_pipe(kind, other, produce):
    """10,000 packets through one mock into another, and counters of both that tell."""
    with open_mock(kind) as first, open_mock(other) as second:
        adding = produce(first)
        replay = second.pipe(first)
        assert [packet.total_len for packet in second] == [total_len_of(n) for n in range(COUNT)]
        adding.result()
        assert replay.wait(5) == COUNT
        for mock in (first, second):
            assert mock.stats()[:2] == (COUNT, 0)
            assert mock.stats() == Stats(0, 0, 0)


def test_add_packet_from(kind, produce):
    with open_mock(kind) as first, open_mock(kind) as second:
        adding = produce(first)
        second.run()
        got = []
        for _ in range(COUNT):
            assert second.add_packet_from(first)
            if not second.can_add_packets or len(got) == 0:
                got.append(second.next_packet().total_len)
        adding.result()
        second.done()
        got += [packet.total_len for packet in second]
    assert got == [total_len_of(n) for n in range(COUNT)]


def test_pipe_of_a_file(kind, sample_of):
    """What comes from a file has no type, and a length."""
    sample = sample_of("mixed.pcap")
    with open_file(sample.path) as file, kind(auto_filter=False, timeout=5) as mock:
        mock.pipe(file)
        count = 0
        for packet in mock:
            assert packet.type == PacketType.UNKNOWN
            assert packet.total_len > 0
            count += 1
    assert count == len(sample.rows) > 0


def test_on_packet_added(kind):
    """Called once for what came in, not for what did not."""
    seen = []
    with open_mock(kind) as mock:
        mock.on_packet_added(lambda packet: seen.append(bytes(packet.payload)))
        assert mock.add_packet(PACKETS[101])
        assert not mock.add_packet(Packet.from_payload(bytes(60)))
    assert seen == [bytes(PACKETS[101].payload)]


# ---- pcap


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", FileFormatError),
        (pcap_header()[:10], TruncatedFileError),
        (bytes(24), FileFormatError),
    ],
    ids=["empty", "truncated", "no magic"],
)
def test_invalid_input(data, error):
    """Which upstream tells by io.EOF, io.ErrUnexpectedEOF and a text."""
    with pytest.raises(error):
        PcapSource(io.BytesIO(data)).next_packet()


def test_no_file():
    with pytest.raises(TypeError):
        PcapSource(None)


@pytest.mark.parametrize("snaplen", [0, 16 * 1024 * 1024 + 1, 2**32 - 1])
def test_any_snaplen_of_a_file(snaplen):
    """Upstream refuses these, ours reads them as libpcap does: it is no length of anything that is there."""
    with PcapSource(io.BytesIO(pcap_header(snaplen=snaplen) + pcap_record(bytes(60)))) as source:
        assert source.next_packet().total_len == 60


def test_reader(sample_of):
    """Packets to the end, each method says so there, and the counters tell."""
    sample = sample_of("mixed.pcap")
    with open_file(sample.path) as source:
        assert source.link == Link(source.link.name, 0, 1, named=False)
        for row in sample.rows:
            packet = source.next_packet()
            assert (bytes(packet.payload), packet.total_len) == (row.data, row.total_len)
        called = []
        for method in (
            source.next_packet,
            source.next_payload,
            source.next_ip_packet,
            lambda: source.next_packet_fn(lambda *given: called.append(given)),
        ):
            with pytest.raises(EOFError):
                method()
        assert called == []  # upstream calls it with nothing
        assert source.stats() == Stats(len(sample.rows), 0, 0)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_capture_methods_of_a_file(reader, sample_of):
    """Nanoseconds, tags, and link types that upstream refuses or panics at, included."""
    names = [name for name in SAMPLES if not name.startswith("bad/")]
    assert names
    for name in names:
        sample = sample_of(name)
        rows = list(zip(sample.rows, sample.ip_offsets, strict=True))
        if reader.ip_layer:
            rows = [(row, at) for row, at in rows if at != NO_IP and at < len(row.data)]
        with open_file(sample.path) as source:
            buf = source.new_packet() if reader.name == "NextPacketInPlace" else bytearray(300_000)
            for row, at in rows:
                data, pkt_type, total_len = reader.read(source, buf)
                assert bytes(data) == row.data[at if reader.ip_layer else 0 :], name
                assert pkt_type in PacketType
                assert total_len == row.total_len
                del data
            with pytest.raises((EOFError, StopIteration)):
                reader.read(source, buf)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_malformed_capture_length(reader):
    """A length of -1 is one of 4 GiB here. What is before it comes; then it is said where, each time."""
    good = pcap_record(bytes(PACKETS[101].payload))
    data = pcap_header(snaplen=64) + good + pcap_record(b"", cap_len=2**32 - 1, orig_len=64)
    with PcapSource(io.BytesIO(data)) as source:
        buf = source.new_packet() if reader.name == "NextPacketInPlace" else bytearray(100)
        reader.read(source, buf)
        for _ in range(2):
            with pytest.raises(FileFormatError, match=str(2**32 - 1)) as caught:
                reader.read(source, buf)
            assert caught.value.offset == 24 + len(good)
        assert source.stats() == Stats(1, 0, 0)


def test_capture_length_beyond_the_snaplen():
    """Upstream refuses it; such files exist, all bytes are there, and ours gives them, as wiretap does."""
    data = pcap_header(snaplen=64) + pcap_record(bytes(65))
    with PcapSource(io.BytesIO(data)) as source:
        assert source.next_packet().cap_len == 65


# ---- event


def test_multi_events(kind):
    """Signals that come before anybody reads are told once; the stop goes before, and stays."""
    mock = open_mock(kind)
    for _ in range(44):
        mock.unblock()
    with pytest.raises(CaptureUnblocked):
        mock.next_packet()
    with pytest.raises(TimeoutError):
        mock.next_packet(timeout=0)
    for _ in range(300):
        mock.unblock()
    mock.close()
    for _ in range(3):
        with pytest.raises(CaptureStopped):
            mock.next_packet()


def test_data_and_then_an_event(kind, background):
    """Packets wake the reader, each of them; then an unblock does."""
    with open_mock(kind, timeout=None) as mock:
        mock.run()
        got = []

        def read():
            while True:
                got.append(mock.next_packet().total_len)

        reading = background(read)
        for n in range(5):
            time.sleep(0.02)
            mock.add_packet(PACKETS[n])
        while len(got) < 5:
            time.sleep(0.001)
        mock.unblock()
        with pytest.raises(CaptureUnblocked):
            reading.result(within=2)
    assert got == [total_len_of(n) for n in range(5)]


def test_wait_on_what_is_closed(kind):
    """Upstream polls a closed descriptor, EBADF each time. Ours never does: a closed source says so."""
    mock = open_mock(kind)
    mock.unblock()
    mock.close()
    for _ in range(10):
        with pytest.raises(CaptureStopped):
            mock.next_payload(timeout=0)


# ---- filter


@pytest.mark.parametrize("snaplen", [4096, 65536])
def test_filter_of_a_link_type(snaplen):
    """Ethernet, which a loopback is here, too, and raw IP, as of tunnels, have one; others none."""
    ethernet, raw, unknown = (program_of(link_type, snaplen) for link_type in (1, 101, 147))
    assert unknown == accept(snaplen)
    assert len({ethernet, raw, unknown, program_of(1, snaplen, ignore_vlans=True)}) == 4
    for program in (ethernet, raw):
        assert {k for code, _, _, k in program if code == 0x06} == {0, snaplen}


def program_of(link_type, snaplen, *, ignore_vlans=False):
    return build_program(
        link_type, None, snaplen=snaplen, auto_filter=True, ignore_vlans=ignore_vlans, interface=None
    )


# ---- socket


def test_a_counter_is_cleared_by_reading_it(kind):
    with open_mock(kind) as mock:
        mock.drop(1)
        assert mock.stats() == Stats(1, 1, 0)
        assert mock.stats() == Stats(0, 0, 0)
        assert mock.total_stats == Stats(1, 1, 0)
    # Upstream has an error for it; ours has read them before it closed, and knows.
    assert mock.total_stats == Stats(1, 1, 0)


def test_no_count_is_lost_between_reading_and_clearing(kind, background):
    with open_mock(kind) as mock:
        count = 50_000
        counting = background(lambda: [mock.drop(1) for _ in range(count)])
        seen = 0
        end = time.monotonic() + 10
        while seen < count and time.monotonic() < end:
            seen += mock.stats().packets_dropped
        counting.result()
        assert seen == count


# ---- link


def test_link():
    assert Link("lo").ip_offset == 14
    assert Link("tun0", 1, 101).ip_offset == 0
    with pytest.raises(LinkNotFound):
        Link("no such")
