"""Live captures: threads read, ask and interrupt while packets come faster than they are read. As root."""

from __future__ import annotations

import gc
import itertools
import random
import socket
import subprocess
import time
from typing import Any

from players import Broken, Ledger, Players, numbered, rounds
from slimcap import FanoutSource, InterfacesSource, RingSource, SocketSource
from stress_mocks import ALLOWED, askers, check_counts, drain, readers
from support.netns import CLONE_NEWNET, call

# So small that packets are dropped.
RING: dict[str, Any] = {"block_size": 1 << 14, "num_blocks": 8, "block_timeout": 0.01}
KINDS: dict[type[Any], dict[str, Any]] = {
    RingSource: RING,
    InterfacesSource: RING,
    FanoutSource: {"workers": 3, **RING},
    SocketSource: {"buffer_size": 1 << 16},
}
MAX_SENT = 1 << 14
FRAMES = [bytes(numbered(number).payload) for number in range(MAX_SENT)]


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of packets."""
    call("unshare", CLONE_NEWNET)  # for this process, which has no other threads yet
    subprocess.run(["ip", "link", "set", "dev", "lo", "up"], check=True, timeout=20)
    return rounds(lambda end: one_round(rng, end), seconds)


def one_round(rng: random.Random, end: float) -> int:
    kind = rng.choice(list(KINDS))
    source = kind("lo", direction="in", timeout=0.05, **KINDS[kind])
    ledger, tickets = Ledger(), itertools.count()
    counted: list[Any] = []

    def send(rng: random.Random) -> None:
        for _ in range(rng.randint(1, 200)):
            number = next(tickets)
            if number < MAX_SENT:
                sender.send(FRAMES[number])
        time.sleep(0.001)

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("lo", 0))
        players = Players(rng, readers(source, ledger) | askers(source, counted), ALLOWED)
        senders = Players(rng, {"send": send}, ())
        while time.monotonic() < end and not (players.failed or senders.failed):
            time.sleep(0.01)
        senders.stop()
    sent = min(next(tickets), MAX_SENT)
    source.stop()
    players.stop()
    gc.collect()
    drain(source, ledger)
    check_counts(source, ledger, counted, sent)
    ledger.check(sent, all_of_them=False)
    source.close()
    account = source.account()
    if account != (sent, 0, 0, sent - len(ledger), len(ledger), 0):
        raise Broken(f"{sent} packets were sent, {len(ledger)} read: {account}")
    return len(ledger)
