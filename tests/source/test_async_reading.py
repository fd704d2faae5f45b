"""`anext_batch` and `async for batch in source.batches()`, in asyncio's event loop and in uvloop."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from make_samples import pcap_header
from slimcap import (
    Batch,
    CaptureStopped,
    CaptureUnblocked,
    PcapSource,
    Source,
    TruncatedFileError,
    open_files,
)
from support.files import Fifo, Growing
from support.mocks import KINDS, Mock, hand_over, packet
from support.numbered import numbered, numbers_of
from support.threads import Background
from support.traffic import ethernet, udp

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in each kind of event loop, for at most 20 s."""
    new_loop = None if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    def run_in_time(main: Coroutine[Any, Any, Any]) -> Any:
        async def in_time() -> Any:
            async with asyncio.timeout(20):
                return await main

        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(in_time())

    return run_in_time


@pytest.fixture(params=KINDS)
def mock(request: pytest.FixtureRequest) -> Mock:
    """A mock of each kind."""
    return KINDS[request.param]()


def add(mock: Mock, *numbers: int) -> None:
    for number in numbers:
        mock.add_packet(packet(ethernet(udp(number))))
    hand_over(mock)


def ids(batch: Batch) -> list[int]:
    """Return the numbers of the packets that `add` has made."""
    return [int(number) for number in batch.headers(["ip_id"])["ip_id"]]


async def take_all(batches: AsyncIterable[Batch], got: list[Batch]) -> None:
    async for batch in batches:
        got.append(batch)


async def waiting(source: Source, **options: Any) -> asyncio.Task[Any]:
    """Start a task that waits for a batch."""
    task = asyncio.create_task(source.anext_batch(**options))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def test_batches_come_in_order_while_other_tasks_run(run: Run, mock: Mock) -> None:
    async def main() -> list[int]:
        got: list[int] = []

        async def feed() -> None:
            for number in range(0, 50, 5):
                add(mock, *range(number, number + 5))
                await asyncio.sleep(0.001)
            mock.done()

        feeding = asyncio.create_task(feed())
        async for batch in mock.batches(2):
            assert len(batch) <= 2
            got += ids(batch)
        await feeding
        return got

    with mock:
        assert run(main()) == list(range(50))


def test_other_tasks_run_between_batches_that_are_available(
    run: Run, file_of: Callable[[bytes], Path]
) -> None:
    async def main(source: Source) -> tuple[int, int]:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        batches = [len(batch) async for batch in source.batches(1)]
        counting.cancel()
        return len(batches), turns

    with PcapSource(file_of(numbered(100))) as source:
        batches, turns = run(main(source))
    assert batches == 100
    assert turns >= 100


def test_cancelled_tasks_lose_no_packet(run: Run, mock: Mock) -> None:
    """Tasks are cancelled at any point, while packets come."""
    chance = random.Random(1)
    count = 2000

    async def main() -> list[int]:
        got: list[int] = []
        cancelled = 0

        async def read() -> None:
            while True:
                got.extend(ids(await mock.anext_batch()))

        async def feed() -> None:
            for number in range(0, count, 4):
                while not mock.can_add_packets:  # adding would block the loop
                    await asyncio.sleep(0)
                add(mock, *range(number, number + 4))
                await asyncio.sleep(chance.choice([0, 0, 0.0001]))
            mock.done()

        feeding = asyncio.create_task(feed())
        while True:
            reading = asyncio.create_task(read())
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(chance.choice([0, 0.0001]))
            cancelled += reading.cancel()
            try:
                await reading
            except asyncio.CancelledError:
                continue
            except EOFError:
                break
        await feeding
        assert cancelled > 20
        return got

    with mock:
        assert run(main()) == list(range(count))


