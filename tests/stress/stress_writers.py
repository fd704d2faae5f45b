"""Writers: many threads write to one file. It has what was written, each packet once, and can be read."""

from __future__ import annotations

import io
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from players import Broken, Ledger, Players, numbered, rounds
from slimcap import Batch, open_writer, read
from slimcap.mock import MockRingSource

COUNT = 2000


def batches_of_packets(size: int) -> list[Batch]:
    """Return batches that own their memory."""
    with MockRingSource(num_blocks=64, block_size=1 << 14) as source:
        for number in range(COUNT):
            source.add_packet(numbered(number))
        source.done()
        whole = [batch.copy() for batch in source.batches()]
    return [batch[at : at + size] for batch in whole for at in range(0, len(batch), size)]


def play(rng: random.Random, seconds: float) -> int:
    """Play until the time is over; return the number of packets."""
    batches = batches_of_packets(10)
    with tempfile.TemporaryDirectory() as folder:
        return rounds(lambda end: one_round(rng, Path(folder), batches), seconds)


def one_round(rng: random.Random, folder: Path, batches: list[Batch]) -> int:
    format: Any = rng.choice(("pcap", "pcapng"))
    to_memory = rng.random() < 0.3
    target: Any = io.BytesIO() if to_memory else folder / f"out.{format}"
    writer: Any = open_writer(target, format=format, compression=rng.choice((None, "gzip")))
    written = Ledger()
    left, lock = list(batches), threading.Lock()

    def write(rng: random.Random) -> None:
        with lock:
            batch = left.pop() if left else None
        if batch is None:
            time.sleep(0.001)
            return
        while True:
            try:
                if rng.random() < 0.5:
                    writer.write_batch(batch)
                else:
                    one_by_one(writer, batch)
                break
            except RuntimeError:  # another thread is writing
                continue
        written.take_batch(batch)

    calls = {
        "write": write,
        "flush": lambda rng: writer.flush(),
        "ask": lambda rng: (writer.packets_written, writer.bytes_written, writer.closed, repr(writer)),
    }
    players = Players(rng, calls, (RuntimeError,))
    end = time.monotonic() + 5
    while left and time.monotonic() < end and not players.failed:
        time.sleep(0.005)
    players.stop()
    writer.close()
    if writer.packets_written != len(written):
        raise Broken(f"{writer.packets_written} packets counted, {len(written)} written")
    back = Ledger()
    back.take_batch(read(io.BytesIO(target.getvalue()) if to_memory else target))
    back.check(COUNT, all_of_them=not left)
    if len(back) != len(written):
        raise Broken(f"{len(back)} packets in the file, {len(written)} written")
    return len(back)


def one_by_one(writer: Any, batch: Batch) -> None:
    """Write the packets of a batch; after the first, insist."""
    for number, packet in enumerate(batch):
        while True:
            try:
                writer.write_packet(packet)
                break
            except RuntimeError:
                if number == 0:
                    raise
