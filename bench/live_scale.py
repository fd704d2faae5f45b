"""How does live capture scale: to two workers, many interfaces, other filters, and files?

    python bench/live_scale.py --json scale.json       measure, and print the tables (as root)
    python bench/live_scale.py --render scale.json     write them into the READMEs
    python bench/live_scale.py --only workers record

In a separate network namespace. Packets are 60 bytes of UDP over IPv4, or 344 on average if they are
recorded. What a pause of the reader costs is in live_pauses.py.
"""

import argparse
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

import cable
import common
import programs
import recorders
import scale_readers
from live_readers import BLOCK_SIZE, BLOCK_TIMEOUT_MS, NUM_BLOCKS

MIB = 1 << 20
CPUS = 2  # smoke.py looks for this
PATIENCE = 60  # seconds that any child may take
PACKAGES = ("numpy", "slimcap", "zstandard")
C_PROGRAMS = ("live_ring", "send_packets")

SHARED, SHARED_BUFFER = 2_400_000, 512 * MIB  # packets, and the rings of all workers that hold them
WORKERS = (1, 2)
INTERFACES, RATE, SECONDS = 20, 200_000, 3  # packets a second over all interfaces
ONE_BUFFER, MANY_BUFFER = NUM_BLOCKS * BLOCK_SIZE, 16 * MIB  # bytes of a ring
IDLE, IDLE_BUFFER, IDLE_SECONDS = 200, MIB, 5.0
APPEARING = 20  # times
FILTERS, FILTER_INTERVAL = 1000, 0.001  # calls, seconds between two
FILTER_RATES = (0, 600_000, 400_000, 300_000, 200_000, 100_000)  # packets a second; 0: as fast as it goes
RECORDED = 1_000_000  # packets

Results = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """Programs, options and CPUs of all parts."""

    programs: Mapping[str, Path]
    options: argparse.Namespace
    missing: common.Missing
    sending_cpu: int
    receiving_cpu: int

    def send(self, mode: str, interfaces: str, count: int, rate: int = 0) -> Any:
        command = [str(self.programs["send_packets"]), mode, interfaces, str(count), str(rate)]
        return common.run_child(command, [self.sending_cpu], PATIENCE)

    def read(self, task: str, options: Mapping[str, Any], cpus: set[int] | None = None) -> "Reader":
        """Start a task of scale_readers.py, by default on the receiving CPU."""
        command = [sys.executable, str(common.HERE / "scale_readers.py"), task, json.dumps(options)]
        return Reader(task, command, cpus or {self.receiving_cpu})

    def rounds(self, what: str) -> Iterator[int]:
        for number in range(self.options.rounds):
            common.progress(f"{what}, round {number + 1} of {self.options.rounds}")
            yield number
        common.progress("")


class Reader:
    """A reader in a separate process: it is ready inside of `with`, and `result` lets it end."""

    def __init__(self, name: str, command: Sequence[str], cpus: set[int]) -> None:
        self.name, self._command, self._cpus = name, command, cpus

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._command,
            bufsize=0,  # or reading the first line would take the second with it
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            preexec_fn=lambda: os.sched_setaffinity(0, self._cpus),
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        with self._process:
            self._process.kill()

    def _wait_until_ready(self) -> None:
        output = self._process.stdout
        assert output is not None
        if not (select.select([output], [], [], PATIENCE)[0] and output.readline() == b"ready\n"):
            self.result()
            raise RuntimeError(f"{self.name} did not get ready")

    def result(self) -> Any:
        """Let the reader end; return what it printed."""
        output, errors = self._process.communicate(timeout=PATIENCE)
        if self._process.returncode == common.SKIPPED:
            raise common.Unavailable(errors.decode().strip())
        if self._process.returncode:
            raise RuntimeError(f"{self.name} failed with {self._process.returncode}:\n{errors.decode()}")
        return json.loads(output)


def check(name: str, found: Mapping[str, Any], arrived: int) -> None:
    """Every packet that arrived was read, or dropped by the kernel."""
    if found["packets"] + found["dropped"] != arrived:
        raise AssertionError(f"{name} found {found} of {arrived} packets")


# ---- workers


