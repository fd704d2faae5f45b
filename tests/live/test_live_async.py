"""Live sources in event loops: the descriptor to wait for, and reading in asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import time
from collections.abc import Iterable

import pytest

from slimcap import Batch, LinkDown, LinkGone, RingSource, SocketSource, Source
from support.netns import Veth
from support.traffic import LiveSource, OpenSource, ethernet, udp


def is_readable(source: Source, timeout: float = 0) -> bool:
    return bool(select.select([source], [], [], timeout)[0])


def ids(batches: Iterable[Batch]) -> list[int]:
    """Return the numbers of packets that `udp` has made."""
    return [int(number) for batch in batches for number in batch.headers(["ip_id"])["ip_id"]]


def poll_once(source: Source, got: list[Batch]) -> None:
    """Wait for the descriptor, and read what is available."""
    assert is_readable(source, 5)
    with contextlib.suppress(TimeoutError):
        got.append(source.next_batch(timeout=0))


def polls_until(error: type[Exception], source: Source, got: list[Batch]) -> int:
    """Poll until a read raises an exception; return how often the descriptor was readable."""
    tries, end = 0, time.monotonic() + 10
    while time.monotonic() < end:
        tries += 1
        try:
            poll_once(source, got)
        except error:
            return tries
    raise AssertionError(f"{error} was not raised in 10 s")


def numbered(start: int, count: int) -> list[bytes]:
    return [ethernet(udp(number)) for number in range(start, start + count)]


def test_descriptor_is_readable_exactly_if_packets_are_available(veth: Veth, opened: OpenSource) -> None:
    """The kernel polls a ring as readable as long as the block that was read last is lent."""
    source = opened()
    assert not is_readable(source, 0.05)
    held: list[Batch] = []
    for start in range(0, 30, 10):
        veth.send(numbered(start, 10))
        while sum(len(batch) for batch in held) < start + 10:
            assert is_readable(source, 5)
            held.append(source.next_batch(4, timeout=0))
        assert not is_readable(source, 0.05)
        with pytest.raises(TimeoutError):
            source.next_batch(timeout=0)
        assert not is_readable(source)
    assert ids(held) == list(range(30))


def test_descriptor_is_readable_as_long_as_blocks_are_full(veth: Veth) -> None:
    """Several blocks are reported once, and each is read by a call of its own."""
    with veth.namespace.inside():
        source = RingSource("right", block_size=1 << 16, num_blocks=8, block_timeout=0.001)
    with source:
        assert not is_readable(source)
        for number in range(4):
            veth.send(numbered(number, 1))
            time.sleep(0.02)
        got: list[Batch] = []
        while is_readable(source):
            got.append(source.next_batch(timeout=0))
        assert ids(got) == [0, 1, 2, 3]


def test_stop_makes_the_descriptor_readable_to_the_end(veth: Veth) -> None:
    """A ring has an open block then, which the kernel hands over later."""
    with veth.namespace.inside():
        source = RingSource("right", block_timeout=0.1)
    with source:
        assert not is_readable(source)
        veth.send(numbered(0, 5))
        source.stop()
        got: list[Batch] = []
        assert polls_until(EOFError, source, got) < 10, "it was readable all the time"
        assert ids(got) == [0, 1, 2, 3, 4]


def test_descriptor_reports_a_link_that_goes_down_and_is_removed(veth: Veth, opened: OpenSource) -> None:
    source = opened()
    assert not is_readable(source)
    veth.namespace.ip("link set dev right down")
    assert is_readable(source, 5)
    with pytest.raises(TimeoutError):
        source.next_batch(timeout=0)
    veth.namespace.ip("link delete dev right")
    assert polls_until(LinkGone, source, []) < 50, "it was readable all the time"


def test_link_down_is_raised_in_a_task(veth: Veth, opened: OpenSource) -> None:
    async def main() -> None:
        task = asyncio.create_task(source.anext_batch(timeout=10))
        await asyncio.sleep(0.02)
        await asyncio.to_thread(veth.namespace.ip, "link set dev right down")
        with pytest.raises(LinkDown):
            await task

    source = opened(link_down="raise")
    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_cancelled_tasks_lose_no_packet(
    veth: Veth, opened: OpenSource, kind: type[LiveSource], loop: str
) -> None:
    """Packets come at full speed from another thread, while tasks are cancelled at any point."""
    new_loop = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    count, chance = 20_000, random.Random(2)
    source = opened(**({"buffer_size": 1 << 25} if kind is SocketSource else {}))
    got: list[int] = []

    async def read() -> None:
        async for batch in source.batches(chance.randrange(1, 300)):
            got.extend(ids([batch]))
            del batch

    def send_then_stop() -> None:
        for start in range(0, count, 500):
            veth.send(numbered(start, 500))
        source.stop()

    async def main() -> int:
        cancelled = 0
        sending = asyncio.create_task(asyncio.to_thread(send_then_stop))
        while True:
            task = asyncio.create_task(read())
            await asyncio.sleep(chance.choice([0, 0, 0.0002, 0.002]))
            cancelled += task.cancel()
            try:
                await task
                break
            except asyncio.CancelledError:
                continue
        await sending
        return cancelled

    with asyncio.Runner(loop_factory=new_loop) as runner:
        cancelled = runner.run(asyncio.wait_for(main(), 30))
    assert cancelled > 20
    assert source.total_stats.packets_dropped == 0
    assert got == [number & 0xFFFF for number in range(count)]
