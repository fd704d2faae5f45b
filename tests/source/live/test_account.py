"""The arithmetic of `account()`."""

from __future__ import annotations

import pytest

import slimcap
from slimcap import Account
from slimcap.filter.presets import Direction
from slimcap.mock import MockRingSource, MockSocketSource, build_packet
from slimcap.source.live.account import account_of
from slimcap.source.live.rtnetlink import LinkCounters, LinkDrops

COUNTERS = LinkCounters(1000, 500, 20, LinkDrops(1, 2, 4))


@pytest.mark.parametrize(
    ("direction", "packets", "drops"), [("both", 1527, 7), ("in", 1007, 7), ("out", 520, 0)]
)
def test_each_direction_has_its_counters(direction: Direction, packets: int, drops: int) -> None:
    account = account_of(COUNTERS, direction, 300, 10, 250)
    assert account == Account(packets, drops, packets - drops - 300, 10, 250, 40)


def test_a_driver_that_counts_late_makes_filtered_negative() -> None:
    assert account_of(LinkCounters(0, 0, 0, LinkDrops(0, 0, 0)), "both", 5, 0, 5) == Account(
        0, 0, -5, 0, 5, 0
    )


@pytest.mark.parametrize("kind", [MockRingSource, MockSocketSource])
def test_a_mock_has_no_interface(
    kind: type[slimcap.mock.MockRingSource | slimcap.mock.MockSocketSource],
) -> None:
    with kind(filter="udp port 53") as source:
        for port in (53, 53, 80):
            source.add_packet(build_packet("192.0.2.1", "192.0.2.2", 1, port))
        source.next_packet(timeout=5) if kind is MockSocketSource else source.finalize_block()
        assert source.account() in ((None, None, None, 0, 1, 1), (None, None, None, 0, 0, 2))


def test_a_source_that_was_never_opened_has_no_packets() -> None:
    assert slimcap.RingSource.__new__(slimcap.RingSource).account() == Account(None, None, None, 0, 0, 0)
