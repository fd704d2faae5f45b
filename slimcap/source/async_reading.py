"""Reading in asyncio: a task waits for a source's descriptor, and reads only what is available.

    next_batch(timeout=0) ──► a batch: return it
             ▲         └────► TimeoutError ──► wait for fileno(), by loop.add_reader ──┐
             └─────────────────────────────────────────────────────────────────────────┘

A batch is read and returned without an await between. So a task is cancelled before it has read, or not at
all, and no packet is lost.
"""

from __future__ import annotations

import asyncio
from _thread import LockType
from collections.abc import Awaitable

from slimcap.errors import CaptureStopped
from slimcap.packet.batch import Batch
from slimcap.source.base import Source


async def next_batch(source: Source, turn: LockType, max_packets: int | None, timeout: float | None) -> Batch:
    """Return the next batch of a source; other tasks run meanwhile.

    Parameters
    ----------
    source : Source
        The source, which may be closed by anyone.
    turn : lock
        Lock of the source that the task holds while it reads.
    max_packets : int or None
        As for `Source.next_batch`.
    timeout : float or None
        Maximum time to wait in seconds; None: no maximum.

    Returns
    -------
    Batch

    Raises
    ------
    EOFError, CaptureStopped, CaptureUnblocked, TimeoutError, RuntimeError
        See `Source.anext_batch`.
    """
    if not turn.acquire(blocking=False):
        raise RuntimeError("another task is reading from this source: one reader at a time")
    try:
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        await asyncio.sleep(0)  # before the read: a task that is cancelled here has nothing to lose
        while True:
            try:
                return source.next_batch(max_packets, 0)
            except TimeoutError as error:
                is_ours = error.errno is None  # else an error of the system, such as ETIMEDOUT
                if not is_ours or (deadline is not None and loop.time() >= deadline):
                    raise
            await _wait_until_readable(loop, source.fileno(), deadline)
    finally:
        turn.release()


async def _wait_until_readable(loop: asyncio.AbstractEventLoop, fd: int, deadline: float | None) -> None:
    """Wait until a descriptor is readable, or until `deadline` in the time of the loop."""
    waiter: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _wake, waiter)
    timer = None if deadline is None else loop.call_at(deadline, _wake, waiter)
    try:
        await waiter
    finally:
        loop.remove_reader(fd)
        if timer is not None:
            timer.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def next_or_stop(batch: Awaitable[Batch]) -> Batch:
    """Await a batch for `async for`, which ends at the end of the capture and when the source is closed.

    Parameters
    ----------
    batch : awaitable of Batch
        What `Source.anext_batch` has returned.

    Returns
    -------
    Batch

    Raises
    ------
    StopAsyncIteration
        The capture has ended, or the source is closed.
    """
    try:
        return await batch
    except (EOFError, CaptureStopped):
        raise StopAsyncIteration from None
