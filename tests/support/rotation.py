"""Rotating writers in tests: batches to write, and what their files hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimcap import Batch, Link, read
from slimcap.sink.rotate import RotatingWriter
from support.batches import batch_of, payloads_of

SECOND = 10**9
LINKS = (Link("eth0", 0, 1), Link("tun0", 1, 101), Link("eth1", 2, 1))


def paced_batch(
    count: int, seconds: Any = None, size: Any = 60, links: Sequence[Link] = LINKS, **columns: Any
) -> Batch:
    """Make a batch of `count` packets of noise.

    Parameters
    ----------
    seconds : array-like of int, optional
        Timestamps. Default: 0, 1, 2, …
    size : array-like of int, default: 60
        Payload lengths, one for all or one for each.
    links : sequence of Link, default: `LINKS`
    **columns
        As in `batch_of`.
    """
    sizes = np.broadcast_to(size, count).tolist()
    noise = np.random.default_rng(1).bytes(count + max(sizes, default=0))
    times = np.arange(count) if seconds is None else np.array(seconds)
    payloads = [noise[start : start + length] for start, length in enumerate(sizes)]
    return batch_of(payloads, links=links, **{"timestamp": times * SECOND, **columns})


def rotated(template: str | Path, *batches: Batch, **options: Any) -> list[str]:
    """Write the batches with a RotatingWriter; return the paths of its files."""
    with RotatingWriter(template, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
        assert writer.packets_written == sum(map(len, batches))
    assert writer.closed
    return list(writer.files)


def packets_of(batch: Batch) -> list[tuple[int, bytes]]:
    """Return timestamp and payload of each packet."""
    return list(zip(batch["timestamp"].tolist(), payloads_of(batch), strict=True))


def packets_in(files: Iterable[str]) -> list[tuple[int, bytes]]:
    """Return timestamp and payload of each packet in the files, one after the other."""
    return [packet for file in files for packet in packets_of(read(file))]


def sizes_of(files: Iterable[str]) -> list[int]:
    """Return the number of packets in each file."""
    return [len(read(file)) for file in files]


def names_of(files: Iterable[str]) -> list[str]:
    return [os.path.basename(file) for file in files]
