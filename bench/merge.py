"""What does it cost to read several files in order of time, next to reading them one after the other?

    python bench/merge.py --json merge.json      measure, and print the table
    python bench/merge.py --render merge.json    write it into bench/README.md

The packets of the files `a` and `b` of `captures`, dealt out to 2 and 8 files: one by one, so that every
packet is of another file than the one before, and in runs of 5,000. "One after the other" reads the same
files without merging, "mergecap" writes what it merges to /dev/null. Every reader runs once a round in a
process of its own, on one CPU.
"""

import argparse
import json
import sys
from importlib import import_module
from itertools import cycle
from pathlib import Path
from subprocess import run as run_program
from time import perf_counter
from typing import Any

import common
import numpy as np
import reading
from captures import FILE_HEADER, RECORD_HEADER, Capture, warm, write

COUNTS = (2, 8)
RUN = 5000  # packets
EACH = "one after the other"
MERGED = "open_files"


def deal(file: Capture, count: int, run: int, folder: Path) -> list[Path]:
    """Deal the packets of a file out to several, so many at a time."""
    paths = [folder / f"{file.path.stem}-{count}-{run}-{number}.pcap" for number in range(count)]
    if all(path.exists() for path in paths):
        return paths
    data = memoryview(file.path.read_bytes())
    ends = len(FILE_HEADER) + np.cumsum(RECORD_HEADER + file.lengths)
    cuts = [len(FILE_HEADER), *ends[run - 1 :: run].tolist()]
    if cuts[-1] != len(data):
        cuts.append(len(data))
    parts: list[list[memoryview | bytes]] = [[FILE_HEADER] for _ in paths]
    for part, start, end in zip(cycle(parts), cuts[:-1], cuts[1:], strict=False):
        part.append(data[start:end])
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(b"".join(part))
    return paths


def read(how: str, paths: list[str]) -> None:
    """Read files in one of the ways, and print what that took."""
    slimcap = import_module("slimcap")
    total = None
    start = perf_counter()
    if how == MERGED:
        with slimcap.open_files(paths) as source:
            total = sum(int(batch["total_len"].sum()) for batch in source.batches())
    elif how == EACH:
        total = 0
        for path in paths:
            with slimcap.open_file(path) as source:
                total += sum(int(batch["total_len"].sum()) for batch in source.batches())
    else:
        try:
            program = common.find_program(how)
        except common.Unavailable as reason:
            common.skip(reason)
        start = perf_counter()
        run_program([program, "-F", "pcap", "-w", "/dev/null", *paths], check=True, capture_output=True)
    print(json.dumps({"seconds": perf_counter() - start, "sum": total}))


def measure(file: Capture, options: argparse.Namespace, missing: common.Missing) -> dict[str, Any]:
    """Nanoseconds a packet, by how the packets were dealt out and read."""
    write(file)
    found: dict[str, Any] = {}
    long = common.scaled(RUN, options)
    for count in COUNTS:
        for name, length in (("one by one", 1), (f"runs of {long:,}", long)):
            paths = deal(file, count, length, options.dir)
            for path in paths:
                warm(path)
            commands = {
                how: [sys.executable, __file__, "--read", how, *map(str, paths)]
                for how in (EACH, MERGED, "mergecap")
            }
            runs = common.rounds(commands, options.rounds, [options.cpu], missing)
            for how in (EACH, MERGED):
                if any(run["sum"] != file.total(file.packets) for run in runs[how]):
                    raise AssertionError(f"{how} of {file.name}: a wrong sum")
            found[f"{count} files, {name}"] = common.ns_per_packet(runs, file.packets)
    return found


def render(results: dict[str, Any]) -> str:
    return reading.render_ratios(results, EACH)


def run(options: argparse.Namespace) -> dict[str, Any]:
    return reading.measure_files(__doc__, options, measure, "numpy", "Cython", "slimcap")


def arguments() -> argparse.Namespace:
    parser = reading.new_parser(__doc__)
    parser.add_argument("--read", nargs="+", metavar=("HOW", "FILE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.read:
        read(options.read[0], options.read[1:])
        return
    common.finish(options, run, render, "merge")


if __name__ == "__main__":
    main()
