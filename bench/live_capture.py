"""Does capturing live with slimcap cost more than a C program over the same ring, and does it lose packets?

    python bench/live_capture.py --json live.json      measure, and print the tables (as root)
    python bench/live_capture.py --render live.json    write the tables into the READMEs

In a network namespace of its own, a sender on one CPU, and on another a reader at a time, each in a process
of its own, all of them once a round. A packet is 60 bytes of UDP over IPv4: 64 with the frame check sequence,
which a veth does not have. Also: how soon waiting readers wake up (latency.py), and what walking a block
costs without a kernel (walk_block.py).
"""

import argparse
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cable
import common
import latency
import programs
import walk_block
from live_readers import (
    BLOCK_SIZE,
    BLOCK_TIMEOUT_MS,
    FRAME_LEN,
    MESSAGES,
    NUM_BLOCKS,
    READERS,
    SNAPLEN,
    SOCKET_BUFFER,
    TCPDUMP,
)

PACKETS = {0: 2_000_000, 500_000: 500_000, 10_000: 5_000}  # of each rate, packets a second; 0: no limit
C_SUM, C_ROWS, C_SOCKET = "C ring, sum", "C ring, rows", "C recvmmsg, rows"
BATCHES, SOCKET_BATCHES = "RingSource batches", "SocketSource batches"
RING_READERS = [name for name, (kind, _, _) in READERS.items() if kind == "RingSource"]
NAMES = (C_SUM, C_ROWS, *RING_READERS, TCPDUMP, C_SOCKET, SOCKET_BATCHES)
SHOWN = (C_ROWS, BATCHES, "RingSource for packet", TCPDUMP, C_SOCKET, SOCKET_BATCHES)
CPUS = 2  # a sender and a reader; smoke.py looks for this
PROGRAMS = ("live_ring", "live_recvmmsg", "send_packets")
PATIENCE = 60  # seconds that any child may take
PACKAGES = ("numpy", "Cython", "slimcap")

Results = dict[str, Any]


@dataclass
class Bench:
    """Parameters of one capture."""

    programs: Mapping[str, Path]
    sending_cpu: int
    receiving_cpu: int
    sender: str = "xdp"

    def reader(self, name: str, count: int) -> list[str]:
        """The command line of a reader that waits for that many packets."""
        where = [cable.RECEIVING, str(count)]
        ring = [*where, str(BLOCK_SIZE), str(NUM_BLOCKS), str(BLOCK_TIMEOUT_MS)]
        if name in (C_SUM, C_ROWS):
            return [str(self.programs["live_ring"]), "sum" if name == C_SUM else "rows", *ring]
        if name == C_SOCKET:
            return [
                str(self.programs["live_recvmmsg"]),
                *where,
                str(MESSAGES),
                str(SNAPLEN),
                str(SOCKET_BUFFER),
            ]
        return [sys.executable, str(common.HERE / "live_readers.py"), name, *where]

    def send(self, count: int, rate: int) -> dict[str, Any]:
        program = [str(self.programs["send_packets"]), self.sender]
        sent: dict[str, Any] = common.run_child(
            [*program, cable.SENDING, str(count), str(rate)], [self.sending_cpu], PATIENCE
        )
        return sent


def prepare(folder: Path) -> Bench:
    """Lay the cable, build the programs, and find out how the kernel lets us send."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < CPUS:
        raise common.Unavailable("sender and reader need a CPU each")
    cable.lay()
    bench = Bench({name: programs.build_c(name, folder) for name in PROGRAMS}, cpus[0], cpus[-1])
    try:
        bench.send(1, 0)
    except common.Unavailable as reason:
        print(f"sending by sendmmsg: {reason}", file=sys.stderr)
        bench.sender = "sendmmsg"
    return bench


def capture(bench: Bench, name: str, count: int, rate: int) -> dict[str, Any]:
    """Have a reader capture what is sent; what it reports, and what was sent and arrived."""
    with subprocess.Popen(
        bench.reader(name, count),
        bufsize=0,  # or reading the first line would take the second with it, unseen by communicate()
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {bench.receiving_cpu}),
    ) as reader:
        try:
            arrived = -cable.arrived()
            sent = bench.send(count, rate) if is_ready(reader) else {}
            output, errors = reader.communicate(timeout=PATIENCE)
            arrived += cable.arrived()
        finally:
            reader.kill()
    if reader.returncode == common.SKIPPED:
        raise common.Unavailable(errors.decode().strip())
    if reader.returncode or not sent:
        raise RuntimeError(f"{name} failed with {reader.returncode}:\n{errors.decode()}")
    result: dict[str, Any] = json.loads(output)
    check(name, result, arrived)
    return result | {"sent": sent["offered"], "arrived": arrived, "seconds": sent["seconds"]}


def is_ready(reader: subprocess.Popen[bytes]) -> bool:
    assert reader.stdout is not None
    return (
        bool(select.select([reader.stdout], [], [], PATIENCE)[0]) and reader.stdout.readline() == b"ready\n"
    )


def check(name: str, found: Mapping[str, Any], arrived: int) -> None:
    """Every packet that arrived was read, or dropped by the kernel."""
    if found["sum"] != found["packets"] * FRAME_LEN or found["packets"] + found["dropped"] != arrived:
        raise AssertionError(f"{name} found {found} of {arrived} packets of {FRAME_LEN} bytes")


def capture_in_rounds(
    bench: Bench, names: Iterable[str], options: argparse.Namespace, missing: common.Missing
) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Every reader at every rate, once a round, so that a drift of the machine meets all of them alike."""
    names = list(names)
    found: dict[int, dict[str, list[dict[str, Any]]]] = {
        rate: {name: [] for name in names} for rate in PACKETS
    }
    for number in range(options.rounds):
        for rate, packets in PACKETS.items():
            for name in list(names):
                common.progress(f"round {number + 1} of {options.rounds}, {rate or 'all'} packets/s: {name}")
                try:
                    found[rate][name].append(capture(bench, name, common.scaled(packets, options), rate))
                except common.Unavailable as reason:
                    names.remove(name)
                    common.leave_out(name, reason, missing)
    common.progress("")
    return found


