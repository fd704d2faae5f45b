"""RingSource: blocks that are held and released, and what happens when there are none."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from slimcap import Batch, FilterError, RecordFlag, RingExhausted, RingSource, Stats
from support.netns import Veth
from support.traffic import (
    LEFT,
    PAGE,
    RIGHT,
    SMALL,
    assert_silent,
    collect,
    ethernet,
    frames_of,
    payloads,
    tagged,
    udp,
)

OpenRing: TypeAlias = Callable[..., RingSource]


@pytest.fixture
def opened(veth: Veth) -> Iterator[OpenRing]:
    """Opens a RingSource at the right end of the veth pair."""
    with contextlib.ExitStack() as stack:

        def open_ring(name: str = "right", **options: Any) -> RingSource:
            # Each block timeout uses up a block for a single packet, and this machine may be busy.
            options = {"block_size": 1 << 16, "num_blocks": 64} | options
            with veth.namespace.inside():
                return stack.enter_context(RingSource(name, **options))

        yield open_ring


# ---- packets in blocks


@pytest.mark.parametrize(
    "options", [{}, {"block_size": 1 << 20, "num_blocks": 16, "block_timeout": 0.01}], ids=str
)
def test_batches_hold_what_was_sent(veth: Veth, opened: OpenRing, options: dict[str, Any]) -> None:
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


def test_block_full_of_the_shortest_packets(veth: Veth, opened: OpenRing) -> None:
    """One byte of each packet, after the shortest header."""
    source = opened(snaplen=1, block_size=PAGE, num_blocks=8)
    veth.namespace.send("right", [tagged(ethernet(udp(i), src=RIGHT, dst=LEFT), 5) for i in range(200)])
    assert len(collect(source, 200, within=5)) == 200


def test_packets_larger_than_a_block_are_truncated(veth: Veth, opened: OpenRing) -> None:
    """They are flagged, and stay in order with the packets around them."""
    for end in ("left", "right"):
        veth.namespace.ip(f"link set {end} mtu 60000")
    source = opened(block_size=PAGE, num_blocks=64, block_timeout=0.001)
    frames = [ethernet(udp(i, 20_000 if i % 2 else 50)) for i in range(10)]
    veth.send(frames)
    got = collect(source, 10)
    assert [one.total_len for one in got] == [len(frame) for frame in frames]
    for one, frame in zip(got, frames, strict=True):
        assert one.data == frame[: one.cap_len]
        assert one.cap_len == len(frame) or (one.cap_len == PAGE - 130 and one.flags == RecordFlag.TRUNCATED)
    assert sum(one.flags == RecordFlag.TRUNCATED for one in got) == 5


@pytest.mark.parametrize("max_packets", [None, 1, 3, 1000])
def test_total_bytes_of_whole_and_partial_blocks(
    veth: Veth, opened: OpenRing, max_packets: int | None
) -> None:
    """The sum is known for a whole block, and calculated for a part of one."""
    source = opened(snaplen=40)
    frames = frames_of(50, 100)
    veth.send(frames)
    sizes: list[Batch] = []
    while sum(len(batch) for batch in sizes) < 50:
        sizes.append(source.next_batch(max_packets, timeout=10))
        assert sizes[-1].total_bytes == sizes[-1]["total_len"].sum()
        assert sizes[-1][::2].total_bytes == sizes[-1]["total_len"][::2].sum()
        assert sizes[-1].copy().total_bytes == sizes[-1].total_bytes
    assert sum(batch.total_bytes for batch in sizes) == sum(map(len, frames))


@pytest.mark.parametrize("ring", [(PAGE, 2), (PAGE * 3, 5), (1 << 20, 4), (PAGE, 300)], ids=str)
def test_rings_of_many_sizes(veth: Veth, opened: OpenRing, ring: tuple[int, int]) -> None:
    source = opened(block_size=ring[0], num_blocks=ring[1], block_timeout=0.001)
    for i in range(20):
        veth.send([ethernet(udp(i))])
        assert payloads(collect(source, 1)) == [ethernet(udp(i))]


@pytest.mark.parametrize("block_timeout", [0.0001, 0.001, 0.1])
def test_block_timeout_delivers_a_single_packet(veth: Veth, opened: OpenRing, block_timeout: float) -> None:
    source = opened(block_timeout=block_timeout)
    veth.send(frames_of(1))
    assert len(source.next_batch(timeout=block_timeout + 2)) == 1


# ---- blocks held and released


def test_ring_exhausted_while_all_blocks_are_held(veth: Veth, opened: OpenRing) -> None:
    source = opened(block_size=PAGE, num_blocks=4, block_timeout=0.001, ring_exhausted="raise")
    frames = frames_of(100, 500)
    held: list[Batch] = []
    sent = 0

    def read_and_hold() -> None:
        nonlocal sent
        while sent < len(frames):
            veth.send(frames[sent : sent + 5])
            sent += 5
            while sum(map(len, held)) < sent:
                held.append(source.next_batch(timeout=10))

    message = r"4 of 4 blocks are held by views.*\d s: delete the views.*batch\.copy"
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
    # In order, whether or not some were dropped because no block was free.
    assert got == [frame for frame in frames if frame in got]
    assert got[-5:] == frames[sent : sent + 5]
    assert len(got) == stats.packets_received - stats.packets_dropped


def test_ring_exhausted_by_one_view(veth: Veth, opened: OpenRing) -> None:
    source = opened(**SMALL, ring_exhausted="raise")
    veth.send(frames_of(1))
    view, _, _ = source.next_payload_zero_copy(timeout=10)
    veth.send(frames_of(1))
    assert len(collect(source, 1)) == 1
    with pytest.raises(RingExhausted, match="1 of 2 blocks are held by views"):
        source.next_packet(timeout=10)
    assert bytes(view) == frames_of(1)[0]
    del view
    veth.send([ethernet(udp(9))])
    assert payloads(collect(source, 1)) == [ethernet(udp(9))]


def test_blocks_released_out_of_order(veth: Veth, opened: OpenRing) -> None:
    source = opened(**SMALL | {"num_blocks": 3, "ring_exhausted": "raise"})
    held: list[Batch | None] = []
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


def test_waiting_reader_sleeps_while_the_last_batch_is_held(veth: Veth, opened: OpenRing) -> None:
    """poll(2) reports the socket as readable while the block before the kernel's is held."""
    source = opened()
    veth.send(frames_of(1))
    batch = source.next_batch(timeout=10)
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0.5)
    assert time.thread_time() - before < 0.2
    assert len(batch) == 1


