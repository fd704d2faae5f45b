"""What does a packet cost with each method of a source, next to a C loop, and to a call that does nothing?

    python bench/capture_methods.py --json methods.json      measure, and print the tables: some minutes
    python bench/capture_methods.py --render methods.json    write the tables into the READMEs

A mock ring of three shapes is filled with packets of 64 bytes, of which 48 are captured, and read again and
again, as in methods.py. Every way of reading runs in a process of its own on one CPU, once a round. So does
the C loop (c/walk_block.c), which writes the same rows from the same bytes. Batches are compared with it,
calls with one of an empty Cython method from the same kind of loop. --scale shortens the time, and leaves out
rings, the largest first.
"""

import argparse
import json
import sys
from importlib import import_module
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import common
import numpy as np
import programs
import walk_block
from ways import RINGS, WAYS, Cost, Ring, build_allocation_counter, full_ring, ring_cost

from slimcap import RECORD_DTYPE

C_ROWS, EMPTY, EMPTY_NEXT = "C rows", "empty method", "empty __next__"
BATCHES = [name for name in WAYS if name.startswith("next_batch()")]
CALLS = [name for name in WAYS if name not in BATCHES]
SHOWN = (
    C_ROWS,
    *BATCHES,
    "for packet in source",
    "next_packet(buf)",
    "next_packet()",
    "next_payload_zero_copy()",
)
NAMES = (C_ROWS, *BATCHES, EMPTY, EMPTY_NEXT, *CALLS)
EMPTY_CALLS = 1_000_000  # at a time
PACKAGES = ("numpy", "Cython", "slimcap")

Results = dict[str, Any]


# ---- in a child


def c_rows(ring: Ring, seconds: float, folder: Path) -> Cost:
    """The C loop over the bytes of the same ring."""
    c = walk_block.library(folder)
    with full_ring(ring) as source:
        first = source.next_batch().data  # holds the ring's first block, and so the ring
        rows = np.zeros(ring.block_size // 72 + 1, RECORD_DTYPE)  # the maximum number of packets in a block
        where, out = first.ctypes.data, rows.ctypes.data
        ns: list[float] = []
        end = perf_counter() + seconds
        while not ns or perf_counter() < end:
            start = perf_counter()
            walked = c.walk_blocks(where, ring.block_size, ring.num_blocks, out, 1)
            ns.append((perf_counter() - start) / walked * 1e9)
    return Cost(median(ns), 0)


def empty_method(seconds: float) -> Cost:
    call = import_module("empty").Empty().call

    def run() -> None:
        for _ in repeat(None, EMPTY_CALLS):
            call()

    return Cost(_ns_a_call(run, seconds), 0)


def empty_iterator(seconds: float) -> Cost:
    empty = import_module("empty")

    def run() -> None:
        for _ in empty.EmptyIterator(EMPTY_CALLS):
            pass

    return Cost(_ns_a_call(run, seconds), 0)


def _ns_a_call(run: Any, seconds: float) -> float:
    ns: list[float] = []
    end = perf_counter() + seconds
    while not ns or perf_counter() < end:
        start = perf_counter()
        run()
        ns.append((perf_counter() - start) / EMPTY_CALLS * 1e9)
    return median(ns)


def child(name: str, ring: Ring, seconds: float, folder: Path) -> Cost:
    if name == C_ROWS:
        return c_rows(ring, seconds, folder)
    if name == EMPTY:
        return empty_method(seconds)
    if name == EMPTY_NEXT:
        return empty_iterator(seconds)
    with full_ring(ring) as source:
        return ring_cost(source, name, seconds)


# ---- all of them


def measure(options: argparse.Namespace, missing: common.Missing) -> dict[str, Results]:
    """Nanoseconds and allocations a packet, of each ring and way, a number a round."""
    commands = {}
    rings = dict(list(enumerate(RINGS))[-common.scaled(len(RINGS), options) :])
    for number, ring in rings.items():
        for name in NAMES:
            if not options.only or any(part in name for part in options.only):
                commands[f"{ring}: {name}"] = [
                    *(sys.executable, __file__, "--child", name, str(number)),
                    *("--seconds", str(options.seconds * options.scale), "--dir", str(options.dir)),
                ]
    found = common.rounds(commands, options.rounds, [options.cpu], missing)
    return {
        str(ring): {
            kind: {name: [run[kind] for run in found.get(f"{ring}: {name}", ())] for name in NAMES}
            for kind in ("ns", "allocations")
        }
        for ring in rings.values()
    }


def build(folder: Path) -> None:
    """Build what children import."""
    programs.build_c_library("walk_block", folder)
    programs.add_to_path(programs.build_cython("empty", folder))
    build_allocation_counter(folder)


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    build(options.dir)
    rings = measure(options, missing)
    return common.new_results(__doc__, options, PACKAGES, rings=rings, missing=missing)


# ---- tables


def ring_table(ring: Results) -> str:
    header = ["ns a packet", "ns", "x C rows", "by round", "x empty method", "by round", "allocations"]
    ns, rows = ring["ns"], []
    for name in filter(ns.get, NAMES):
        c = common.ratios(ns[name], ns[C_ROWS] if name in (C_ROWS, *BATCHES) else None)
        empty = common.ratios(ns[name], ns[EMPTY] if name in (EMPTY, EMPTY_NEXT, *CALLS) else None)
        own = name in WAYS
        allocations = f"{median(ring['allocations'][name]):.4f}" if own else "-"
        rows.append([name, f"{median(ns[name]):.1f}", *c, *empty, allocations])
    return common.table(header, rows)


def render(results: Results) -> str:
    parts = []
    for title, ring in results["rings"].items():
        parts += [f"**{title}**", ring_table(ring)]
    return common.document(results, parts)


def short_table(results: Results) -> str:
    """The table for the project's README: nanoseconds a packet of some ways."""
    rings = [ring["ns"] for ring in results["rings"].values()]
    rows = [
        [name, *(f"{median(ns[name]):.1f}" for ns in rings)]
        for name in (*SHOWN, EMPTY)
        if all(ns.get(name) for ns in rings)
    ]
    header = ["ns a packet", *results["rings"]]
    return common.table(header, rows) + f"\n\n{common.describe(results['machine'])}\n"


def arguments() -> argparse.Namespace:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser)
    common.add_render(parser)
    common.add_cpu(parser)
    add = parser.add_argument
    add("--seconds", type=float, default=0.3, help="for how long, a round (0.3)")
    add("--only", nargs="+", default=[], metavar="PART", help="only ways with this in their names")
    add("--child", nargs=2, metavar=("NAME", "RING"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child:
        name, ring = options.child[0], RINGS[int(options.child[1])]
        try:
            cost = child(name, ring, options.seconds, options.dir)
        except (common.Unavailable, ModuleNotFoundError) as reason:
            common.skip(reason)
        print(json.dumps({"ns": cost.ns, "allocations": cost.allocations}))
        return
    common.finish(options, run, render, "capture_methods", ("bench methods", short_table))


if __name__ == "__main__":
    main()
