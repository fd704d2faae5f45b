"""How near to a C program is making flow records of a capture file?

    python bench/flow_records.py --json results.json      measure, and print the tables
    python bench/flow_records.py --render results.json    write the tables into bench/README.md

As in read_pcap.py: each in a process of its own on one CPU, once a round, from opening the file to its end.
The C program, c/flows.c, has the same key, records, timeouts and size of the table. Packets go in both
directions. "slimcap rows" reads the file without a table. The sums of bytes over all records are checked.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

import common
import programs
from captures import Capture, capture, warm, write
from flow_readers import MAX_FLOWS, READERS

FILES = (("a", 1_000), ("b", 50_000), ("b", 1_000_000))  # a capture and its number of flows
C_FLOWS = "C flows"
PACKAGES = ("numpy", "Cython", "slimcap")

Results = dict[str, Any]


def commands(file: Capture, program: Path) -> dict[str, list[str]]:
    found = {C_FLOWS: [str(program), str(file.path), str(MAX_FLOWS)]}
    script = str(common.HERE / "flow_readers.py")
    return found | {
        name: [sys.executable, script, name, str(file.path), str(file.packets)] for name in READERS
    }


def measure(file: Capture, options: argparse.Namespace, program: Path, missing: common.Missing) -> Results:
    write(file)
    warm(file.path)
    found = common.rounds(commands(file, program), options.rounds, [options.cpu], missing)
    expected = file.total(file.packets)
    for name, runs in found.items():
        if any(run["sum"] != expected for run in runs):
            raise AssertionError(f"{name} found {runs}, not {expected} bytes")
    return {"title": file.title, "packets": file.packets, "ns_per_packet": common.ns_per_packet(found)}


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    program = programs.build_c("flows", options.dir)
    files = {}
    for name, flows in FILES:
        flows = max(1, round(flows * options.scale))
        file = capture(name, options.dir, scale=options.scale, flows=flows)
        files[file.title] = measure(file, options, program, missing)
    return common.new_results(__doc__, options, PACKAGES, files=files, missing=missing)


def render(results: Results) -> str:
    parts = []
    for title, file in results["files"].items():
        ns = file["ns_per_packet"]
        rows = [
            [name, f"{median(times):.1f}", *common.ratios(times, ns.get(C_FLOWS))]
            for name, times in ns.items()
        ]
        parts += [f"**{title}**", common.table(["", "ns a packet", f"x {C_FLOWS}", "by round"], rows)]
    return common.document(results, parts)


def main() -> None:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 5)
    common.add_render(parser)
    common.add_cpu(parser)
    common.finish(parser.parse_args(), run, render, "flow_records")


if __name__ == "__main__":
    main()
