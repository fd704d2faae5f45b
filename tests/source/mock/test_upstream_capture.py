"""Reading, options and the ring of a mock, as in the packages capture, afpacket and afring.

These state the behaviours that the Go library slimcap states in its own tests. Where ours differs on
purpose, the test says how and why.
"""

from __future__ import annotations

import os

import pytest

from slimcap import Packet, RecordFlag, Stats
from slimcap.filter import (
    fixed,
    minimal_ipv4_header,
    minimal_ipv4_transport,
    minimal_ipv6_header,
    minimal_ipv6_transport,
)
from slimcap.mock import MockRingSource
from support.readers import ALL_READERS
from support.upstream import (
    COUNT,
    IP_OFFSET,
    SHOWN,
    ip_layer_text,
    open_mock,
    packets,
    pkt_type_of,
    shown,
    total_len_of,
)


@pytest.mark.parametrize("reader", ALL_READERS.values(), ids=ALL_READERS)
def test_every_reader_gives_10_000_packets_once_in_order(kind, reader, produce):
    checked = 0
    with open_mock(kind) as mock:
        adding = produce(mock)
        buf = reader.new_buffer(mock, SHOWN)
        for n, packet in enumerate(packets()):
            data, pkt_type, total_len = reader(mock, buf)
            wanted = packet.ip_layer if reader.ip_layer else packet.payload
            assert bytes(data) == bytes(wanted)[: SHOWN - IP_OFFSET if reader.ip_layer else SHOWN]
            # In upstream it has three meanings: the length of the frame, 16 bits of that, the IP header's.
            assert total_len == total_len_of(n)
            assert pkt_type == pkt_type_of(n)
            if (text := ip_layer_text(n)) is not None:
                layer = data if reader.ip_layer else Packet.from_payload(bytes(data)).ip_layer
                assert str(layer) == text
                checked += 1
            del data
        adding.result()
        assert mock.stats() == Stats(COUNT, 0, mock.total_stats.queue_freezes)
        with pytest.raises((EOFError, StopIteration)):
            reader(mock, buf)
    assert checked == 99 * 99


def test_batches_give_10_000_packets_once_in_order(kind, produce):
    """Upstream has no batches."""
    with open_mock(kind) as mock:
        adding = produce(mock)
        lengths, types = [], []
        for batch in mock.batches():
            lengths += batch["total_len"].tolist()
            types += batch["pkt_type"].tolist()
            del batch
        adding.result()
    assert lengths == [total_len_of(n) for n in range(COUNT)]
    assert types == [pkt_type_of(n) for n in range(COUNT)]


def test_next_packet_fn_is_given_the_offset_of_the_ip_layer(kind):
    """Upstream gives one offset for all packets of a link."""
    seen = []
    with open_mock(kind) as mock:
        mock.add_packet(packets()[101])
        mock.done()
        mock.next_packet_fn(lambda *arguments: seen.append((bytes(arguments[0]), *arguments[1:])))
    assert seen == [(shown(101), total_len_of(101), pkt_type_of(101), IP_OFFSET)]


@pytest.mark.parametrize("reader", [r for r in ALL_READERS.values() if r.in_place], ids=lambda r: r.name)
def test_a_short_buffer_truncates_the_packet(kind, reader):
    """Upstream returns the full capacity of the buffer, ours what was written to it."""
    with open_mock(kind) as mock:
        mock.add_packet(packets()[101])
        mock.done()
        buf = Packet.from_payload(bytes(20)) if reader.packet_buffer else bytearray(20)
        data, _, total_len = reader(mock, buf)
        whole = shown(101)[IP_OFFSET:] if reader.ip_layer else shown(101)
        assert bytes(data) == whole[: len(buf) if isinstance(buf, bytearray) else buf.capacity]
        assert isinstance(buf, Packet) or len(data) == 20
        assert total_len == total_len_of(101)


