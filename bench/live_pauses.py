"""How long may a live reader pause before packets are lost, at several rates?

tcpdump and dumpcap have the buffer that is their default, and that of RingSource's default. Packets of 64 to
700 bytes (344 on average) come at a constant rate, before, during and after one pause. RingSource pauses as a
program does that has something else to do: it sleeps after a batch. tcpdump and dumpcap are stopped with
SIGSTOP and continued with SIGCONT. The table has the packets lost: those that arrived, less those that were
read, or written, until the end.

With a --scale below 1 only the shortest pause at the highest rate is measured, and it is shorter.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cable
import common
import programs

import slimcap

RATES = (1_000, 10_000, 100_000)  # packets a second
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds
BEFORE, AFTER = 0.2, 0.3  # seconds of traffic around a pause
CPUS = 2  # a sender and a reader; smoke.py looks for this
PATIENCE = 60  # seconds that any child may take
PACKAGES = ("numpy", "Cython", "slimcap")

Results = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """Another program: how it is started, what it prints when it is ready, and at the end."""

    command: Sequence[str]
    ready: str
    count: str
    silence: float  # seconds after the last packet until it has read the last block


TCPDUMP = Peer(
    ("tcpdump", "-Z", "root", "-w", "/dev/null", "-i"), "listening on", r"(\d+) packets? captured", 1.5
)
DUMPCAP = Peer(("dumpcap", "-q", "-w", "/dev/null", "-i"), "File: ", r"Packets captured: (\d+)", 0.6)
READERS: dict[str, tuple[Peer | None, Any]] = {
    "RingSource": (None, {}),
    'RingSource, buffer="16MiB"': (None, {"buffer": "16MiB"}),
    "tcpdump": (TCPDUMP, ()),
    "tcpdump -B 65536 (64 MiB)": (TCPDUMP, ("-B", "65536")),
    "dumpcap": (DUMPCAP, ()),
    "dumpcap -B 64 (64 MiB)": (DUMPCAP, ("-B", "64")),
}


# ---- a reader in a separate process: it prints "ready", pauses at a line of input, and ends with the input


def run_slimcap(interface: str, pause: float, options: Mapping[str, Any]) -> dict[str, Any]:
    packets = 0
    asked = threading.Event()
    with slimcap.RingSource(interface, auto_filter=False, **options) as source:

        def listen() -> None:
            for _ in sys.stdin:
                asked.set()
            source.stop()

        threading.Thread(target=listen, daemon=True).start()
        print("ready", flush=True)
        for batch in source.batches():
            packets += len(batch)
            del batch
            if asked.is_set():
                asked.clear()
                time.sleep(pause)
        dropped = source.total_stats.packets_dropped
    return {"packets": packets, "dropped": dropped}


def run_peer(interface: str, pause: float, peer: Peer, options: Sequence[str]) -> dict[str, Any]:
    common.find_program(peer.command[0])
    command = [*peer.command, interface, *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = common.wait_for(peer.ready, process.stderr)
        print("ready", flush=True)
        for _ in sys.stdin:
            process.send_signal(signal.SIGSTOP)
            time.sleep(pause)
            process.send_signal(signal.SIGCONT)
        time.sleep(peer.silence)
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    found = re.search(peer.count, said)
    if found is None:
        raise RuntimeError(f"{peer.command[0]} said nothing like {peer.count!r}: {said}")
    return {"packets": int(found[1])}


def run_child(name: str, interface: str, pause: float) -> None:
    peer, options = READERS[name]
    try:
        if peer is None:
            print(json.dumps(run_slimcap(interface, pause, options)))
        else:
            print(json.dumps(run_peer(interface, pause, peer, options)))
    except common.Unavailable as reason:
        common.skip(reason)


# ---- measuring


@dataclass(frozen=True)
class Bench:
    """Parameters of one capture."""

    sender: Path
    sending_cpu: int
    receiving_cpu: int


def prepare(folder: Path) -> Bench:
    """Lay the cable, and build the sender."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < CPUS:
        raise common.Unavailable("sender and reader need a CPU each")
    cable.lay()
    return Bench(programs.build_c("send_packets", folder), cpus[0], cpus[-1])