def measure_live(options: argparse.Namespace, missing: common.Missing) -> Results:
    """Measure all that requires the cable: captures and latencies."""
    names = [name for name in NAMES if not options.only or any(part in name for part in options.only)]
    if not names:
        raise SystemExit(
            f"no reader is called like {' or '.join(options.only)}; there are {', '.join(NAMES)}"
        )
    try:
        bench = prepare(options.dir)
    except common.Unavailable as reason:
        common.leave_out("all that is live", reason, missing)
        return {}
    found = capture_in_rounds(bench, names, options, missing)
    common.progress("latencies")
    samples = common.scaled(options.samples, options)
    command = [sys.executable, str(common.HERE / "latency.py"), "--child", "--rounds", str(samples)]
    waits = common.run_child(command, sorted(os.sched_getaffinity(0))) if options.samples else {}
    common.progress("")
    return {"sender": bench.sender, "rates": found, "latency": waits}


def measure_walk(options: argparse.Namespace, missing: common.Missing) -> Results:
    common.progress("walking blocks")
    command = [sys.executable, str(common.HERE / "walk_block.py"), "--child", "--dir", str(options.dir)]
    try:
        walked: Results = common.run_child([*command, "--scale", str(options.scale)], [common.default_cpu()])
        return walked
    except common.Unavailable as reason:
        common.leave_out("walking a block", reason, missing)
        return {}
    finally:
        common.progress("")


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    walk = measure_walk(options, missing)
    live = measure_live(options, missing)
    if not (walk or live):
        raise common.Unavailable("; ".join(missing))
    return common.new_results(
        __doc__, options, PACKAGES, frame=FRAME_LEN, walk=walk, live=live, missing=missing
    )


def cpu(runs: Iterable[Mapping[str, Any]]) -> list[float]:
    """CPU seconds for a million packets that were received, of each run."""
    return [run["cpu"] / max(1, run["packets"]) * 1e6 for run in runs]


def lost(runs: Iterable[Mapping[str, Any]]) -> str:
    runs = list(runs)
    dropped, arrived = (sum(run[key] for run in runs) for key in ("dropped", "arrived"))
    return f"{dropped / arrived * 100:.2g} %" if dropped else "0"


def ratios(found: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> tuple[str, str]:
    """To the C program that does the same: the ratio of the medians, and the median of the rounds' ratios."""
    base = C_SOCKET if name in (C_SOCKET, SOCKET_BATCHES) else C_ROWS
    return common.ratios(cpu(found[name]), cpu(found.get(base, ())))


def rate_table(found: Mapping[str, list[dict[str, Any]]]) -> str:
    header = ["reader", "arrived", "received", "dropped", "CPU s per million", "x C", "by round"]
    rows = []
    for name in filter(found.get, NAMES):
        runs = found[name]
        counts = [f"{median(run[key] for run in runs):,.0f}" for key in ("arrived", "packets")]
        rows.append([name, *counts, lost(runs), f"{median(cpu(runs)):.4f}", *ratios(found, name)])
    return common.table(header, rows)


def speed(found: Mapping[str, list[dict[str, Any]]]) -> float:
    """Packets a second that arrived."""
    return float(median(run["arrived"] / run["seconds"] for runs in found.values() for run in runs))


def rate_title(rate: str, found: Mapping[str, list[dict[str, Any]]], sender: str) -> str:
    if rate == "0":
        how = {"xdp": "XDP", "sendmmsg": "sendmmsg"}[sender]
        return f"**As fast as {how} sends**: {speed(found) / 1e6:.2f} million packets a second"
    return f"**{int(rate):,} packets a second**"


def short_table(results: Results) -> str:
    """The table for the project's README: CPU and losses of some readers."""
    live = results["live"]
    if not live:
        return "Not measured.\n"
    rates = {rate: found for rate, found in live["rates"].items() if rate != "10000"}
    header = ["CPU s per million packets (dropped)"]
    header += [f"{speed(found) / 1e6:.1f} M packets/s" for found in rates.values()]
    rows = []
    for name in SHOWN:
        if all(found.get(name) for found in rates.values()):
            cells = (f"{median(cpu(found[name])):.4f} ({lost(found[name])})" for found in rates.values())
            rows.append([name, *cells])
    return f"{common.table(header, rows)}\n\n{common.describe(results['machine'])}\n"


def render(results: Results) -> str:
    parts = []
    if live := results["live"]:
        for rate, found in live["rates"].items():
            parts += [rate_title(rate, found, live["sender"]), rate_table(found)]
        if live["latency"]:
            parts += ["**Waking up**", latency.table(live["latency"])]
    if results["walk"]:
        parts += ["**Walking blocks, without a kernel**", walk_block.table(results["walk"])]
    return common.document(results, parts)


def arguments() -> argparse.Namespace:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser)
    common.add_render(parser)
    add = parser.add_argument
    add("--samples", type=int, default=50, help="of each latency (50); 0 leaves them out")
    add("--only", nargs="+", default=[], metavar="PART", help="only readers with this in their names")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    common.finish(options, run, render, "live_capture", ("bench live", short_table))


if __name__ == "__main__":
    main()
