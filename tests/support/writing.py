"""File objects to write to that are slow or fail, and captures of a writer in memory."""

from __future__ import annotations

import errno
import io
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from slimcap import Batch, Link, PcapNgWriter, PcapWriter
from support.batches import batch_of

SECOND = 10**9
TIME_END = SECOND << 32  # the first time that has no place in a pcap file
BUFFER = 1 << 20  # capacity of a writer's buffer
PCAP_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)


def record_of(timestamp: int, data: bytes, total_len: int | None = None) -> bytes:
    """Return a packet's record as `PcapWriter` writes it."""
    total_len = len(data) if total_len is None else total_len
    return struct.pack("=IIII", timestamp // SECOND, timestamp % SECOND, len(data), total_len) + data


def written(writer_type: type[PcapWriter | PcapNgWriter], *batches: Batch, **options: Any) -> bytes:
    """Write these batches to memory; check the writer's counters."""
    file = io.BytesIO()
    with writer_type(file, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    assert writer.packets_written == sum(map(len, batches))
    if options.get("compression") is None:
        assert writer.bytes_written == len(file.getvalue())
    assert writer.bytes_written % 4 == 0 or writer_type is PcapWriter
    return file.getvalue()


class Recorder:
    """A file object that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: Any) -> int:
        self.writes.append(bytes(data))
        return len(data)


class ShortWrites:
    """A file object that accepts 1, 2, … up to `longest` bytes a write, in turn.

    Once `limit` bytes are written, `fail` is called, and its result returned.
    """

    def __init__(
        self, longest: int = 7, limit: int | None = None, fail: Callable[[], Any] = lambda: None
    ) -> None:
        self.content = bytearray()
        self.longest, self.limit, self.fail = longest, limit, fail
        self.calls = self.flushed = 0

    def write(self, data: Any) -> Any:
        if self.limit is not None and len(self.content) >= self.limit:
            return self.fail()
        self.calls += 1
        part = bytes(data[: (self.calls - 1) % self.longest + 1])
        if self.limit is not None:
            part = part[: self.limit - len(self.content)]
        self.content += part
        return len(part)

    def flush(self) -> None:
        self.flushed += 1


def no_space() -> Any:
    raise OSError(errno.ENOSPC, "full")


def open_descriptors() -> int:
    """Return how many file descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


SMALL = [b"abc", b"", bytes(range(60))]
SMALL_TIMES = [0, 5 * SECOND + 7, TIME_END - 1]
SMALL_FILE = (
    PCAP_HEADER
    + record_of(SMALL_TIMES[0], SMALL[0])
    + record_of(SMALL_TIMES[1], SMALL[1])
    + record_of(SMALL_TIMES[2], SMALL[2], 1500)
)


def small_batch() -> Batch:
    """Return the batch that `SMALL_FILE` has the packets of."""
    return batch_of(SMALL, timestamp=SMALL_TIMES, total_len=[3, 0, 1500])


ETHERNET, TUNNEL = Link("eth0", 0, 1, description="the first"), Link("tun0", 1, 101)
PAYLOADS = [b"", b"a", b"ab", b"abc", b"abcd", bytes(range(61))]


def linked(payloads: Sequence[bytes], links: Iterable[Link] = (ETHERNET,), **columns: Any) -> Batch:
    """Make a batch of these payloads on these links, by default of no packet type."""
    return batch_of(payloads, links=links, **{"pkt_type": 255, **columns})
