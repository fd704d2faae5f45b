"""How much faster do two workers read one capture file than one?

    python bench/parallel.py --json results.json      measure, and print the tables
    python bench/parallel.py --render results.json    write them into bench/README.md

The files `a` and `b` of `captures`, each four times, in the tasks of `slimcap.plan`: one after the other, and
by two threads or two processes. The workers are there before, planning counts. "Sum" adds up `total_len`;
"headers" asks each batch for addresses, ports, protocol and `flow_hash` as well. All run in turns, on all
CPUs: the machine has to be quiet.
"""

import argparse
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from statistics import median
from time import perf_counter
from typing import Any

import common
import reading
from captures import Capture, warm, write

import slimcap
from slimcap import ReadTask

COLUMNS = ["src", "dst", "protocol", "src_port", "dst_port", "flow_hash"]
WORKERS = 2
TIMES = 4  # a run lasts long enough for the scheduler to part the workers
Work = Callable[[ReadTask], int]
Map = Callable[[Work, Iterable[ReadTask]], Iterable[int]]


def total(task: ReadTask) -> int:
    return sum(batch.total_bytes for batch in task.batches())


def headers(task: ReadTask) -> int:
    found = 0
    for batch in task.batches():
        batch.headers(COLUMNS)
        found += batch.total_bytes
    return found


WORK: dict[str, Work] = {"sum": total, "headers": headers}


def seconds(file: Capture, work: Work, workers: Map, options: argparse.Namespace) -> float:
    start = perf_counter()
    tasks = slimcap.plan(
        [file.path] * TIMES, chunk_bytes=common.scaled(options.chunk, options), exact=options.exact
    )
    found = sum(workers(work, tasks))
    took = perf_counter() - start
    if found != TIMES * file.total(file.packets):
        raise AssertionError(f"{file.name}: a wrong sum")
    return took


def planning(file: Capture, options: argparse.Namespace) -> float:
    start = perf_counter()
    slimcap.plan([file.path] * TIMES, chunk_bytes=common.scaled(options.chunk, options), exact=options.exact)
    return perf_counter() - start


def measure(file: Capture, options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds, by what was done."""
    write(file)
    warm(file.path)
    found: dict[str, list[float]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(WORKERS) as threads, ProcessPoolExecutor(WORKERS, spawn) as processes:
        how: dict[str, Map] = {"one": map, "two threads": threads.map, "two processes": processes.map}
        for number in range(options.rounds + 1):
            took = {"plan": planning(file, options)}
            for work, call in WORK.items():
                took |= {
                    f"{work}, {name}": seconds(file, call, workers, options) for name, workers in how.items()
                }
            if number:  # the first starts processes
                for name, value in took.items():
                    found.setdefault(name, []).append(value * 1e3)
    return found


def render(results: dict[str, Any]) -> str:
    parts = []
    for title, ms in results["files"].items():
        rows = [["plan", f"{median(ms['plan']):.1f}", "", ""]]
        for name in ms:
            if name != "plan":
                one = ms[f"{name.partition(',')[0]}, one"]
                rows.append([name, f"{median(ms[name]):.1f}", *common.ratios(one, ms[name])])
        parts += [f"**{title}**", common.table(["plan and read", "ms", "x faster", "by round"], rows)]
    return common.document(results, parts)


def run(options: argparse.Namespace) -> dict[str, Any]:
    files = {file.title: measure(file, options) for file in reading.files(options)}
    return common.new_results(__doc__, options, ("numpy", "Cython", "slimcap"), files=files)


def main() -> None:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, 11)
    common.add_render(parser)
    reading.add_files(parser)
    add = parser.add_argument
    add("--chunk", type=int, default=64 << 20, help="bytes of a task (64 MiB, as for `plan`)")
    add("--exact", action="store_true", help="plan by a walk through all records")
    common.finish(parser.parse_args(), run, render, "parallel")


if __name__ == "__main__":
    main()
