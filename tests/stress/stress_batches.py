"""Batches: many threads use, share, cut, export and release the same batches. Bytes stay what they were."""

from __future__ import annotations

import gc
import pickle
import random
import time
from typing import Any

import numpy as np
import pyarrow

from players import Broken, Call, Players, rounds
from slimcap import Batch, concat, ip_to_str
from slimcap.sink.arrow import ArrowStream
from stress_writers import batches_of_packets

try:
    import polars
except ImportError:  # it has no wheels for a free-threaded Python
    polars = None  # type: ignore[assignment]

Expected = tuple[list[bytes], list[int]]
SHELF: list[Any] = []


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of calls."""
    return rounds(lambda end: one_round(rng, end), seconds)


def one_round(rng: random.Random, end: float) -> int:
    pool = [(batch, facts(batch)) for batch in batches_of_packets(200)]

    def with_batch(use: Any) -> Call:
        def call(rng: random.Random) -> None:
            batch, expected = rng.choice(pool)
            use(rng, batch, expected)

        return call

    calls = {name: with_batch(use) for name, use in USES.items()} | {"collect": lambda rng: gc.collect(0)}
    players = Players(rng, calls, (ValueError, BufferError))  # of batches that were released
    while time.monotonic() < end and not players.failed:
        time.sleep(0.02)
    players.stop()
    SHELF.clear()
    return sum(players.counts.values())


def facts(batch: Batch) -> Expected:
    return [bytes(packet.payload) for packet in batch], batch["total_len"].tolist()


def check(batch: Batch, expected: Expected, rows: Any = slice(None)) -> None:
    payloads, lengths = expected
    numbers = range(len(payloads))[rows] if isinstance(rows, slice) else rows
    found = facts(batch)
    if found != ([payloads[i] for i in numbers], [lengths[i] for i in numbers]):
        raise Broken("a batch has other bytes than before")


def cut(rng: random.Random, batch: Batch, expected: Expected) -> None:
    rows = slice(rng.randrange(200), rng.randrange(200))
    check(batch[rows], expected, rows)


def nest(rng: random.Random, batch: Batch, expected: Expected) -> None:
    for _ in range(300):
        batch = batch[:]
    check(batch, expected)


def pick(rng: random.Random, batch: Batch, expected: Expected) -> None:
    rows = [rng.randrange(len(batch)) for _ in range(20)]
    check(batch[rows], expected, rows)


def select(rng: random.Random, batch: Batch, expected: Expected) -> None:
    check(batch.filter("udp"), expected)
    check(batch.filter(where={"port": 53}), expected)


def columns(rng: random.Random, batch: Batch, expected: Expected) -> None:
    headers = batch.headers(["src", "dst_port", "flow_hash_symmetric", "community_id"])
    if not (headers["src"] == "192.0.2.1").all() or set(ip_to_str(headers["src"]).tolist()) != {"192.0.2.1"}:
        raise Broken("an address is another one")
    if len(np.unique(headers["flow_hash_symmetric"])) != 1:
        raise Broken("one flow has several hashes")


def views(rng: random.Random, batch: Batch, expected: Expected) -> None:
    row = rng.randrange(len(batch))
    kept: list[Any] = [
        batch.payload(row),
        batch[row],
        batch.data,
        memoryview(batch.payload(row)),
        batch.ip_layer(row),
    ]
    if bytes(kept[0]) != expected[0][row]:
        raise Broken("a view shows other bytes")
    shelve(rng, kept.pop(rng.randrange(len(kept))))


def copies(rng: random.Random, batch: Batch, expected: Expected) -> None:
    check(pickle.loads(pickle.dumps(batch)), expected)
    check(concat([batch.copy()]), expected)


def export(rng: random.Random, batch: Batch, expected: Expected) -> None:
    batch.__arrow_c_array__()
    batch.__arrow_c_stream__()
    batch.__arrow_c_schema__()
    table = pyarrow.table(ArrowStream(batch, ["payload", "src"]))
    if table["payload"].to_pylist() != expected[0] or set(table["src"].to_pylist()) != {"192.0.2.1"}:
        raise Broken("a table has other bytes")
    shelve(rng, table)
    if polars is not None:
        shelve(rng, polars.DataFrame(batch))


def shelve(rng: random.Random, value: Any) -> None:
    """Keep something that another thread will drop."""
    SHELF.append(value)
    if len(SHELF) > 20:
        SHELF.pop(rng.randrange(10))


def release(rng: random.Random, batch: Batch, expected: Expected) -> None:
    part = batch[:100]
    part.release()
    if rng.random() < 0.001:
        batch.release()


def ask(rng: random.Random, batch: Batch, expected: Expected) -> None:
    for name in ("links", "interfaces", "comments", "blocks", "total_bytes", "released", "timestamps"):
        getattr(batch, name)
    repr(batch)


USES = {one.__name__: one for one in (cut, nest, pick, select, columns, views, copies, export, release, ask)}