def test_timeouts_lose_no_packet(run: Run, mock: Mock) -> None:
    async def main() -> list[int]:
        got: list[int] = []
        for number in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(mock.anext_batch(), 0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await mock.anext_batch()
            add(mock, number)
            got += ids(await asyncio.wait_for(mock.anext_batch(), 5))
        return got

    with mock:
        assert run(main()) == [0, 1, 2]


@pytest.mark.parametrize("timeout", [0, 0.05])
@pytest.mark.parametrize("is_default", [False, True])
def test_timeout_ends_a_wait(run: Run, timeout: float, is_default: bool) -> None:
    async def main() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await source.anext_batch(timeout=None if is_default else timeout)
        took = time.monotonic() - began
        with pytest.raises(TimeoutError):
            await anext(source.batches(timeout=timeout))
        add(source, 7)
        assert ids(await source.anext_batch(timeout=0)) == [7]
        return took

    with KINDS["ring"](timeout=timeout if is_default else None) as source:
        assert timeout * 0.9 <= run(main()) < timeout + 2  # uvloop rounds to milliseconds


def test_an_infinite_timeout_is_none(run: Run, mock: Mock) -> None:
    async def main() -> list[int]:
        task = await waiting(mock, timeout=float("inf"))
        add(mock, 1)
        return ids(await task)

    with mock:
        assert run(main()) == [1]


@pytest.mark.parametrize("options", [{"timeout": -1}, {"max_packets": 0}])
def test_bad_arguments_raise(mock: Mock, options: dict[str, Any]) -> None:
    with mock, pytest.raises(ValueError, match="must be at least"):
        mock.anext_batch(**options)


@pytest.mark.parametrize("from_thread", [False, True])
@pytest.mark.parametrize(
    ("call", "error"),
    [("close", CaptureStopped), ("unblock", CaptureUnblocked), ("stop", EOFError)],
)
def test_a_signal_ends_a_wait(
    run: Run, mock: Mock, call: str, error: type[Exception], from_thread: bool
) -> None:
    async def main() -> None:
        task = await waiting(mock)
        if from_thread:
            threading.Timer(0.01, getattr(mock, call)).start()
        else:
            getattr(mock, call)()
        with pytest.raises(error):
            await task

    with mock:
        run(main())


def test_loops_end_when_the_source_is_closed(run: Run, mock: Mock) -> None:
    async def main() -> int:
        count = 0
        add(mock, 1)
        async for batch in mock.batches():
            count += len(batch)
            asyncio.get_running_loop().call_later(0.01, mock.close)
        return count

    assert run(main()) == 1


def test_unblock_interrupts_a_loop_which_can_be_continued(run: Run, mock: Mock) -> None:
    async def main() -> list[int]:
        batches = mock.batches()
        asyncio.get_running_loop().call_later(0.01, batches.unblock)
        with pytest.raises(CaptureUnblocked):
            await take_all(batches, [])
        add(mock, 1)
        mock.done()
        return [number async for batch in batches for number in ids(batch)]

    with mock:
        assert run(main()) == [1]


def test_two_tasks_cannot_read_at_a_time(run: Run, mock: Mock) -> None:
    async def main() -> list[int]:
        task = await waiting(mock)
        with pytest.raises(RuntimeError, match="another task"):
            await mock.anext_batch()
        with pytest.raises(RuntimeError, match="another task"):
            await anext(mock.batches())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = await waiting(mock)
        add(mock, 5)
        return ids(await task)

    with mock:
        assert run(main()) == [5]


def test_a_task_cannot_read_while_a_thread_does(run: Run, mock: Mock, background: type[Background]) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="another thread"):
            await mock.anext_batch()

    with mock:
        reading = background(lambda: mock.next_batch(timeout=10))
        reading.wait_until_blocked()
        run(main())
        add(mock, 1)
        assert ids(reading.result()) == [1]


def test_a_source_may_be_read_in_one_loop_after_the_other(run: Run, mock: Mock) -> None:
    async def main(number: int) -> list[int]:
        task = await waiting(mock)
        add(mock, number)
        return ids(await task)

    with mock:
        assert [run(main(number)) for number in range(3)] == [[0], [1], [2]]
        add(mock, 3)
        assert ids(mock.next_batch(timeout=0)) == [3]


