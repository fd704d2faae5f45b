"""Threads that call what they like until a scenario ends, and packets that tell where they went."""

from __future__ import annotations

import contextlib
import random
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from slimcap import Batch, Packet
from slimcap.mock import build_packet

Call = Callable[[random.Random], object]
MARK = b"stress"
ROUND = 2.0  # seconds
THREAD_SANITIZER = "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
LONGEST_CALL = 120.0 if THREAD_SANITIZER else 10.0  # seconds; under it all takes about 15 times as long


class Broken(Exception):
    """A promise was not kept."""


def numbered(number: int) -> Packet:
    """Return a packet with a number in its payload; a few lengths."""
    text = MARK + number.to_bytes(4, "big") + bytes(number % 97)
    return build_packet("192.0.2.1", "192.0.2.2", 1234, 53, payload=text, timestamp=10**18 + number)


def number_of(payload: bytes) -> int:
    """Return the number of a packet."""
    at = payload.find(MARK)
    if at < 0:
        raise Broken(f"a packet of other bytes: {payload[:80]!r}")
    return int.from_bytes(payload[at + len(MARK) :][:4], "big")


def rounds(one_round: Callable[[float], int], seconds: float) -> int:
    """Play rounds, each of which gets the time when it ends, until the time is over; return their sum."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += one_round(min(end, time.monotonic() + ROUND))
    return count


class Ledger:
    """The numbers of the packets that readers got."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def take(self, *payloads: bytes) -> None:
        self._numbers += [number_of(payload) for payload in payloads]

    def take_batch(self, batch: Batch) -> None:
        self.take(*[bytes(packet.payload) for packet in batch])

    def __len__(self) -> int:
        return len(self._numbers)

    def check(self, added: int, *, all_of_them: bool) -> None:
        """Raise Broken if a packet came twice, was never added, or is missing."""
        counts = Counter(self._numbers)
        twice = [number for number, count in counts.items() if count > 1]
        if twice:
            raise Broken(f"{len(twice)} packets came twice, such as {twice[:5]}")
        strange = [number for number in counts if number >= added]
        if strange:
            raise Broken(f"packets that were never added: {strange[:5]}")
        missing = added - len(counts)
        if all_of_them and missing:
            first = next(number for number in range(added) if number not in counts)
            raise Broken(f"{missing} of {added} packets are missing, the first is {first}")


class Players:
    """Threads that call functions chosen at random, until they are stopped.

    Parameters
    ----------
    rng : Random
        Chooses the number of threads, and their seeds.
    calls : mapping of str to callable
        What may be called, by name; each gets the thread's own Random.
    allowed : tuple of exception types
        What the calls may raise. Any other exception stops all threads, and `join` raises it.
    """

    def __init__(
        self, rng: random.Random, calls: Mapping[str, Call], allowed: tuple[type[BaseException], ...]
    ) -> None:
        self._calls, self._allowed = list(calls.items()), allowed
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._counts: list[Counter[str]] = []
        self._threads = [
            threading.Thread(target=self._play, args=(random.Random(rng.random()),), daemon=True)
            for _ in range(rng.randint(2, 8))
        ]
        for thread in self._threads:
            thread.start()

    def _play(self, rng: random.Random) -> None:
        done: Counter[str] = Counter()
        try:
            while not self._over.is_set():
                name, call = rng.choice(self._calls)
                done[name] += 1
                with contextlib.suppress(*self._allowed):
                    call(rng)
        except BaseException as error:
            error.add_note(f"in {name}")
            self._error = error
            self._over.set()
        self._counts.append(done)

    @property
    def counts(self) -> Counter[str]:
        """Number of calls of each function, by the threads that have ended."""
        return sum(self._counts, Counter())

    @property
    def failed(self) -> bool:
        return self._error is not None

    def stop(self, within: float = LONGEST_CALL) -> None:
        """Stop the threads and wait for them; raise what one of them raised."""
        self._over.set()
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise Broken(f"a call did not return within {within} s")
        if self._error is not None:
            raise self._error
