"""Sources of files: many readers and askers of one. Every packet comes once, and the counts are exact."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from players import Broken, Ledger, Players, numbered, rounds
from slimcap import (
    CaptureStopped,
    CaptureUnblocked,
    PcapNgWriter,
    PcapWriter,
    open_file,
    open_files,
)
from stress_mocks import askers, readers

COUNT = 3000
ALLOWED = (CaptureUnblocked, CaptureStopped, TimeoutError, EOFError, StopIteration, RuntimeError, BufferError)


class Rude(io.BytesIO):
    """A file object that reads in odd pieces, sleeps, and calls back into the source that reads it."""

    source: Any = None

    def read(self, size: int | None = -1) -> bytes:
        if random.random() < 0.05:
            time.sleep(0.001)
        if self.source is not None and random.random() < 0.3:
            for call in (self.source.next_packet, self.source.next_batch):
                try:
                    call(timeout=0)
                except (RuntimeError, TimeoutError, CaptureStopped, CaptureUnblocked):
                    continue
                raise Broken("a source was read by its own file object")
        return super().read(random.randint(1, 5000))


def written(folder: Path) -> dict[str, Path]:
    """Write the packets in some formats."""
    paths = {"pcap": folder / "a.pcap", "pcapng": folder / "a.pcapng", "gzip": folder / "a.pcap.gz"}
    for writer in (PcapWriter(paths["pcap"]), PcapNgWriter(paths["pcapng"])):
        with writer:
            for number in range(COUNT):
                writer.write_packet(numbered(number))
    paths["gzip"].write_bytes(gzip.compress(paths["pcap"].read_bytes()))
    for part in range(3):
        with PcapNgWriter(folder / f"part{part}.pcapng") as writer:
            for number in range(part, COUNT, 3):
                writer.write_packet(numbered(number))
    return paths


def rude(data: bytes) -> Any:
    file = Rude(data)
    file.source = open_file(file, timeout=0.05)
    return file.source


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of packets."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = written(folder)
        openers: list[Callable[[], Any]] = [
            *[lambda path=path: open_file(path, block_size=1 << 14) for path in paths.values()],
            lambda: rude(paths["pcap"].read_bytes()),
            lambda: rude(paths["gzip"].read_bytes()),
            lambda: open_files([folder / f"part{part}.pcapng" for part in range(3)], block_size=1 << 14),
            lambda: open_file(paths["pcap"], filter="udp", where={"host": "192.0.2.2"}),
        ]
        return rounds(lambda end: one_round(rng, rng.choice(openers)()), seconds)


def one_round(rng: random.Random, source: Any) -> int:
    ledger: Ledger = Ledger()
    counted: list[Any] = []
    at_end = threading.Event()
    closing = rng.random() < 0.3

    def end_told(call: Any) -> Any:
        def tell(rng: random.Random) -> None:
            try:
                call(rng)
            except (EOFError, StopIteration):
                at_end.set()

        return tell

    calls = {name: end_told(call) for name, call in readers(source, ledger).items()} | askers(source, counted)
    calls["file"] = lambda rng: (source.progress, source.sections, source.trailer, source.blocks_left_out)
    players = Players(rng, calls, ALLOWED)
    if closing:
        time.sleep(rng.random() * 0.05)
        source.close()
        players.stop()
    else:
        while not at_end.wait(0.01) and not players.failed:
            pass
        players.stop()
        if source.total_stats.packets_received != COUNT:
            raise Broken(f"{source!r}: {source.total_stats} of {COUNT}")
        received = sum(stats.packets_received for stats in counted) + source.stats().packets_received
        if received != COUNT:
            raise Broken(f"{source!r}: {received} of {COUNT} counted in parts")
    ledger.check(COUNT, all_of_them=not closing)
    source.close()
    return len(ledger)
