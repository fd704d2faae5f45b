"""Flow tables: many threads use one table, and streams of their own. Each packet is counted once."""

from __future__ import annotations

import pickle
import random
import time
from typing import Any

import numpy as np

from players import Broken, Players, rounds
from slimcap import Batch, FlowBatch, FlowTable, flows
from slimcap.mock import MockRingSource, build_packet

COUNT = 3000
SECOND = 1_000_000_000
FEATURES: Any = ("lengths", "iat", "flags", "payload", "community_id")


def traffic(rng: random.Random) -> list[Batch]:
    """Return batches of TCP packets of many connections, which own their memory."""
    now = 1_700_000_000 * SECOND
    with MockRingSource(num_blocks=64, block_size=1 << 16) as source:
        for _ in range(COUNT):
            now += rng.randrange(SECOND // 50)
            ends = ("192.0.2.1", "192.0.2.2", rng.randrange(1024, 2500), 443)
            flags, data = rng.choice((0x02, 0x10, 0x11, 0x04)), bytes(rng.randrange(60))
            source.add_packet(build_packet(*ends, 6, data, timestamp=now, tcp_flags=flags))
        source.done()
        whole = [batch.copy() for batch in source.batches()]
    return [batch[at : at + 50] for batch in whole for at in range(0, len(batch), 50)]


def options_of(rng: random.Random) -> dict[str, Any]:
    return {
        "features": rng.sample(FEATURES, rng.randrange(len(FEATURES) + 1)),
        "splt": rng.choice((0, 5)),
        "first_bytes": rng.choice((0, 20)),
        "window": rng.choice((None, 2)),
        "max_flows": rng.choice((1, 100, 5000)),
    }


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of packets."""
    batches = traffic(rng)
    return rounds(lambda end: one_round(rng, batches, end), seconds)


def one_round(rng: random.Random, batches: list[Batch], end: float) -> int:
    options = options_of(rng)
    table = FlowTable(**options)
    ended: list[FlowBatch] = []
    counted: list[int] = []

    def update(rng: random.Random) -> None:
        batch = rng.choice(batches)
        ended.append(table.update(batch))  # RuntimeError if another thread is using the table
        counted.append(len(batch))

    def finish(rng: random.Random) -> None:
        ended.append(table.flush(rng.choice((None, 1, 50))))

    def expire(rng: random.Random) -> None:
        ended.append(table.expire(rng.choice((0, 1_700_000_100 * SECOND))))

    def look(rng: random.Random) -> None:
        stats = table.stats
        if stats.active > options["max_flows"] or len(repr(table)) < 10 or (table.clock or 1) < 0:
            raise Broken(f"{stats} is not possible")

    def alone(rng: random.Random) -> None:
        """Read batches with a table of this thread, and use its records as other threads do."""
        part = rng.sample(batches, 5)
        records = FlowBatch.concat(flows(part, **options))
        check(records, sum(map(len, part)))
        check(pickle.loads(pickle.dumps(records))[::-1], sum(map(len, part)))
        if len(records) != records.to_arrow().num_rows:
            raise Broken("a table of Arrow has other rows")

    calls = {"update": update, "flush": finish, "expire": expire, "look": look, "alone": alone}
    players = Players(rng, calls, (RuntimeError,))
    while time.monotonic() < end and not players.failed:
        time.sleep(0.02)
    players.stop()
    ended.append(table.flush())
    check(FlowBatch.concat(ended), sum(counted))
    if (table.stats.packets, table.stats.active) != (sum(counted), 0):
        raise Broken(f"{sum(counted)} packets were counted, not those of {table.stats}")
    return sum(counted)


def check(records: FlowBatch, packets: int) -> None:
    """Raise Broken unless the records have so many packets, all of them at least one."""
    sums = np.asarray(records["src_packets"] + records["dst_packets"])
    if sums.sum() != packets or (len(sums) and not sums.min()):
        raise Broken(f"records have {sums.sum()} packets, not {packets}")
