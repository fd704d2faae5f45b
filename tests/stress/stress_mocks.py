"""Mocks: producers, readers and askers in threads. Every packet arrives once, and the counts are exact."""

from __future__ import annotations

import gc
import itertools
import random
import time
from typing import Any

from players import Broken, Call, Ledger, Players, numbered, rounds
from slimcap import CaptureStopped, CaptureUnblocked, RingExhausted, concat
from slimcap.filter import hosts
from slimcap.mock import MockRingSource, MockSocketSource

RING = {"block_size": 1 << 14, "num_blocks": 4}
PACKETS = [numbered(number) for number in range(1 << 14)]
FILTERS: list[Any] = [None, "udp", "ip or arp", hosts(["192.0.2.1"])]  # each accepts all packets
ALLOWED = (
    CaptureUnblocked,
    CaptureStopped,
    RingExhausted,
    TimeoutError,
    EOFError,
    StopIteration,
    RuntimeError,
    BufferError,
)


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of packets."""
    return rounds(lambda end: one_round(rng, end), seconds)


def one_round(rng: random.Random, end: float) -> int:
    kind = rng.choice((MockRingSource, MockSocketSource))
    when_full: Any = rng.choice(("wait", "drop"))
    options: dict[str, Any] = RING if kind is MockRingSource else {"buffer_size": 1 << 16}
    source = kind(when_full=when_full, timeout=0.05, **options)
    source.run()
    ledger, tickets = Ledger(), itertools.count()
    counted: list[Any] = []
    added: list[bool] = []

    def add(rng: random.Random) -> None:
        for _ in range(rng.randint(1, 50)):
            number = next(tickets)
            if number >= len(PACKETS):
                time.sleep(0.001)
                return
            while True:  # until it is in, so that numbers are not left out
                try:
                    source.add_packet(PACKETS[number], timeout=0.5)
                    added.append(True)
                    break
                except TimeoutError:
                    pass

    players = Players(rng, readers(source, ledger) | askers(source, counted), ALLOWED)
    producers = Players(rng, {"add_packet": add}, (CaptureStopped,))
    while time.monotonic() < end and len(added) < len(PACKETS) and not (players.failed or producers.failed):
        time.sleep(0.01)
    producers.stop()
    source.done()
    players.stop()
    gc.collect()
    drain(source, ledger)
    check_counts(source, ledger, counted, len(added))
    ledger.check(len(PACKETS), all_of_them=False)
    source.close()
    return len(ledger)


def check_counts(source: Any, ledger: Ledger, counted: list[Any], added: int) -> None:
    """Raise Broken if a packet that was added is not counted, or is neither read nor dropped."""
    total = source.total_stats
    received = sum(stats.packets_received for stats in counted) + source.stats().packets_received
    if not received == total.packets_received == added:
        raise Broken(f"{added} packets were added; counted: {total}, {received} in parts")
    if total.packets_received != len(ledger) + total.packets_dropped:
        raise Broken(f"{len(ledger)} packets were read; counted: {total}")


def check_account(source: Any) -> None:
    """Raise Broken if more packets were read than the kernel accepted."""
    account = source.account()
    if account.in_flight < 0:
        raise Broken(f"{account}")


def drain(source: Any, ledger: Ledger) -> None:
    """Read what is left; the last `unblock()` may still be pending."""
    while True:
        try:
            for batch in source.batches(timeout=5):
                ledger.take_batch(batch)
                del batch
            return
        except CaptureUnblocked:
            pass


def readers(source: Any, ledger: Ledger) -> dict[str, Call]:
    """Return the calls that read packets."""
    calls: dict[str, Call] = {
        "next_batch": lambda rng: ledger.take_batch(source.next_batch(rng.choice((None, 1, 7, 100)))),
        "next_packet": lambda rng: ledger.take(bytes(source.next_packet().payload)),
        "next_payload": lambda rng: ledger.take(source.next_payload()[0]),
        "next_payload_into": lambda rng: ledger.take(bytes(source.next_payload(bytearray(70_000))[0])),
        "next_packet_fn": lambda rng: ledger.take(source.next_packet_fn(lambda view, *_: bytes(view))),
        "iterate": lambda rng: ledger.take(bytes(next(source).payload)),
        "copies": lambda rng: ledger.take_batch(concat([source.next_batch(50).copy()])),
    }
    if hasattr(source, "next_payload_zero_copy"):
        calls["next_payload_zero_copy"] = lambda rng: ledger.take(bytes(source.next_payload_zero_copy()[0]))
    return calls


def askers(source: Any, counted: list[Any]) -> dict[str, Call]:
    """Return the calls that ask or interrupt."""
    calls: dict[str, Call] = {
        "stats": lambda rng: counted.append(source.stats()),
        "total_stats": lambda rng: source.total_stats,
        "attributes": lambda rng: (source.links, source.interfaces, source.link, source.closed, repr(source)),
        "unblock": lambda rng: source.unblock(),
        "collect": lambda rng: gc.collect(0),
    }
    if hasattr(source, "set_filter"):
        calls["set_filter"] = lambda rng: source.set_filter(rng.choice(FILTERS))
    if hasattr(source, "account"):
        calls["account"] = lambda rng: check_account(source)
    return calls
