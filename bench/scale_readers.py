"""One live reader of live_scale.py, in a separate process: `scale_readers.py TASK OPTIONS`, which are JSON.

It prints "ready", and at the end JSON. Standard input ends when the sender has ended, as in live_readers.py.
"""

import contextlib
import fcntl
import hashlib
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep, thread_time
from typing import Any

import cable
import live_readers
import numpy as np
from common import Unavailable, skip
from live_readers import cpu_seconds, when_input_ends

import slimcap

FLOWS = 10_000  # as in c/send_packets.c
FEATURES: dict[str, Any] = {"features": ("lengths", "iat", "flags", "payload"), "splt": 10}
PATIENCE = 30.0  # seconds
BLOCK_TIMEOUT = 0.2  # seconds: if the sender is slow, the rings still hold everything
SIOCSIFFLAGS, IFF_UP, SOL_PACKET, PACKET_QDISC_BYPASS = 0x8914, 1, 263, 20
INTERVAL = 0.001  # seconds between the packets of an interface that appears

Found = dict[str, Any]


def ready() -> None:
    print("ready", flush=True)


# ---- packets that wait in the rings of several workers


def share_work(interface: str, workers: int, buffer: int) -> Found:
    """Let packets pile up until the sender has ended; then time the workers, each in a thread."""
    tables = [slimcap.FlowTable(**FEATURES) for _ in range(workers)]
    barrier = threading.Barrier(workers + 1)
    size = buffer // workers
    with (
        slimcap.open_live(
            interface, workers=workers, auto_filter=False, buffer=size, latency=BLOCK_TIMEOUT
        ) as source,
        ThreadPoolExecutor(workers) as pool,
    ):
        ready()
        sys.stdin.read()
        sleep(2 * BLOCK_TIMEOUT)  # until the last block is handed over
        done = [pool.submit(process, *one, barrier) for one in zip(source.workers(), tables, strict=True)]
        barrier.wait(PATIENCE)
        start, cpu = perf_counter(), cpu_seconds()
        counts = [one.result(PATIENCE) for one in done]
        seconds, cpu = perf_counter() - start, cpu_seconds() - cpu
        dropped = source.total_stats.packets_dropped
    return {
        "packets": sum(packets for packets, _ in counts),
        "least": min(packets for packets, _ in counts),
        "dropped": dropped,
        "seconds": seconds,
        "cpu": cpu,
        "busiest": max(used for _, used in counts),
        "whole": sum(whole_flows(table) for table in tables),
    }


def process(
    worker: slimcap.RingSource, table: slimcap.FlowTable, barrier: threading.Barrier
) -> tuple[int, float]:
    """Make flow records with all features, header columns, and SHA3-256 of these.

    Return the number of packets, and the CPU time of this thread.
    """
    packets = 0
    barrier.wait(PATIENCE)
    cpu = thread_time()
    with contextlib.suppress(TimeoutError):
        while True:
            batch = worker.next_batch(timeout=0)
            table.update(batch)
            hashlib.sha3_256(batch.headers().view(np.uint8).data).digest()
            packets += len(batch)
            del batch
    return packets, thread_time() - cpu


def whole_flows(table: slimcap.FlowTable) -> int:
    """Return how many flows have packets in both directions."""
    flows = table.flush()
    return int(((flows["src_packets"] > 0) & (flows["dst_packets"] > 0)).sum())


# ---- several interfaces


def count_packets(interfaces: Sequence[str], buffer: int, latency: float = 0.02) -> Found:
    """Count packets as live_readers.py does, from several interfaces, until the sender has ended."""
    total = packets = 0
    with slimcap.InterfacesSource(interfaces, auto_filter=False, buffer=buffer, latency=latency) as source:
        when_input_ends(source.close, live_readers.SILENCE + latency)
        ready()
        cpu = cpu_seconds()
        for batch in source.batches():
            total += batch.total_bytes
            packets += len(batch)
        cpu = cpu_seconds() - cpu
        dropped = source.total_stats.packets_dropped
    return {"packets": packets, "sum": total, "dropped": dropped, "cpu": cpu}