def measure_workers(bench: Bench) -> Results:
    """Let packets pile up in the rings; time how long one worker, and several, take for them."""
    found: dict[str, list[Any]] = {str(workers): [] for workers in WORKERS}
    count = common.scaled(SHARED, bench.options)
    buffer = max(len(WORKERS) * 16 * MIB, common.scaled(SHARED_BUFFER, bench.options))
    for _ in bench.rounds("workers"):
        for workers in WORKERS:
            arrived = -cable.arrived()
            cpus = {bench.sending_cpu, bench.receiving_cpu}
            task = {"interface": cable.RECEIVING, "workers": workers, "buffer": buffer}
            with bench.read("share_work", task, cpus) as reader:
                bench.send("flows", cable.SENDING, count)
                arrived += cable.arrived()
                result = reader.result()
            check(f"{workers} workers", result, arrived)
            found[str(workers)].append(result)
    return {"runs": found, "flows": min(scale_readers.FLOWS, count // 2)}


def workers_table(found: Results) -> str:
    one = [run["seconds"] / run["packets"] for run in found["runs"]["1"]]
    rows = []
    for workers, runs in found["runs"].items():
        each = [run["seconds"] / run["packets"] for run in runs]
        cpu, busiest = (median(run[key] / run["packets"] for run in runs) * 1e9 for key in ("cpu", "busiest"))
        whole = min(run["whole"] for run in runs) / found["flows"]
        share = median(run["least"] / run["packets"] for run in runs)
        speed = common.ratios(one, each)
        cells = (
            f"{median(each) * 1e9:.0f}",
            *speed,
            f"{cpu:.0f}",
            f"{busiest:.0f}",
            f"{share:.1%}",
            f"{whole:.2%}",
        )
        rows.append([workers, *cells, f"{sum(run['dropped'] for run in runs):,}"])
    header = ["workers", "ns a packet", "times as fast", "by round", "CPU, ns a packet"]
    return common.table(
        [*header, "busiest worker", "least share of a worker", "whole flows", "dropped"], rows
    )


# ---- several interfaces

C_ONE, C_MANY = "C ring, 1 interface", f"C ring, {INTERFACES} interfaces"
ONE, GROUP_OF_ONE = "RingSource, 1 interface", "InterfacesSource, 1 interface"
MANY, MANY_SLOW = (f"InterfacesSource, {INTERFACES} interfaces{what}" for what in ("", ", latency=0.2"))


def measure_interfaces(bench: Bench) -> Results:
    """The same packets over one interface and over several, read by one thread."""
    sending, receiving = (
        [f"{end}{n}" for n in range(INTERFACES)] for end in (cable.SENDING, cable.RECEIVING)
    )
    cable.lay_pairs(sending, receiving)
    count = common.scaled(RATE * SECONDS, bench.options)
    one, many = ([cable.SENDING], [cable.RECEIVING]), (sending, receiving)
    group = {"interfaces": one[1], "buffer": ONE_BUFFER}
    groups = {"interfaces": receiving, "buffer": MANY_BUFFER}
    readers = {
        C_ONE: (c_reader(bench, *one[1], count=count), *one),
        ONE: (slimcap_reader(bench, count), *one),
        GROUP_OF_ONE: (bench.read("count_packets", group), *one),
        C_MANY: (c_reader(bench, *receiving, count=count), *many),
        MANY: (bench.read("count_packets", groups), *many),
        MANY_SLOW: (bench.read("count_packets", {**groups, "latency": 0.2}), *many),
    }
    found: dict[str, list[Any]] = {name: [] for name in readers}
    for _ in bench.rounds("interfaces"):
        for name, (reader, out_of, into) in readers.items():
            arrived = -cable.arrived(*into)
            with reader:
                bench.send("sendmmsg", ",".join(out_of), count, RATE)
                result = reader.result()
            check(name, result, arrived + cable.arrived(*into))
            found[name].append(result)
    cable.ip_batch([f"link delete {name}" for name in sending])
    return found


def c_reader(bench: Bench, *interfaces: str, count: int) -> Reader:
    blocks = (ONE_BUFFER if len(interfaces) == 1 else MANY_BUFFER) // BLOCK_SIZE
    shape = [str(number) for number in (count, BLOCK_SIZE, blocks, BLOCK_TIMEOUT_MS)]
    command = [str(bench.programs["live_ring"]), "rows", ",".join(interfaces), *shape]
    return Reader("the C program", command, {bench.receiving_cpu})


def slimcap_reader(bench: Bench, count: int) -> Reader:
    program = [sys.executable, str(common.HERE / "live_readers.py")]
    return Reader(ONE, [*program, "RingSource batches", cable.RECEIVING, str(count)], {bench.receiving_cpu})


def interfaces_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    cpu = {name: [run["cpu"] / run["packets"] * 1e6 for run in runs] for name, runs in found.items()}
    rows = []
    for name, each in cpu.items():
        base = C_ONE if name in (C_ONE, ONE, GROUP_OF_ONE) else C_MANY
        ratios = *common.ratios(each, cpu[ONE]), *common.ratios(each, cpu[base])
        rows.append([name, f"{median(each):.4f}", *ratios, f"{sum(run['dropped'] for run in found[name]):,}"])
    header = [f"{RATE:,} packets/s", "CPU s per million", "x RingSource", "by round", "x C", "by round"]
    return common.table([*header, "dropped"], rows)


# ---- waiting: interfaces without packets, and those that appear


def measure_waiting(bench: Bench) -> Results:
    pairs = max(1, min(IDLE, common.scaled(IDLE, bench.options)) // 2)
    names = [f"idle{number}" for number in range(2 * pairs)]
    cable.lay_pairs(names[::2], names[1::2])
    seconds = IDLE_SECONDS * min(1, max(0.1, bench.options.scale))
    runs = []
    for _ in bench.rounds("idle interfaces"):
        with bench.read("idle", {"interfaces": names, "buffer": IDLE_BUFFER, "seconds": seconds}) as reader:
            runs.append(reader.result())
    cable.ip_batch([f"link delete {name}" for name in names[::2]])
    common.progress("interfaces that appear")
    with bench.read("appear", {"times": max(2, common.scaled(APPEARING, bench.options))}) as reader:
        waits = reader.result()["waits"]
    common.progress("")
    return {"interfaces": len(names), "idle": runs, "waits": waits}


def waiting_table(found: Results) -> str:
    count, idle, waits = found["interfaces"], found["idle"], found["waits"]
    percent = [run["cpu"] / run["seconds"] * 100 for run in idle]
    milliseconds = [wait * 1000 for wait in waits]
    rows: dict[str, tuple[list[float], int]] = {
        f"CPU time while {count} interfaces are idle, %": (percent, 3),
        f"opening {count} interfaces, ms": ([run["opening"] * 1000 for run in idle], 0),
        f"closing {count} interfaces, ms": ([run["closing"] * 1000 for run in idle], 0),
        "`ip link set up` of a new interface until its first packet, ms": (milliseconds, 1),
    }
    cells = [
        [name, f"{median(each):.{digits}f}", f"{max(each):.{digits}f}", str(len(each))]
        for name, (each, digits) in rows.items()
    ]
    return common.table(["InterfacesSource", "median", "worst", "of"], cells)


# ---- filters


def measure_filter(bench: Bench) -> Results:
    """Find the highest rate that loses nothing; then replace the filter at this rate."""
    calls = common.scaled(FILTERS, bench.options)
    seconds = calls * FILTER_INTERVAL * 1.5 + 0.1
    run: Results = {}
    for rate in FILTER_RATES:
        common.progress(f"filters, {rate:,} packets/s")
        count = round((rate or 1_000_000) * seconds)
        if not replace_filters(bench, 0, count, rate)["dropped"]:
            run = replace_filters(bench, calls, count, rate)
            if not run["dropped"]:
                break
    common.progress("")
    return run


def replace_filters(bench: Bench, calls: int, count: int, rate: int) -> Results:
    arrived = -cable.arrived()
    task = {"interface": cable.RECEIVING, "calls": calls, "interval": FILTER_INTERVAL}
    with bench.read("change_filter", task) as reader:
        sent = bench.send("flows", cable.SENDING, count, rate)
        result = reader.result()
    return {**result, "arrived": arrived + cable.arrived(), "seconds": sent["seconds"]}


def filter_table(run: Results) -> str:
    header = ["set_filter", "packets/s", "packets", "lost", "out of order, or doubled", "ms a call", "worst"]
    lasted = [one * 1000 for one in run["lasted"]]
    cells = [
        f"{len(lasted):,} calls",
        f"{run['arrived'] / run['seconds']:,.0f}",
        f"{run['arrived']:,}",
        f"{run['arrived'] - run['packets']:,}",
        f"{run['wrong']:,}",
        f"{median(lasted):.3f}",
        f"{max(lasted):.3f}",
    ]
    return common.table(header, [cells])


# ---- files


def measure_record(bench: Bench) -> Results:
    """Record as fast as packets are sent."""
    count = common.scaled(RECORDED, bench.options)
    found: dict[str, list[Any]] = {}
    names = list(recorders.RECORDERS)
    for _ in bench.rounds("files"):
        for name in list(names):
            arrived = -cable.arrived()
            try:
                run = recorders.record(
                    recorders.RECORDERS[name],
                    cable.RECEIVING,
                    bench.options.dir,
                    {bench.receiving_cpu},
                    lambda: bench.send("mixed", cable.SENDING, count),
                )
            except common.Unavailable as reason:
                names.remove(name)
                common.leave_out(name, reason, bench.missing)
                continue
            run["arrived"] = arrived + cable.arrived()
            run["lost"] = run["arrived"] - run["packets"]
            found.setdefault(name, []).append(run)
    return found


def record_cpu(runs: Sequence[Mapping[str, Any]]) -> float:
    """Return the CPU seconds for a million packets in the file."""
    return float(median(run["cpu"] / max(1, run["packets"]) for run in runs) * 1e6)


def record_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = []
    for name, runs in found.items():
        lost = [run["lost"] for run in runs]
        cells = [
            f"{median(run['arrived'] / run['sent']['seconds'] for run in runs):,.0f}",
            f"{median(run['packets'] for run in runs):,.0f}",
            f"{median(lost):,.0f}",
            f"{max(lost):,}",
            f"{record_cpu(runs):.3f}",
            f"{median(run['bytes'] for run in runs) / 1e6:,.0f}",
        ]
        rows.append([name, *cells])
    header = ["recorder", "packets/s", "in the file", "lost", "worst", "CPU s per million", "MB"]
    return common.table(header, rows)


def short_table(results: Results) -> str:
    """Make the table for the project's README: what recording takes."""
    found = results["parts"].get("record")
    if not found:
        return "Not measured.\n"
    rows = []
    for name, runs in found.items():
        lost, arrived = (sum(run[key] for run in runs) for key in ("lost", "arrived"))
        rows.append([name, f"{record_cpu(runs):.3f}", f"{lost / arrived:.2%}"])
    table = common.table(["program", "CPU s per million packets", "lost"], rows)
    return f"{table}\n\n{common.describe(results['machine'])}\n"


# ---- all of them

PARTS: dict[str, tuple[str, Callable[[Bench], Results], Callable[[Any], str]]] = {
    "workers": ("Packets that wait in the rings", measure_workers, workers_table),
    "interfaces": ("One thread, several interfaces", measure_interfaces, interfaces_table),
    "waiting": ("Waiting", measure_waiting, waiting_table),
    "filter": ("Another filter while packets come", measure_filter, filter_table),
    "record": ("Recording as fast as packets come", measure_record, record_table),
}


def prepare(options: argparse.Namespace, missing: common.Missing) -> Bench:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < CPUS:
        raise common.Unavailable("sender and reader need a CPU each")
    cable.lay()
    built = {name: programs.build_c(name, options.dir) for name in C_PROGRAMS}
    return Bench(built, options, missing, cpus[0], cpus[-1])


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    bench = prepare(options, missing)
    found = {}
    for part in options.only or PARTS:
        try:
            found[part] = PARTS[part][1](bench)
        except common.Unavailable as reason:
            common.leave_out(part, reason, missing)
    if not any(found.values()):
        raise common.Unavailable("; ".join(missing))
    return common.new_results(__doc__, options, PACKAGES, parts=found, missing=missing)


def render(results: Results) -> str:
    parts = []
    for part, found in results["parts"].items():
        if found:
            title, _, table = PARTS[part]
            parts += [f"**{title}**", table(found)]
    return common.document(results, parts)


def arguments() -> argparse.Namespace:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 3)
    common.add_render(parser)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    return parser.parse_args()


def main() -> None:
    common.finish(arguments(), run, render, "live_scale", ("bench record", short_table))


if __name__ == "__main__":
    main()
