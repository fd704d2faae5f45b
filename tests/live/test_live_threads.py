"""Live sources used from several threads: pairs of calls, and counters that others ask for."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from slimcap import RingSource, SocketSource, Stats
from support import pairs
from support.netns import Namespace, Veth
from support.threads import Background, wait_until
from support.traffic import PAGE, frames_of


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ring", "socket"])
def test_no_pair_of_calls_hangs_or_fails(namespace: Namespace, kind: str) -> None:
    namespace.ip("link set dev lo up")
    with namespace.inside():
        last = pairs.run_child(kind, "0.002")
    assert int(last.split()[0]) > 200


@pytest.mark.slow
@pytest.mark.parametrize("callers", [1, 4])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(RingSource, {"block_size": PAGE, "num_blocks": 8, "block_timeout": 0.01}), (SocketSource, {})],
    ids=["ring", "socket"],
)
def test_counters_are_exact_while_others_ask_for_them(
    veth: Veth, kind: type[Any], options: dict[str, Any], callers: int
) -> None:
    """The ring is so small that packets are dropped."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            with veth.namespace.inside():
                source = kind("right", timeout=5, **options)
            _count_while_reading(veth, source, callers)
    finally:
        sys.setswitchinterval(before)


def _count_while_reading(veth: Veth, source: Any, callers: int) -> None:
    over = threading.Event()
    found: list[Stats] = []

    def count() -> None:
        while not over.is_set():
            found.append(source.stats())

    with source:
        threads = [Background(count) for _ in range(callers)]
        sending = Background(lambda: [veth.send(frames_of(50)) for _ in range(20)])
        reading = Background(lambda: sum(map(len, source.batches())))
        sending.result()
        wait_until(lambda: source.total_stats.packets_received == 1000)
        source.stop()
        read = reading.result()
        over.set()
        for thread in threads:
            thread.result()
        found.append(source.stats())
        total = source.total_stats
    assert total.packets_received == 1000 == read + total.packets_dropped
    assert Stats(*map(sum, zip(*found, strict=True))) == total == source.total_stats
