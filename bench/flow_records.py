"""How near to a C program is making flow records of a capture file, and how far from other programs?

    python bench/flow_records.py --json results.json      measure, and print the tables
    python bench/flow_records.py --render results.json    write the tables into bench/README.md

As in read_pcap.py: each in a process of its own on one CPU, once a round, from opening the file to its end.
The C program, c/flows.c, has the same key, records, timeouts and size of the table. Packets go in both
directions. "All features" are lengths, inter-arrival times, flags, payload and the SPLT of 10 packets.
"slimcap rows" reads the file without a table. The sums of bytes over all records are checked.

Other programs, flow_peers.py, are compared by CPU time, user and system: of a whole program, and of what uses
Python from opening the file to its end.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

import common
import programs
from captures import Capture, capture, warm, write
from flow_peers import PEERS, versions
from flow_readers import MAX_FLOWS, READERS

FILES = (("a", 1_000), ("b", 50_000), ("b", 1_000_000))  # a capture and its number of flows
C_FLOWS, SLIMCAP = "C flows", "slimcap flows"
PACKAGES = ("numpy", "Cython", "slimcap", "nfstream")

Results = dict[str, Any]


def commands(file: Capture, program: Path) -> dict[str, list[str]]:
    found = {C_FLOWS: [str(program), str(file.path), str(MAX_FLOWS)]}
    for script, names in (("flow_readers.py", READERS), ("flow_peers.py", PEERS)):
        for name in names:
            start = [sys.executable, str(common.HERE / script)]
            found[name] = [*start, name, str(file.path), str(file.packets)]
    return found


def measure(file: Capture, options: argparse.Namespace, program: Path, missing: common.Missing) -> Results:
    write(file)
    warm(file.path)
    found = common.rounds(commands(file, program), options.rounds, [options.cpu], missing)
    expected = file.total(file.packets)
    for name, runs in found.items():
        if any(run["sum"] != expected for run in runs):
            raise AssertionError(f"{name} found {runs}, not {expected} bytes")
    ns = common.ns_per_packet({name: runs for name, runs in found.items() if name not in PEERS})
    cpu = {
        name: [{"cpu": run["cpu"], "packets": file.packets} for run in found[name]]
        for name in (C_FLOWS, SLIMCAP, *PEERS)
        if name in found
    }
    return {"title": file.title, "packets": file.packets, "ns_per_packet": ns, "cpu": cpu}


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    program = programs.build_c("flows", options.dir)
    files = {}
    for name, flows in FILES:
        flows = max(1, round(flows * options.scale))
        file = capture(name, options.dir, scale=options.scale, flows=flows)
        files[file.title] = measure(file, options, program, missing)
    results = common.new_results(__doc__, options, PACKAGES, files=files, missing=missing)
    results["machine"]["versions"] |= versions()
    return results


def cpu_table(found: dict[str, list[dict[str, float]]]) -> str:
    """Make the table of CPU seconds for a million packets, next to those of slimcap."""
    cpu = {name: [run["cpu"] / run["packets"] * 1e6 for run in runs] for name, runs in found.items()}
    rows = [
        [name, f"{median(seconds):.3f}", *common.ratios(seconds, cpu.get(SLIMCAP))]
        for name, seconds in cpu.items()
    ]
    return common.table(["", "CPU s a million packets", f"x {SLIMCAP}", "by round"], rows)


def render(results: Results) -> str:
    parts = []
    for title, file in results["files"].items():
        ns = file["ns_per_packet"]
        rows = [
            [name, f"{median(times):.1f}", *common.ratios(times, ns.get(C_FLOWS))]
            for name, times in ns.items()
        ]
        parts += [f"**{title}**", common.table(["", "ns a packet", f"x {C_FLOWS}", "by round"], rows)]
        parts.append(cpu_table(file["cpu"]))
    return common.document(results, parts)


def main() -> None:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 5)
    common.add_render(parser)
    common.add_cpu(parser)
    common.finish(parser.parse_args(), run, render, "flow_records")


if __name__ == "__main__":
    main()
