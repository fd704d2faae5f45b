"""One live reader, in a process of its own: `live_readers.py NAME INTERFACE COUNT` prints "ready", then JSON.

As c/live.h has it: a reader ends once COUNT packets came, or a while after its standard input was closed. The
sum is that of total_len, the CPU time that of the process (or of tcpdump's) from "ready" to the end.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice, repeat
from time import sleep
from typing import Any

from common import Unavailable, find_program, on_cpu_seconds, skip, wait_for

import slimcap

SILENCE = 0.2  # seconds, as in c/live.h
TCPDUMP_SILENCE = 1.5  # it never reads an unfinished block, and the kernel finishes one after a second
FRAME_LEN = 60  # of every packet, as in c/send_packets.c

# What both sides are given; they are slimcap's defaults.
BLOCK_SIZE, NUM_BLOCKS, BLOCK_TIMEOUT_MS = 1 << 19, 128, 20
MESSAGES, SNAPLEN, SOCKET_BUFFER = 64, 262144, 4 << 20
RING = {"block_size": BLOCK_SIZE, "num_blocks": NUM_BLOCKS, "block_timeout": BLOCK_TIMEOUT_MS / 1000}
SOCKET = {"batch_size": MESSAGES, "buffer_size": SOCKET_BUFFER}

Reader = Callable[[Any, int], int]  # a source, packets to wait for: the sum of their lengths


def batches(source: Any, count: int) -> int:
    total = packets = 0
    for batch in source.batches():
        total += int(batch["total_len"].sum())
        packets += len(batch)
        if packets >= count:
            break
    return total


def total_bytes(source: Any, count: int) -> int:
    total = packets = 0
    for batch in source.batches():
        total += batch.total_bytes
        packets += len(batch)
        if packets >= count:
            break
    return total


def flow_records(source: Any, count: int) -> int:
    table = slimcap.FlowTable()
    total = packets = 0
    for batch in source.batches():
        total += sum_of_flows(table.update(batch))
        packets += len(batch)
        if packets >= count:
            break
    return total + sum_of_flows(table.flush())


def sum_of_flows(flows: slimcap.FlowBatch) -> int:
    return int(flows["src_bytes"].sum() + flows["dst_bytes"].sum())


def iterate(source: Any, count: int) -> int:
    total = 0
    for packet in islice(source, count):
        total += packet.total_len
    return total


def in_place(source: Any, count: int) -> int:
    total = 0
    call, buf = source.next_packet, source.new_packet()
    with suppress(slimcap.CaptureStopped):
        for _ in repeat(None, count):
            total += call(buf).total_len
    return total


def zero_copy(source: Any, count: int) -> int:
    total = 0
    call = source.next_payload_zero_copy
    with suppress(slimcap.CaptureStopped):
        for _ in repeat(None, count):
            total += call()[2]
    return total


READERS: dict[str, tuple[str, dict[str, Any], Reader]] = {
    "RingSource batches": ("RingSource", RING, total_bytes),
    "RingSource batches, numpy's sum": ("RingSource", RING, batches),
    "RingSource flow records": ("RingSource", RING, flow_records),
    "RingSource zero-copy": ("RingSource", RING, zero_copy),
    "RingSource for packet": ("RingSource", RING, iterate),
    "RingSource next_packet(buf)": ("RingSource", RING, in_place),
    "SocketSource batches": ("SocketSource", SOCKET, total_bytes),
}
TCPDUMP = "tcpdump -w /dev/null"


def run_slimcap(name: str, interface: str, count: int) -> dict[str, Any]:
    kind, options, read = READERS[name]
    # The C programs have no filter, so neither have these.
    with open_source(kind, interface, auto_filter=False, snaplen=SNAPLEN, **options) as source:
        when_input_ends(source.close, SILENCE)
        print("ready", flush=True)
        start = cpu_seconds()
        total = read(source, count)
        cpu = cpu_seconds() - start
        dropped = source.total_stats.packets_dropped
    return {"packets": total // FRAME_LEN, "sum": total, "dropped": dropped, "cpu": cpu}


def open_source(kind: str, interface: str, **options: Any) -> Any:
    if not hasattr(slimcap, kind):
        raise Unavailable(f"this slimcap has no {kind}")
    return getattr(slimcap, kind)(interface, **options)


def run_tcpdump(interface: str, count: int) -> dict[str, Any]:
    program = find_program("tcpdump")
    kib = NUM_BLOCKS * BLOCK_SIZE >> 10
    command = [program, "-Z", "root", "-i", interface, "-B", str(kib), "-c", str(count), "-w", "/dev/null"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    wait_for("listening on", process.stderr)
    start = on_cpu_seconds(process.pid)
    when_input_ends(lambda: process.send_signal(signal.SIGINT), TCPDUMP_SILENCE)
    print("ready", flush=True)
    said = process.stderr.read()
    process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    packets = int(found(r"(\d+) packets? captured", said))
    return {
        "packets": packets,
        "sum": packets * FRAME_LEN,  # which it does not report
        "dropped": int(found(r"(\d+) packets? dropped by kernel", said)),
        "cpu": used.ru_utime + used.ru_stime - start,
    }


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"tcpdump said nothing like {pattern!r}: {text}")
    return match[1]


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def when_input_ends(stop: Callable[[], object], silence: float) -> None:
    """Call `stop` once standard input has ended, and what was sent before that has been read."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        sleep(silence)
        stop()

    threading.Thread(target=wait, daemon=True).start()


def run(name: str, interface: str, count: int) -> None:
    """Run one of the readers, and print what it took."""
    read = partial(run_slimcap, name) if name in READERS else run_tcpdump
    try:
        print(json.dumps(read(interface, count)))
    except Unavailable as reason:
        skip(reason)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