def test_a_fifo_is_awaited(run: Run, fifo: Fifo, fifo_source: PcapSource) -> None:
    async def main() -> list[int]:
        got: list[int] = []
        for number in range(3):
            task = await waiting(fifo_source)
            fifo.write(numbered(1, number))
            got += numbers_of([(await task).payload(0)])
        asyncio.get_running_loop().call_later(0.01, fifo.close)
        assert [batch async for batch in fifo_source.batches()] == []
        return got

    assert run(main()) == [0, 1, 2]


def test_a_followed_file_is_awaited(run: Run, tmp_path: Path) -> None:
    file = Growing(tmp_path / "some.pcap", pcap_header())

    async def main() -> list[int]:
        task = await waiting(source)
        file.write(numbered(1, 4))
        batch = await task
        asyncio.get_running_loop().call_later(0.01, source.stop)
        assert [batch async for batch in source.batches()] == []
        return numbers_of([batch.payload(0)])

    with PcapSource(file.path, follow=True) as source:
        assert run(main()) == [4]


@pytest.mark.parametrize("several", [False, True])
def test_compressed_files_are_read_to_their_end(run: Run, tmp_path: Path, several: bool) -> None:
    path = tmp_path / "some.pcap.gz"
    path.write_bytes(gzip.compress(pcap_header() + numbered(100) * 500, 1))

    async def main() -> int:
        return sum([len(batch) async for batch in source.batches()])

    with open_files([path, path]) if several else PcapSource(path) as source:
        assert run(main()) == 50_000 * (1 + several)


def test_packets_before_damage_come_before_the_error(run: Run, file_of: Callable[[bytes], Path]) -> None:
    async def main() -> int:
        got: list[Batch] = []
        with pytest.raises(TruncatedFileError):
            await take_all(source.batches(), got)
        return sum(len(batch) for batch in got)

    with PcapSource(file_of(numbered(5)[:-1])) as source:
        assert run(main()) == 4


def test_idle_sources_cost_nothing(run: Run) -> None:
    """A hundred sources wait. Each polling thread or timer would show."""

    async def main() -> float:
        tasks = [asyncio.create_task(source.anext_batch()) for source in sources]
        await asyncio.sleep(0.1)
        began = time.process_time()
        await asyncio.sleep(0.5)
        took = time.process_time() - began
        for number, source in enumerate(sources):
            add(source, number)
        assert [ids(batch) for batch in await asyncio.gather(*tasks)] == [[n] for n in range(len(sources))]
        return took

    sources = [KINDS["socket"](batch_size=16) for _ in range(100)]
    try:
        assert run(main()) < 0.05
    finally:
        for source in sources:
            source.close()


def test_trio_waits_for_the_descriptor(mock: Mock) -> None:
    trio = pytest.importorskip("trio")

    async def next_batch(source: Source) -> Any:
        while True:
            try:
                return source.next_batch(timeout=0)
            except TimeoutError:
                await trio.lowlevel.wait_readable(source)

    async def main() -> list[int]:
        got: list[int] = []

        async def read() -> None:
            for _ in range(3):
                got.extend(ids(await next_batch(mock)))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                for number in range(3):
                    await trio.sleep(0.01)
                    add(mock, number)
        return got

    with mock:
        assert trio.run(main) == [0, 1, 2]


GEVENT = """
import gevent.socket
from slimcap.mock import MockSocketSource, build_packet

def read(source):
    while True:
        try:
            return source.next_batch(timeout=0)
        except TimeoutError:
            gevent.socket.wait_read(source.fileno())

with MockSocketSource() as source:
    reading = gevent.spawn(read, source)
    gevent.sleep(0.01)
    source.add_packet(build_packet("192.0.2.1", "192.0.2.2", 1234, 53, payload=b"x"))
    print(len(reading.get(timeout=10)))
"""


def test_gevent_waits_for_the_descriptor() -> None:
    if importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent is not installed")
    done = subprocess.run([sys.executable, "-P", "-c", GEVENT], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_importing_slimcap_does_not_import_asyncio() -> None:
    code = "import sys, numpy; before = set(sys.modules); import slimcap; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=30)
    assert "'slimcap.source.base'" in done.stdout, done.stderr
    assert "asyncio" not in done.stdout
