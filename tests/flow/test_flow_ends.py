"""When flow records end: timeouts, closed connections, windows, a full table, time that is set back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slimcap import FlowBatch, FlowTable, Packet
from slimcap.flow import FlowEnd
from slimcap.mock import build_packet
from support.flow_traffic import (
    ACK,
    FIN,
    RST,
    START,
    SYN,
    SYN_ACK,
    batch_at,
    tcp_packet,
    udp_packet,
)


def flows_of(*packets: Packet, **options: Any) -> FlowBatch:
    """Return all records of packets."""
    table = FlowTable(**options)
    return FlowBatch.concat([table.update(batch_at(*packets)), table.flush()])


def summary(flows: FlowBatch) -> list[tuple[str, int]]:
    """Return reason and number of packets of each record."""
    packets = (flows["src_packets"] + flows["dst_packets"]).tolist()
    return [(FlowEnd(end).name, count) for end, count in zip(flows["end_reason"], packets, strict=True)]


def test_a_flow_without_packets_for_longer_than_the_idle_timeout_ends() -> None:
    assert summary(flows_of(udp_packet(0), udp_packet(15), udp_packet(30.000_000_001))) == [
        ("IDLE", 2),
        ("FORCED", 1),
    ]


def test_an_idle_flow_is_returned_when_any_later_packet_comes() -> None:
    table = FlowTable(idle_timeout=1)
    assert len(table.update(batch_at(udp_packet(0)))) == 0
    assert len(table.update(batch_at(udp_packet(1, 5)))) == 0
    assert summary(table.update(batch_at(udp_packet(1.1, 5)))) == [("IDLE", 1)]
    assert len(table) == 1


def test_expire_ends_idle_flows_without_a_packet() -> None:
    table = FlowTable()
    table.update(batch_at(udp_packet(0)))
    assert len(table.expire(START + 15_000_000_000)) == 0
    assert summary(table.expire(START + 15_000_000_001)) == [("IDLE", 1)]
    assert table.clock == START + 15_000_000_001


def test_expire_takes_the_current_time_by_default_and_does_not_set_time_back() -> None:
    table = FlowTable()
    assert table.clock is None
    assert len(table.expire(START)) == 0
    assert table.clock is None
    table.update(batch_at(udp_packet(0)))
    assert len(table.expire(START - 10**15)) == 0
    assert table.clock == START
    assert summary(table.expire()) == [("IDLE", 1)]


def test_a_record_that_lasts_the_active_timeout_is_followed_by_another() -> None:
    packets = [udp_packet(second) for second in range(0, 31, 5)]
    flows = flows_of(*packets, active_timeout=10)
    assert summary(flows) == [("ACTIVE", 2), ("ACTIVE", 2), ("ACTIVE", 2), ("FORCED", 1)]
    assert len(set(flows["flow_id"].tolist())) == 1
    assert flows["part"].tolist() == [0, 1, 2, 3]
    assert ((flows["first"] - START) // 10**9).tolist() == [0, 10, 20, 30]


def test_windows_start_at_multiples_of_their_length_and_cut_all_flows() -> None:
    offset = -(START // 10**9) % 300  # seconds from START to the next border
    table = FlowTable(window=300, idle_timeout=1000, active_timeout=1000)
    first = batch_at(udp_packet(offset - 2), udp_packet(offset - 1, 5), udp_packet(offset - 0.000_000_001))
    assert len(table.update(first)) == 0
    border = table.update(batch_at(udp_packet(offset)))
    assert summary(border) == [("WINDOW", 1), ("WINDOW", 2)]
    assert border["src_port"].tolist() == [5, 40000]
    rest = table.flush()
    assert summary(rest) == [("FORCED", 1)]
    assert rest["flow_id"][0] == border["flow_id"][1]


def test_a_flow_without_packets_after_a_window_has_no_more_records() -> None:
    table = FlowTable(window=1)
    table.update(batch_at(udp_packet(0.5)))
    assert summary(table.expire(START + 10**9)) == [("WINDOW", 1)]
    assert len(table) == 1
    assert len(table.expire(START + 100 * 10**9)) == 0
    assert len(table) == 0


def test_a_flow_that_was_idle_before_the_end_of_the_window_is_idle() -> None:
    offset = -(START // 10**9) % 60
    table = FlowTable(window=60, idle_timeout=10)
    table.update(batch_at(udp_packet(offset - 10.5), udp_packet(offset - 9.5, 5)))
    assert summary(table.update(batch_at(udp_packet(offset + 20, 6)))) == [("IDLE", 1), ("WINDOW", 1)]


CLOSING = [
    *(tcp_packet(0, SYN), tcp_packet(0.1, SYN_ACK, back=True), tcp_packet(0.2, ACK)),
    *(tcp_packet(0.3, FIN), tcp_packet(0.4, FIN, back=True)),
]


def test_a_connection_ends_after_both_sides_sent_a_fin_and_the_last_ack_belongs_to_it() -> None:
    assert summary(flows_of(*CLOSING, tcp_packet(0.5, ACK), udp_packet(2.500_000_001))) == [
        ("END_OF_FLOW", 6),
        ("FORCED", 1),
    ]


def test_a_connection_with_one_fin_is_not_closed() -> None:
    assert summary(flows_of(*CLOSING[:4], udp_packet(10))) == [("FORCED", 4), ("FORCED", 1)]


def test_a_reset_closes_a_connection() -> None:
    packets = [*CLOSING[:3], tcp_packet(0.3, RST, back=True), tcp_packet(0.4, ACK), udp_packet(10)]
    assert summary(flows_of(*packets)) == [("END_OF_FLOW", 5), ("FORCED", 1)]


def test_a_packet_more_than_two_seconds_after_the_end_starts_another_flow() -> None:
    flows = flows_of(*CLOSING, tcp_packet(2.5, ACK))
    assert summary(flows) == [("END_OF_FLOW", 5), ("FORCED", 1)]
    assert len(set(flows["flow_id"].tolist())) == 2


@pytest.mark.parametrize("back", [False, True])
def test_a_syn_after_a_fin_or_reset_starts_another_flow_at_once(back: bool) -> None:
    for packets in (CLOSING, CLOSING[:4], [*CLOSING[:2], tcp_packet(0.2, RST)]):
        flows = flows_of(*packets, tcp_packet(0.6, SYN, back=back))
        assert summary(flows) == [("END_OF_FLOW", len(packets)), ("FORCED", 1)]
        assert flows["src_port"].tolist() == [40000, 80 if back else 40000]


def test_a_syn_that_is_sent_again_belongs_to_the_flow() -> None:
    packets = [tcp_packet(0, SYN), tcp_packet(1, SYN), tcp_packet(3, SYN)]
    assert summary(flows_of(*packets)) == [("FORCED", 3)]


def test_a_full_table_ends_the_flow_that_had_no_packet_for_the_longest_time() -> None:
    table = FlowTable(max_flows=2)
    table.update(batch_at(udp_packet(0, 1), udp_packet(1, 2), udp_packet(2, 1)))
    ended = table.update(batch_at(udp_packet(3, 3)))
    assert summary(ended) == [("LACK_OF_RESOURCES", 1)]
    assert ended["src_port"].tolist() == [2]
    assert len(table) == 2


def test_a_full_table_ends_closed_connections_first() -> None:
    table = FlowTable(max_flows=2)
    table.update(batch_at(udp_packet(0), *CLOSING))
    assert summary(table.update(batch_at(udp_packet(0.5, 3)))) == [("END_OF_FLOW", 5)]


def test_packets_out_of_order_count_as_if_they_came_at_the_latest_time() -> None:
    table = FlowTable()
    table.update(batch_at(udp_packet(10), udp_packet(4), udp_packet(8), udp_packet(0, 5)))
    assert table.clock == START + 10 * 10**9
    assert len(table.update(batch_at(udp_packet(25, 6)))) == 0  # the flow of port 5 was seen at 10
    flows = table.flush()
    times = list(zip(flows["first"].tolist(), flows["last"].tolist(), strict=True))
    assert times[:2] == [(START + 4 * 10**9, START + 10 * 10**9), (START, START)]


def test_time_that_is_set_back_by_hours_ends_all_flows() -> None:
    packets = [udp_packet(0), udp_packet(1, 5), udp_packet(-7200), udp_packet(-7185)]
    flows = flows_of(*packets)
    assert summary(flows) == [("FORCED", 1), ("FORCED", 1), ("FORCED", 2)]


def test_time_that_is_set_back_by_the_active_timeout_is_out_of_order() -> None:
    assert summary(flows_of(udp_packet(0), udp_packet(-300))) == [("FORCED", 2)]
    assert summary(flows_of(udp_packet(0), udp_packet(-300.000_000_001))) == [("FORCED", 1)] * 2


@pytest.mark.parametrize("window", [None, 1e-9, 300, 1e9])
def test_times_at_the_limits_of_64_bits_are_exact(window: float | None) -> None:
    limits = np.iinfo(np.int64)
    times = [limits.min, limits.max - 1, limits.max, limits.min]
    batch = batch_at(*(build_packet("::1", "::2", timestamp=time) for time in times))
    table = FlowTable(window=window)
    flows = FlowBatch.concat([table.update(batch), table.flush()])
    found = (flows["first"].tolist(), flows["last"].tolist())
    if window == 1e-9:
        assert found == (times, times)
    else:
        assert found == ([times[0], times[1], times[3]], [times[0], times[2], times[3]])
    assert int(flows["src_packets"].sum()) == 4


def test_after_a_flush_packets_of_any_time_may_follow() -> None:
    table = FlowTable()
    table.update(batch_at(udp_packet(0)))
    assert len(table.flush()) == 1
    assert (table.clock, len(table), len(table.flush())) == (None, 0, 0)
    table.update(batch_at(udp_packet(-(10**6))))
    assert summary(table.flush()) == [("FORCED", 1)]
