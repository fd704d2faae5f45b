"""Counters while several threads ask for them: exact at any time."""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slimcap import Source, Stats, open_files
from slimcap.mock import MockRingSource
from support.batches import batch_of
from support.builders.pcapng import Ng
from support.mocks import KINDS, Mock
from support.threads import Background
from support.traffic import ethernet, frames_of, udp

CALLERS = [1, 2, 3, 4]
PARTS = 12
PART = 50
NG = Ng()


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    """Switch between threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Callers:
    """Threads that ask for counters until the end of the block; the first error is raised there."""

    def __init__(self, call: Callable[[], Any], count: int) -> None:
        self._over = threading.Event()
        self._call = call
        self._threads = [Background(self._run) for _ in range(count)]

    def _run(self) -> list[Any]:
        found = []
        while not self._over.is_set():
            found.append(self._call())
        return found

    def results(self) -> list[list[Any]]:
        """End the threads; return the results of each."""
        self._over.set()
        return [thread.result() for thread in self._threads]


def total(stats: list[Stats]) -> Stats:
    return Stats(*map(sum, zip(*stats, strict=True)))


def both_counts(source: Source) -> tuple[Stats, Stats]:
    return source.total_stats, source.stats()


def counts_and_progress(source: Any) -> tuple[Stats, tuple[int, int | None]]:
    return source.total_stats, source.progress


def start_producer(mock: Mock) -> Background:
    """Add packets and drops in a thread, then end the capture."""
    batch = batch_of(frames_of(PART))

    def add() -> None:
        for _ in range(PARTS):
            mock.add_batch(batch, timeout=10)
            mock.drop(3)
        mock.done()

    mock.run()
    return Background(add)


def add_packets(mock: Mock) -> Background:
    """Do the same with single packets, some of which are dropped."""
    packets = [packet for _ in range(PARTS) for packet in batch_of(frames_of(PART))]

    def add() -> None:
        for packet in packets:
            mock.add_packet(packet, timeout=10)
        mock.done()

    mock.run()
    return Background(add)


@pytest.mark.slow
@pytest.mark.parametrize("callers", CALLERS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_stats_of_all_threads_add_up(kind: type[Mock], callers: int) -> None:
    for turn in range(8):
        with kind(timeout=5, when_full="drop") as mock:
            threads = Callers(mock.stats, callers)
            producer = (start_producer, add_packets)[turn % 2](mock)
            read = sum(map(len, mock.batches()))
            producer.result()
            found = [stats for results in threads.results() for stats in results]
            assert all(min(stats) >= 0 for stats in found)
            found.append(mock.stats())
            assert total(found) == mock.total_stats
            assert mock.total_stats.packets_received == read + mock.total_stats.packets_dropped


@pytest.mark.slow
@pytest.mark.parametrize("callers", CALLERS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_stop_returns_every_packet_while_others_count(kind: type[Mock], callers: int) -> None:
    """At the end, the number of packets is compared with the counters, which others reset meanwhile."""
    for _ in range(5):
        with kind(timeout=5) as mock:
            threads = Callers(functools.partial(both_counts, mock), callers)
            producer = start_producer(mock)
            read = sum(map(len, mock.batches(7)))  # other threads run between small batches
            producer.result()
            threads.results()
            assert read == PARTS * PART
            assert mock.total_stats == (PARTS * (PART + 3), PARTS * 3, mock.total_stats.queue_freezes)


def test_total_stats_never_decrease(opened_ring: MockRingSource) -> None:
    threads = Callers(lambda: opened_ring.total_stats, 2)
    producer = start_producer(opened_ring)
    read = sum(map(len, opened_ring.batches()))
    producer.result()
    for results in threads.results():
        for now, later in itertools.pairwise(results):
            assert all(n <= m for n, m in zip(now, later, strict=True))
    assert opened_ring.total_stats.packets_received == read + 3 * PARTS


@pytest.fixture
def opened_ring() -> Iterator[MockRingSource]:
    with MockRingSource(timeout=5) as mock:
        yield mock


# ---- several files

FILES = 30


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of two interfaces that overlap in time; the statistics of each count 4 received and 2 dropped."""
    folder = tmp_path_factory.mktemp("counted")
    paths = []
    for number in range(FILES):
        packets = b"".join(
            NG.packet(ethernet(udp(n), 0x0800 if n % 2 else 0x0806), 1000 * number + 300 * n, n % 2)
            for n in range(40)
        )
        statistics = b"".join(NG.statistics(n, [NG.count(4, 4), NG.count(5, 2)]) for n in range(2))
        path = folder / f"{number:02}.pcapng"
        path.write_bytes(
            NG.section() + NG.interface(name="a") + NG.interface(name="b") + packets + statistics
        )
        paths.append(path)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"filter": "ip"}], ids=["all", "filtered"])
@pytest.mark.parametrize("callers", CALLERS)
def test_counters_of_files_are_exact_while_they_are_read(
    counted: list[Path], options: dict[str, Any], callers: int
) -> None:
    for _ in range(3):
        with open_files(counted, block_size=500, **options) as source:
            threads = Callers(source.stats, callers)
            interfaces = Callers(functools.partial(getattr, source, "interfaces"), 1)
            totals = Callers(functools.partial(counts_and_progress, source), 1)
            for _packet in source:
                pass
            found = [stats for results in threads.results() for stats in results]
            for infos in interfaces.results()[0]:
                received = [info.received for info in infos if info.received is not None]
                assert all(number % 4 == 0 and number <= 4 * FILES for number in received)
            before: tuple[Any, ...] = ((0, 0, 0), (0, None))
            for now in totals.results()[0]:
                assert now[0][0] >= before[0][0]
                assert now[0][1] >= before[0][1]
                assert now[1][0] >= before[1][0]
                before = now
            found.append(source.stats())
            assert total(found) == source.total_stats == Stats(40 * FILES, 4 * FILES, 0)
            assert [info.received for info in source.interfaces] == [4 * FILES] * 2
            assert source.progress[0] == sum(path.stat().st_size for path in counted)


def test_counters_of_files_are_kept_when_they_are_closed_before_their_end(counted: list[Path]) -> None:
    with open_files(counted, block_size=500, filter="ip") as source:
        for _ in range(200):
            source.next_packet()
        before = source.total_stats, source.interfaces, source.progress, source.unfilterable
    assert before[0].packets_received > 200
    assert (source.total_stats, source.interfaces, source.progress, source.unfilterable) == before