@pytest.mark.parametrize("reader", [r for r in ALL_READERS.values() if r.ip_layer], ids=lambda r: r.name)
def test_packets_without_an_ip_layer_are_skipped(kind, reader):
    """Upstream's NextIPPacket returns an error for them, after which the caller tries again."""
    with open_mock(kind, auto_filter=False) as mock:
        mock.add_packet(Packet.from_payload(bytes(60)))
        mock.add_packet(packets()[101])
        mock.done()
        data, _, _ = reader(mock, bytearray(60))
        assert str(data) == ip_layer_text(101)
        del data
        with pytest.raises(EOFError):
            reader(mock, bytearray(60))


# ---- options


@pytest.mark.parametrize(
    "strategy",
    [
        *map(fixed, (1, 10, 64, 128, 65536, 131072)),
        minimal_ipv4_header, minimal_ipv4_transport, minimal_ipv6_header, minimal_ipv6_transport,
    ],
)  # fmt: skip
def test_snaplen_strategies_limit_the_captured_length(kind, strategy):
    snaplen = strategy(1)
    with kind(snaplen=strategy, timeout=5) as mock:
        assert mock.new_packet().capacity >= snaplen
        mock.add_packet(packets()[101])
        mock.done()
        packet = mock.next_packet()
        assert packet.cap_len == min(snaplen, packets()[101].cap_len)
        assert packet.total_len == total_len_of(101)
        assert bool(packet.flags & RecordFlag.TRUNCATED)


@pytest.mark.parametrize("promiscuous", [True, False])
def test_promiscuous_is_accepted_by_mocks(kind, promiscuous):
    """A mock ignores it. There is no attribute as upstream's: the caller knows what it passed."""
    with kind(promiscuous=promiscuous) as mock:
        assert mock.can_add_packets


@pytest.mark.parametrize("block_size", [4096 * 100, 1 << 20, 2 << 20])
@pytest.mark.parametrize("num_blocks", [1, 2, 4, 64])
def test_block_size_and_num_blocks_are_used_as_given(block_size, num_blocks):
    with MockRingSource(block_size=block_size, num_blocks=num_blocks) as mock:
        assert (mock.block_size, mock.num_blocks) == (block_size, num_blocks)


def test_block_size_must_be_a_multiple_of_the_page_size():
    """Upstream checks a frame size as well, which TPACKET_V3 does not use."""
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


# ---- the ring


def test_can_add_packets_until_the_buffer_is_full(kind):
    options = {"block_size": 1 << 16, "num_blocks": 5} if kind is MockRingSource else {"buffer_size": 1 << 18}
    with open_mock(kind, **options) as mock:
        added = 0
        while mock.can_add_packets:
            assert mock.add_packet(packets()[added], timeout=0)
            added += 1
        mock.done()
        assert len(list(mock)) == added > 100


def test_force_block_release_frees_all_blocks_but_those_held_by_views(kind):
    """Upstream's returns every block to the kernel. Ours leaves a view's block alone."""
    if kind is not MockRingSource:
        assert not hasattr(kind, "force_block_release")
        return
    with open_mock(kind, block_size=os.sysconf("SC_PAGESIZE"), num_blocks=2) as mock:
        mock.add_packet(packets()[101])
        mock.finalize_block()
        payload, _, _ = mock.next_payload_zero_copy()
        mock.add_packet(packets()[102])
        mock.finalize_block()
        assert not mock.can_add_packets
        mock.force_block_release()
        mock.add_packet(packets()[103], timeout=0)
        mock.finalize_block()
        assert bytes(payload) == shown(101)
        assert bytes(mock.next_packet().payload) == shown(103)


def test_without_drain_each_round_gives_the_same_packets(kind):
    """The counters count each packet once, as everywhere."""
    with open_mock(kind) as mock:
        for packet in packets()[:500]:
            mock.add_packet(packet)
        mock.run(drain=False)
        for _ in range(20):
            assert [mock.next_packet().total_len for _ in range(500)] == list(range(100, 600))
        assert mock.total_stats == Stats(500, 0, 0)