def test_block_is_released_with_the_last_view(veth: Veth, opened: OpenRing) -> None:
    """The block is not held until the next read."""
    source = opened(block_size=PAGE, num_blocks=1, block_timeout=0.001)
    for i in range(3):
        veth.send([ethernet(udp(i))])
        batch = source.next_batch(timeout=3)
        assert bytes(batch.payload(0)) == ethernet(udp(i))
        del batch


def test_block_in_several_batches_is_released_with_the_last(veth: Veth, opened: OpenRing) -> None:
    source = opened(block_size=PAGE, num_blocks=2, block_timeout=0.05, ring_exhausted="raise")
    veth.send(frames_of(9))
    first = source.next_batch(2, timeout=10)
    second = source.next_batch(2, timeout=10)
    assert len(collect(source, 5)) == 5  # the rest of the block
    del first
    veth.send([ethernet(udp(9))])
    assert payloads(collect(source, 1)) == [ethernet(udp(9))]  # the other block
    with pytest.raises(RingExhausted, match="1 of 2"):
        source.next_batch(timeout=1)
    assert bytes(second.payload(0)) == frames_of(9)[2]
    del second
    veth.send([ethernet(udp(10))])
    assert payloads(collect(source, 1)) == [ethernet(udp(10))]


def test_ring_of_one_block_is_read_in_a_loop(veth: Veth, opened: OpenRing) -> None:
    """The loop still has a batch while it reads the next: packets are copied, so the block is free."""
    source = opened(block_size=PAGE, num_blocks=1, block_timeout=0.001)
    kept: list[Batch] = []
    for i in range(5):
        veth.send([ethernet(udp(i))])
        kept.append(source.next_batch(timeout=10))
    assert [bytes(batch.payload(0)) for batch in kept] == [ethernet(udp(i)) for i in range(5)]


def test_stop_with_a_block_held(veth: Veth, opened: OpenRing) -> None:
    source = opened(**SMALL)
    veth.send(frames_of(1))
    view = source.next_payload_zero_copy(timeout=10)[0]
    source.stop()
    assert list(source) == []
    assert bytes(view) == frames_of(1)[0]


def test_drops_are_counted_and_flagged(veth: Veth, opened: OpenRing) -> None:
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


# ---- options and memory


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
        ({"buffer": "1MiB", "block_size": PAGE}, ValueError, "buffer and block_size"),
        ({"ring_exhausted": "x"}, ValueError, "ring_exhausted"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"snaplen": 0}, FilterError, "snaplen"),
        ({"snaplen": -5}, FilterError, "snaplen"),
        ({"snaplen": 262145}, FilterError, "snaplen"),
        ({"snaplen": "x"}, TypeError, None),
        ({"link_down": "x"}, ValueError, "link_down"),
        ({"direction": "x"}, ValueError, "direction"),
        ({"no_such": 1}, TypeError, "no_such"),
    ],
    ids=str,
)
def test_invalid_options_leave_nothing_open(
    opened: OpenRing, options: dict[str, Any], error: type[Exception], message: str | None
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match=message):
        opened(**options)
    assert len(os.listdir("/proc/self/fd")) == before


def test_size_of_the_ring_is_0_after_close(opened: OpenRing) -> None:
    source = opened(block_size=PAGE * 3, num_blocks=5)
    assert (source.block_size, source.num_blocks) == (PAGE * 3, 5)
    source.close()
    assert (source.block_size, source.num_blocks) == (0, 0)


SHORT_OF_MEMORY = """
import resource, sys
import slimcap
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20),) * 2)
try:
    source = slimcap.RingSource("lo", block_size=1 << 20, num_blocks=51, smaller_ring=eval(sys.argv[1]))
    with source:
        print(source.num_blocks, source.block_size)
except OSError as error:
    print(error.errno, error)
"""


@pytest.mark.parametrize("smaller", [False, True])
def test_smaller_ring_when_memory_is_short(smaller: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, repr(smaller)], capture_output=True, text=True, timeout=60
    )
    if smaller:
        assert done.stdout == "13 1048576\n", done.stderr
    else:
        assert done.stdout.startswith(f"{errno.ENOMEM} "), done.stderr
        assert "51 blocks of 1048576 bytes" in done.stdout
        assert "smaller_ring=True" in done.stdout
