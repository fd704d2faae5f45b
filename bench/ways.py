"""The ways to read packets, the packets to read, and the cost of each way per packet.

WAYS["next_packet()"] ──prepare(source)──► read(count) ──► packets read: `count`, or up to a batch more
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final, NamedTuple

import numpy as np
import programs

from slimcap import RECORD_DTYPE, Batch, PcapWriter, open_file
from slimcap.source.base import ZeroCopySource
from slimcap.source.mock.mock_socket import RingMock

PACKET_LEN: Final = 64
SNAPLEN: Final = 48
CHUNK: Final = 4096
"""Packets to add to a ring or a file at a time."""

RUNS: Final = 5
"""Number of runs of a measurement, of which the median counts."""
FIRST_COUNT: Final = 256
"""Packets of the first calibration run; the number is doubled until a run takes long enough."""
MAX_COUNTED: Final = 200_000
"""Maximum number of packets for which allocations are counted."""

Read = Callable[[int], int]
Prepare = Callable[[ZeroCopySource], Read]


class Ring(NamedTuple):
    """The shape of a ring: block size in bytes, and number of blocks."""

    block_size: int
    num_blocks: int

    def __str__(self) -> str:
        size = self.block_size
        return f"{f'{size >> 20} MiB' if size >> 20 else f'{size >> 10} KiB'} x {self.num_blocks}"


RINGS: Final = (Ring(10 << 20, 4), Ring(1 << 20, 4), Ring(12 << 10, 512))
"""A ring larger than the caches, one smaller than most of them, and one of blocks that hold few packets."""


@dataclass(frozen=True)
class Cost:
    """The cost of reading a packet.

    Attributes
    ----------
    ns : float
        Nanoseconds per packet.
    allocations : float
        Memory requests to Python's allocators per packet; objects from a free list are not counted.
    """

    ns: float
    allocations: float


# ---- ways to read


def _calls(name: str, argument: Callable[[ZeroCopySource], object] | None = None) -> Prepare:
    """Call `source.name()` for each packet, or `source.name(argument)` with the same argument each time."""

    def prepare(source: ZeroCopySource) -> Read:
        call = getattr(source, name)

        def read(count: int) -> int:
            for _ in repeat(None, count):
                call()
            return count

        if argument is None:
            return read
        value = argument(source)

        def read_with(count: int) -> int:
            for _ in repeat(None, count):
                call(value)
            return count

        return read_with

    return prepare


def _iteration(source: ZeroCopySource) -> Read:
    def read(count: int) -> int:
        deque(islice(source, count), 0)  # a loop in C, which costs less than a counting `for`
        return count

    return read


def _batches(use: Callable[[Batch], object] | None = None) -> Prepare:
    """Call `next_batch()`, and `use` on each batch if it is given."""

    def prepare(source: ZeroCopySource) -> Read:
        def read(count: int) -> int:
            done = 0
            while done < count:
                batch = source.next_batch()
                if use is not None:
                    use(batch)
                done += len(batch)
                del batch  # so that its memory is reused while it is in the cache
            return done

        return read

    return prepare


def _total_len(batch: Batch) -> object:
    return batch["total_len"].sum()


def _callback(_source: object) -> object:
    def take(payload: object, total_len: int, pkt_type: int, ip_layer_offset: int) -> None:
        pass

    return take


def _ways() -> dict[str, Prepare]:
    ways = {
        "next_batch()": _batches(),
        "next_batch(), total_len summed": _batches(_total_len),
    }
    if headers := getattr(Batch, "headers", None):
        ways["next_batch(), headers()"] = _batches(headers)
    return ways | {
        "for packet in source": _iteration,
        "next_packet(buf)": _calls("next_packet", lambda source: source.new_packet()),
        "next_packet()": _calls("next_packet"),
        "next_payload(buf)": _calls("next_payload", lambda _source: bytearray(2048)),
        "next_payload()": _calls("next_payload"),
        "next_ip_packet(buf)": _calls("next_ip_packet", lambda _source: bytearray(2048)),
        "next_ip_packet()": _calls("next_ip_packet"),
        "next_packet_fn(fn)": _calls("next_packet_fn", _callback),
        "next_payload_zero_copy()": _calls("next_payload_zero_copy"),
        "next_ip_packet_zero_copy()": _calls("next_ip_packet_zero_copy"),
        "next_batch(1)": _calls("next_batch", lambda _source: 1),
    }


WAYS: Final = _ways()
"""All ways to read, by name."""

FILE_WAYS: Final = tuple(
    name
    for name in WAYS
    if name.startswith("next_batch()") or name in ("for packet in source", "next_packet(buf)")
)
"""The ways that are measured with files, too: the others differ as they do with rings."""


# ---- packets to read


def packets(first: int, count: int) -> Batch:
    """Return a batch of 64-byte Ethernet frames with IPv4 and UDP, from many addresses and ports.

    The addresses, ports and timestamps are derived from the packet number, which starts at `first`.
    """
    number = first + np.arange(count)
    frames = np.zeros((count, PACKET_LEN), np.uint8)
    frames[:, :14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]
    frames[:, 14:24] = [0x45, 0, 0, PACKET_LEN - 14, 0, 0, 0, 0, 64, 17]
    frames[:, 26:30] = (0x0A000000 + number % 50_021).astype(">u4").view(np.uint8).reshape(count, 4)
    frames[:, 30:34] = [10, 1, 0, 1]
    frames[:, 34:36] = (1024 + number % 60_013).astype(">u2").view(np.uint8).reshape(count, 2)
    frames[:, 36:40] = [0, 53, 0, PACKET_LEN - 34]
    rows = np.zeros(count, RECORD_DTYPE)
    rows["timestamp"] = 1_700_000_000_000_000_000 + number * 1000
    rows["offset"] = np.arange(count) * PACKET_LEN
    rows["total_len"] = rows["cap_len"] = PACKET_LEN
    rows["ip_offset"] = 14
    return Batch(rows, frames.reshape(-1))


def full_ring(ring: Ring) -> RingMock:
    """Return a full ring that is read again and again, without an end."""
    # The compiled base class, as RingSource is compiled: with MockRingSource, a Python class, a loop would
    # look up `__next__` for each packet.
    source = RingMock("mock", snaplen=SNAPLEN, block_size=ring.block_size, num_blocks=ring.num_blocks)
    source.device.drop_when_full = True
    batch = packets(0, CHUNK)
    while source.device.has_space:
        source.device.add_batch(batch)
    source._repeat()
    return source


def write_file(path: Path, count: int) -> None:
    """Write a pcap file of `count` packets."""
    with PcapWriter(path) as writer:
        for first in range(0, count, CHUNK):
            writer.write_batch(packets(first, min(CHUNK, count - first)))


# ---- cost


def build_allocation_counter(folder: Path) -> None:
    """Compile the module that counts allocations, for this process and its children.

    Raises
    ------
    Unavailable
        Cython or a C compiler is not installed.
    """
    programs.add_to_path(programs.build_cython("allocations", folder))


def ring_cost(source: RingMock, way: str, seconds: float) -> Cost:
    """Measure the cost of a packet from a ring of `full_ring`, for about `seconds`."""
    read = WAYS[way](source)
    count = _packets_in(read, seconds / (RUNS + 2))
    allocations = _allocations(read, min(count, MAX_COUNTED))
    return Cost(median(_ns_per_packet(read, count) for _ in range(RUNS)), allocations)


def file_cost(path: Path, way: str, packets: int, seconds: float) -> Cost:
    """Measure the cost of a packet from a file of `write_file`, which is read repeatedly for about `seconds`.

    Each run includes opening and closing the file.
    """

    def read(count: int) -> int:
        with open_file(path) as source:
            done = WAYS[way](source)(count)
        if done != packets:
            raise AssertionError(f"{way} read {done} packets of {packets}")
        return done

    allocations = _allocations(read, packets)
    end = perf_counter() + seconds
    ns = [_ns_per_packet(read, packets)]
    while perf_counter() < end:
        ns.append(_ns_per_packet(read, packets))
    return Cost(median(ns), allocations)


def _allocations(read: Read, count: int) -> float:
    """Return the memory requests per packet."""
    _, allocations = import_module("allocations").count_allocations(read, count)
    return float(allocations) / count


def _packets_in(read: Read, seconds: float) -> int:
    """Return the number of packets whose reading takes about `seconds`."""
    count = FIRST_COUNT
    while (spent := _ns_per_packet(read, count) * count / 1e9) < seconds / 2:
        count *= 2
    return max(FIRST_COUNT, int(count * min(seconds / spent, 2)))


def _ns_per_packet(read: Read, count: int) -> float:
    start = perf_counter()
    done = read(count)
    return (perf_counter() - start) / done * 1e9
