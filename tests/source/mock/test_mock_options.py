"""Options of mocks: snaplen, filter, direction, links."""

from __future__ import annotations

import pytest

from slimcap import CaptureStopped, FilterError, Link, RecordFlag, RingSource, SocketSource, Stats
from slimcap.filter import accept, minimal_ipv4_transport
from slimcap.mock import MockRingSource
from slimcap.source.live.rtnetlink import LinkDrops
from support.batches import batch_of
from support.mocks import hand_over, packet
from support.threads import Background
from support.traffic import arp, collect, ethernet, frames_of, payloads, tagged, udp, udp6


def test_a_new_mock_has_an_ethernet_link_of_its_name(kind, opened):
    mock = opened()
    assert isinstance(mock, RingSource if kind is MockRingSource else SocketSource)
    assert mock.link == Link("mock", 1, 1, 1)
    assert mock.link_drops == LinkDrops(0, 0, 0)
    assert mock.can_add_packets
    assert repr(mock) == f"<{kind.__name__} 'mock': ETHERNET>"
    assert opened("eth7").link.name == "eth7"
    mock.close()
    assert repr(mock) == f"<{kind.__name__} 'mock': ETHERNET, closed>"


def test_snaplen_truncates_packets(opened):
    mock = opened(snaplen=40)
    frames = [ethernet(udp(0, 500)), ethernet(udp(1, 0))[:40], ethernet(udp(2, 0))[:39]]
    assert mock.add_batch(batch_of(frames)) == 3
    hand_over(mock)
    got = collect(mock, 3)
    assert payloads(got) == [frame[:40] for frame in frames]
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    assert [one.flags for one in got] == [RecordFlag.TRUNCATED, 0, 0]


def test_snaplen_accepts_a_strategy(opened):
    mock = opened(snaplen=minimal_ipv4_transport)
    mock.add_packet(packet(ethernet(udp(0, 500))))
    hand_over(mock)
    assert collect(mock, 1)[0].cap_len == minimal_ipv4_transport(1)


def test_only_packets_that_the_filter_accepts_are_added(opened):
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


@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_direction_selects_packets_by_type(opened, direction):
    mock = opened(direction=direction)
    types = [kind for kind in range(5) if direction == "both" or (kind == 4) == (direction == "out")]
    assert mock.add_batch(batch_of(frames_of(5), pkt_type=range(5))) == len(types)
    hand_over(mock)
    assert [one.pkt_type for one in collect(mock, len(types))] == types


@pytest.mark.parametrize("with_type", [True, False])
def test_packets_of_a_raw_link_start_with_the_ip_header(opened, with_type):
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


# ---- invalid options


@pytest.mark.parametrize(
    "options", [{"filter": "no such"}, {"filter": [(0xFFFF, 0, 0, 0)]}, {"filter": [(0x20, 0, 0, 0)]}]
)
def test_an_invalid_filter_raises_filter_error(opened, options):
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
def test_invalid_options_raise_value_error(opened, options, message):
    with pytest.raises(ValueError, match=message):
        opened(**options)


def test_init_a_second_time_raises_type_error(opened):
    mock = opened()
    with pytest.raises(TypeError, match="opened once"):
        mock.__init__()
    mock.add_packet(packet(frames_of(1)[0]))


def test_filter_can_be_replaced(opened):
    mock = opened(filter="udp", extra_filter="not ip6")
    frames = [arp(), ethernet(udp(1)), ethernet(udp6(), 0x86DD), ethernet(udp(2, port=7))]
    assert mock.add_batch(batch_of(frames)) == 2
    mock.set_filter("udp port 7")
    assert mock.add_batch(batch_of(frames)) == 1
    mock.set_filter(None)
    assert mock.interfaces[0].filter == "not ip6"
    assert mock.add_batch(batch_of(frames)) == 2
    mock.set_filter("arp or vlan 7")
    assert mock.add_batch(batch_of([tagged(frames[1], 7), tagged(frames[1], 8), arp()])) == 2
    with pytest.raises(FilterError):
        mock.set_filter("no such thing")
    assert mock.add_batch(batch_of(frames)) == 1
    mock.done()
    with pytest.raises(CaptureStopped, match="was stopped"):
        mock.set_filter(None)
    assert len(collect(mock, 8)) == 8
    mock.close()
    with pytest.raises(CaptureStopped, match="closed"):
        mock.set_filter(None)


def test_filters_set_by_several_threads_leave_one_of_them(opened):
    mock = opened()
    filters = [[(6, 0, 0, length)] for length in range(60, 160)]
    running = [Background(lambda one=one: [mock.set_filter(one) for _ in range(20)]) for one in filters[:8]]
    for thread in running:
        thread.result()
    mock.set_filter(filters[-1])
    assert mock.add_packet(packet(ethernet(udp(0, 500))))
    hand_over(mock)
    assert collect(mock, 1)[0].cap_len == 159