def lose(bench: Bench, name: str, rate: int, pause: float) -> dict[str, Any]:
    """Let a reader pause once in the traffic; return how many packets arrived, and were lost."""
    with reading(bench, name, pause) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        if reader.stdout.readline() == "ready\n":
            arrived = -cable.arrived()
            with sending(bench, rate, BEFORE + pause + AFTER) as sender:
                time.sleep(BEFORE)
                reader.stdin.write("pause\n")
                reader.stdin.flush()
                sender.communicate(timeout=PATIENCE)
            arrived += cable.arrived()
        output, errors = reader.communicate(timeout=PATIENCE)
    if reader.returncode == common.SKIPPED:
        raise common.Unavailable(errors.strip())
    if reader.returncode:
        raise RuntimeError(f"{name} failed with {reader.returncode}:\n{errors}")
    found: dict[str, Any] = json.loads(output)
    lost = arrived - found["packets"]
    if lost < 0 or found.get("dropped", lost) != lost:
        raise AssertionError(f"{name} found {found} of {arrived} packets")
    return {"arrived": arrived, "lost": lost}


@contextlib.contextmanager
def reading(bench: Bench, name: str, pause: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--child", name, "--pause", str(pause)]
    with pinned(command, bench.receiving_cpu) as process:
        yield process


@contextlib.contextmanager
def sending(bench: Bench, rate: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [str(bench.sender), "mixed", cable.SENDING, str(round(rate * seconds)), str(rate)]
    with pinned(command, bench.sending_cpu) as process:
        yield process


@contextlib.contextmanager
def pinned(command: Sequence[str], cpu: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process on a CPU; kill it if it has not ended afterwards."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    names = [name for name in READERS if not options.only or any(part in name for part in options.only)]
    pauses, rates = (PAUSES, RATES) if options.scale >= 1 else (PAUSES[:1], RATES[-1:])
    bench = prepare(options.dir)
    found: dict[str, dict[str, list[Any]]] = {}
    for number in range(options.rounds):
        for rate in rates:
            for pause in (pause * options.scale for pause in pauses):
                for name in list(names):
                    common.progress(f"round {number + 1}, {rate:,} packets/s, {pause:g} s: {name}")
                    try:
                        lost = lose(bench, name, rate, pause)
                    except common.Unavailable as reason:
                        names.remove(name)
                        common.leave_out(name, reason, missing)
                        continue
                    found.setdefault(name, {}).setdefault(f"{rate} {pause:g}", []).append(lost)
    common.progress("")
    if not found:
        raise common.Unavailable(
            "; ".join(missing) or f"no reader is called like {' or '.join(options.only)}"
        )
    return common.new_results(__doc__, options, PACKAGES, lost=found, missing=missing)


# ---- tables


def rate_table(found: Mapping[str, Mapping[str, Sequence[Mapping[str, int]]]], rate: str) -> str:
    pauses = [cell.split()[1] for cell in next(iter(found.values())) if cell.split()[0] == rate]
    rows = []
    for name, cells in found.items():
        runs = [cells[f"{rate} {pause}"] for pause in pauses]
        rows.append([name, *(f"{median(run['lost'] for run in one):,.0f}" for one in runs)])
    arrived = [
        f"{run['arrived']:,}" for run in (next(iter(found.values()))[f"{rate} {p}"][0] for p in pauses)
    ]
    header = [f"lost of {int(rate):,} packets/s", *(f"{pause} s" for pause in pauses)]
    return common.table(header, [*rows, ["packets that arrived", *arrived]])


def render(results: Results) -> str:
    found = results["lost"]
    rates = dict.fromkeys(cell.split()[0] for cell in next(iter(found.values())))
    return common.document(results, [rate_table(found, rate) for rate in rates])


def arguments() -> argparse.Namespace:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 3)
    common.add_render(parser)
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="PART", help="only readers with this in their names")
    add("--child", metavar="NAME", help=argparse.SUPPRESS)
    add("--pause", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child:
        run_child(options.child, cable.RECEIVING, options.pause)
        return
    common.finish(options, run, render, "live_pauses")


if __name__ == "__main__":
    main()
