"""How near to a C program is getting header columns out of a capture file, and how far from other ways?

    python bench/headers.py --json results.json      measure, and print the tables
    python bench/headers.py --render results.json    write the tables into bench/README.md

As in read_pcap.py: each in a process of its own on one CPU, once a round, from opening the file to its end.
The C program, c/headers.c, writes the same columns into a reused array; "rows and 5-tuple" writes slimcap's
row of each packet, too, which slimcap always makes. Sums of source ports over the whole file are checked.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

import common
import programs
import reading
from captures import Capture, warm, write
from header_readers import READERS

C_FIVE, C_ROWS_FIVE, C_ALL = "C 5-tuple", "C rows and 5-tuple", "C all columns"
C_MODES = {C_FIVE: "five", C_ROWS_FIVE: "rows-five", C_ALL: "all"}
FEW = {"dpkt": 200_000, "scapy": 5_000, "tshark -T fields": 50_000}  # they read only the first packets
PACKAGES = ("numpy", "Cython", "slimcap", "dpkt", "scapy", "pcapy-ng")

Results = dict[str, Any]


def commands(file: Capture, program: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    found = {name: [str(program), mode, str(file.path)] for name, mode in C_MODES.items()}
    for name in READERS:
        count = min(common.scaled(FEW[name], options), file.packets) if name in FEW else file.packets
        script = str(common.HERE / "header_readers.py")
        found[name] = [sys.executable, script, name, str(file.path), str(count)]
    return found


def check(name: str, found: list[dict[str, Any]], expected: int, packets: int) -> None:
    """All of a file adds up to the same everywhere."""
    if any(run["packets"] != packets or run["sum"] != expected for run in found):
        raise AssertionError(f"{name} found {found}, not {packets} packets and a sum of {expected}")


def measure(file: Capture, options: argparse.Namespace, program: Path, missing: common.Missing) -> Results:
    write(file)
    warm(file.path)
    found = common.rounds(commands(file, program, options), options.rounds, [options.cpu], missing)
    expected = found[C_FIVE][0]["sum"]
    for name, runs in found.items():
        if name not in FEW:
            check(name, runs, expected, file.packets)
    ns = common.ns_per_packet(found)
    return {"title": file.title, "packets": file.packets, "bytes": file.size, "ns_per_packet": ns}


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    program = programs.build_c("headers", options.dir)
    files = {file.name: measure(file, options, program, missing) for file in reading.files(options)}
    return common.new_results(__doc__, options, PACKAGES, files=files, missing=missing)


def columns_table(ns: dict[str, list[float]]) -> str:
    bases = (C_FIVE, C_ROWS_FIVE, C_ALL)
    header = ["header columns", "ns a packet", *(f"x {base}" for base in bases), "x slimcap 5-tuple"]
    rows = []
    for name, times in ns.items():
        ratios = [common.median_of_ratios(times, ns[base]) for base in (*bases, "slimcap 5-tuple")]
        rows.append([name, f"{median(times):.1f}", *(f"{ratio:.2f}" for ratio in ratios)])
    return common.table(header, rows)


def render(results: Results) -> str:
    parts = []
    for name, file in results["files"].items():
        parts += [f"**{name}**: {file['title']}", columns_table(file["ns_per_packet"])]
    return common.document(results, parts, " Ratios are by round.")


def main() -> None:
    options = reading.new_parser(__doc__).parse_args()
    common.finish(options, run, render, "headers")


if __name__ == "__main__":
    main()
