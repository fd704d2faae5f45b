"""How much faster than tcpdump does slimcap filter a file?

    python bench/filter.py --json results.json      measure, and print the table
    python bench/filter.py --render results.json    write the table into bench/README.md

Each runs in a process of its own on one CPU, once a round, over a file in the page cache. slimcap adds up the
lengths of what matches, tcpdump writes it to /dev/null. Starting is in neither time: what tcpdump takes for a
file without packets is taken off. That both find the same is checked before.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import common
from captures import FILE_HEADER, RECORD_HEADER, capture, warm, write

EXPRESSIONS = ("udp", "udp port 53", "tcp port 80", "src net 10.0.0.0/17 and udp src portrange 1024-30000")
READERS = ("slimcap", "tcpdump")

Results = dict[str, Any]


def slimcap_matches(path: str, expression: str) -> Results:
    slimcap = import_module("slimcap")
    packets = total = 0
    start = perf_counter()
    with slimcap.open_file(path, filter=expression) as source:
        for batch in source.batches():
            packets += len(batch)
            total += int(batch["total_len"].sum())
    return {"seconds": perf_counter() - start, "matched": packets, "sum": total}


def tcpdump_matches(path: str, expression: str) -> Results:
    """Run it over the file, and over one that has the header alone."""
    with tempfile.NamedTemporaryFile() as empty:
        empty.write(FILE_HEADER)
        empty.flush()
        return {"seconds": seconds_of(path, expression) - seconds_of(empty.name, expression)}


def seconds_of(path: str, expression: str) -> float:
    start = perf_counter()
    subprocess.run(tcpdump(path, "/dev/null", expression), stderr=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def tcpdump(path: str, to: str, expression: str) -> list[str]:
    return ["tcpdump", "-r", path, "-w", to, expression]


def check(path: str, expression: str) -> int:
    """Number of packets that match, which has to be the same to both; all are captured whole."""
    ours = slimcap_matches(path, expression)
    size = len(FILE_HEADER) + ours["matched"] * RECORD_HEADER + ours["sum"]
    theirs = subprocess.run(tcpdump(path, "-", expression), capture_output=True, check=True).stdout
    if len(theirs) != size:
        raise AssertionError(f"{expression}: a file of {len(theirs)} bytes, and not of {size}")
    matched: int = ours["matched"]
    return matched


def run(options: argparse.Namespace) -> Results:
    if shutil.which("tcpdump") is None:
        raise SystemExit("there is no tcpdump to compare with (Debian: apt install tcpdump)")
    file = capture("a", options.dir)
    write(file)
    warm(file.path)
    rows = []
    for expression in EXPRESSIONS:
        matched = check(str(file.path), expression)
        commands = {
            name: [sys.executable, __file__, "--child", name, str(file.path), expression] for name in READERS
        }
        found = common.rounds(commands, options.rounds, [options.cpu], {})
        ns = {name: [one["seconds"] / file.packets * 1e9 for one in runs] for name, runs in found.items()}
        rows.append({"expression": expression, "matched": matched / file.packets, "ns_per_packet": ns})
    said = subprocess.run(["tcpdump", "--version"], capture_output=True, text=True, check=True).stdout
    machine = common.machine("numpy", "slimcap")
    machine["versions"] |= dict(line.split(" version ") for line in said.splitlines()[:2])
    question = (__doc__ or "").partition("\n")[0]
    return {
        "question": question,
        "machine": machine,
        "rounds": options.rounds,
        "file": file.title,
        "rows": rows,
    }


def render(results: Results) -> str:
    rows = []
    for row in results["rows"]:
        ours, theirs = (row["ns_per_packet"][name] for name in READERS)
        speedup = common.median_of_ratios(theirs, ours)
        times = (f"{median(times):.1f}" for times in (ours, theirs))
        rows.append([f"`{row['expression']}`", f"{row['matched']:.0%}", *times, f"{speedup:.2f}"])
    table = common.table(["ns a packet", "matches", *READERS, "times faster"], rows)
    about = f"{common.describe(results['machine'])} Rounds: {results['rounds']}. {results['file']}."
    return f"{about}\n\n{table}\n"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often each runs (5)")
    add("--dir", type=Path, default=common.FOLDER, help="where the file is made and kept")
    add("--cpu", type=int, default=common.default_cpu(), help="the CPU that both run on")
    common.add_results(parser)
    add("--child", nargs=3, metavar=("NAME", "FILE", "EXPRESSION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child:
        name, path, expression = options.child
        matches = slimcap_matches if name == "slimcap" else tcpdump_matches
        print(json.dumps(matches(path, expression)))
        return
    common.finish(options, run, render, "filter")


if __name__ == "__main__":
    main()
