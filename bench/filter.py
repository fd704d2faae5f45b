"""How much faster than tcpdump does slimcap filter a file, by expressions and by conditions on headers?

    python bench/filter.py --json results.json      measure, and print the table
    python bench/filter.py --render results.json    write the table into bench/README.md

Each runs in a process of its own on one CPU, once a round, over a file in the page cache. slimcap adds up the
lengths of what matches, tcpdump writes it to /dev/null. Starting is in neither time: what tcpdump takes for a
file without packets is taken off. That both find the same is checked before. Conditions on headers also match
packets with VLAN tags, which the expressions do not see.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any

import common
from captures import FILE_HEADER, RECORD_HEADER, capture, warm, write

EXPRESSIONS = ("udp", "udp port 53", "tcp port 80", "src net 10.0.0.0/17 and udp src portrange 1024-30000")
# Those that conditions on headers can say.
CONDITIONS: dict[str, dict[str, Any]] = {
    "udp": {"protocol": "udp"},
    "udp port 53": {"protocol": "udp", "port": 53},
    "tcp port 80": {"protocol": "tcp", "port": 80},
}
READERS = ("slimcap", "conditions", "tcpdump")

Results = dict[str, Any]


def slimcap_matches(path: str, expression: str) -> Results:
    return matches(path, filter=expression)


def conditions_match(path: str, expression: str) -> Results:
    return matches(path, where=CONDITIONS[expression])


def matches(path: str, **options: Any) -> Results:
    slimcap = import_module("slimcap")
    packets = total = 0
    start = perf_counter()
    with slimcap.open_file(path, **options) as source:
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
    return [common.find_program("tcpdump"), "-r", path, "-w", to, expression]


def check(path: str, expression: str) -> int:
    """Return how many packets match; raise AssertionError if tcpdump finds others. All are captured whole."""
    ours = slimcap_matches(path, expression)
    matched: int = ours["matched"]
    if shutil.which("tcpdump") is None:
        return matched
    size = len(FILE_HEADER) + ours["matched"] * RECORD_HEADER + ours["sum"]
    theirs = subprocess.run(tcpdump(path, "-", expression), capture_output=True, check=True).stdout
    if len(theirs) != size:
        raise AssertionError(f"{expression}: a file of {len(theirs)} bytes, and not of {size}")
    return matched


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    file = capture("a", options.dir, scale=options.scale)
    write(file)
    warm(file.path)
    rows: Results = {}
    for expression in EXPRESSIONS:
        matched = check(str(file.path), expression)
        commands = {
            name: [sys.executable, __file__, "--child", name, str(file.path), expression]
            for name in READERS
            if name != "conditions" or expression in CONDITIONS
        }
        runs = common.rounds(commands, options.rounds, [options.cpu], missing)
        ns = common.ns_per_packet(runs, file.packets)
        rows[expression] = {"matched": matched / file.packets, "ns_per_packet": ns}
    found = common.new_results(
        __doc__, options, ("numpy", "slimcap"), file=file.title, rows=rows, missing=missing
    )
    if shutil.which("tcpdump"):
        said = subprocess.run(["tcpdump", "--version"], capture_output=True, text=True, check=True).stdout
        found["machine"]["versions"] |= dict(line.split(" version ") for line in said.splitlines()[:2])
    return found


def render(results: Results) -> str:
    rows = []
    for expression, row in results["rows"].items():
        columns = [row["ns_per_packet"].get(name, ()) for name in READERS]
        theirs = columns[-1]
        speedups = [
            common.median_of_ratios(theirs, ours) if theirs and ours else None for ours in columns[:-1]
        ]
        shown = (f"{median(times):.1f}" if times else "-" for times in columns)
        faster = ("-" if speedup is None else f"{speedup:.2f}" for speedup in speedups)
        rows.append([f"`{expression}`", f"{row['matched']:.0%}", *shown, *faster])
    header = ["ns a packet", "matches", *READERS, "times faster", "times faster by conditions"]
    table = common.table(header, rows)
    return common.document(results, [table], f" {results['file']}.")


def arguments() -> argparse.Namespace:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser)
    common.add_render(parser)
    common.add_cpu(parser)
    parser.add_argument("--child", nargs=3, metavar=("NAME", "FILE", "EXPRESSION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child:
        name, path, expression = options.child
        run_child = {"slimcap": slimcap_matches, "conditions": conditions_match, "tcpdump": tcpdump_matches}
        try:
            print(json.dumps(run_child[name](path, expression)))
        except common.Unavailable as reason:
            common.skip(reason)
        return
    common.finish(options, run, render, "filter")


if __name__ == "__main__":
    main()