def idle(interfaces: Sequence[str], buffer: int, seconds: float) -> Found:
    """Open the interfaces, and wait for packets that do not come."""
    start = perf_counter()
    with slimcap.InterfacesSource(interfaces, buffer=buffer) as source:
        opening = perf_counter() - start
        ready()
        with contextlib.suppress(TimeoutError):  # what the kernel sends when interfaces come up
            source.next_batch(timeout=0.1)
        packets, start, cpu = 0, perf_counter(), cpu_seconds()
        while (left := start + seconds - perf_counter()) > 0:
            with contextlib.suppress(TimeoutError):
                packets += len(source.next_batch(timeout=left))
        took, cpu = perf_counter() - start, cpu_seconds() - cpu
        closing = perf_counter()
    closing = perf_counter() - closing
    return {"opening": opening, "closing": closing, "seconds": took, "cpu": cpu, "packets": packets}


# ---- an interface that appears


def appear(times: int) -> Found:
    """Create an interface, set it up while the other end sends, and wait for its first packet."""
    waits = []
    with slimcap.InterfacesSource("new*", auto_filter=False, buffer="1MiB") as source:
        ready()
        for number in range(times):
            pair = f"other{number}", f"new{number}"
            add = f"link add {pair[0]} type veth peer name {pair[1]}"
            setting = [f"link set dev {name} addrgenmode none" for name in pair]
            with ThreadPoolExecutor(1) as pool:
                first = pool.submit(source.next_batch, timeout=PATIENCE)
                cable.ip_batch([add, *setting, f"link set dev {pair[0]} up"])
                with sending_to(pair[0]):
                    start = perf_counter()
                    set_up(pair[1])
                    first.result()
                    waits.append(perf_counter() - start)
            with contextlib.suppress(TimeoutError):  # what is left
                while True:
                    source.next_batch(timeout=0.05)
    return {"waits": waits}


def set_up(interface: str) -> None:
    """Do as `ip link set up`, without the time that a process takes to start."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", interface.encode(), IFF_UP))


@contextlib.contextmanager
def sending_to(interface: str) -> Iterator[None]:
    """Send a packet each millisecond; the kernel refuses them until the other end is up."""
    frame = bytes.fromhex("020000000009 020000000001 0800") + bytes(46)
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(INTERVAL):
            with contextlib.suppress(OSError):
                out.send(frame)

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        out.bind((interface, 0))
        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


# ---- another filter


def change_filter(interface: str, calls: int, interval: float) -> Found:
    """Read flows in the order in which send_packets.c sends them, while a thread replaces the filter."""
    lasted: list[float] = []
    wrong = packets = 0
    last = None
    with slimcap.RingSource(interface, filter="udp") as source:
        ended = threading.Event()
        changing = threading.Thread(target=replace_filters, args=(source, calls, interval, lasted, ended))
        when_input_ends(source.stop, live_readers.SILENCE)
        ready()
        changing.start()
        for batch in source.batches():
            numbers = places(batch)
            if last is not None:
                numbers = np.concatenate(([last], numbers))
            wrong += int(((np.diff(numbers) - 1) % (2 * FLOWS) != 0).sum())
            last = int(numbers[-1])
            packets += len(batch)
            del batch
        ended.set()
        changing.join()
        dropped = source.total_stats.packets_dropped
    return {"packets": packets, "dropped": dropped, "wrong": wrong, "lasted": lasted}


def places(batch: slimcap.Batch) -> Any:
    """Return where in the sender's order each packet is: 2 for each flow, one for each direction."""
    columns = batch.headers(["src_port", "dst_port"])
    src, dst = columns["src_port"].astype(np.int64), columns["dst_port"]
    return (np.maximum(src, dst) - 1024) * 2 + (src < dst)


def replace_filters(
    source: slimcap.RingSource, calls: int, interval: float, lasted: list[float], ended: threading.Event
) -> None:
    filters = ("udp", "udp port 53")
    for number in range(calls):
        if ended.wait(interval):
            return
        start = perf_counter()
        source.set_filter(filters[number % 2])
        lasted.append(perf_counter() - start)


TASKS: dict[str, Callable[..., Found]] = {
    "share_work": share_work,
    "count_packets": count_packets,
    "idle": idle,
    "appear": appear,
    "change_filter": change_filter,
}


if __name__ == "__main__":
    try:
        print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
    except (Unavailable, subprocess.TimeoutExpired) as reason:
        skip(reason)
