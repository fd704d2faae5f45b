"""Run every benchmark at a hundredth of its size, to see that each still runs and prints its tables.

    python bench/smoke.py                       # within a minute; as root, or live capture is left out
    python bench/smoke.py merge.py write.py
    python bench/smoke.py --strict              # fail, too, if anything but a Python package is missing

A benchmark is a file of this folder that has a function `main`. As many run at a time as there are CPUs, each
on one of them: the times that they measure mean nothing. Programs are compiled once, in a folder of this run.
"""

import argparse
import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter

from common import HERE, SKIPPED, positive, question

TOOLS = ("compare.py", "smoke.py")  # they have a `main`, and measure nothing
SCALE = 0.01
TIMEOUT = 120  # seconds, of one benchmark
TABLE = re.compile(r"^\|(?: -+:? \|)+\n\| ", re.MULTILINE)  # the rule below a header, and a row
LEFT_OUT = re.compile(r"^Left out: (.*)\.$", re.MULTILINE)
NO_PACKAGE = "No module named"


@dataclass(frozen=True)
class Benchmark:
    """A file that has a `main`, and how many CPUs it needs: what it assigns to `CPUS`, by default 1."""

    path: Path
    cpus: int


@dataclass(frozen=True)
class Outcome:
    """Result of a benchmark."""

    name: str
    seconds: float
    error: str = ""
    left_out: Sequence[str] = ()

    def failed(self, strict: bool) -> bool:
        return bool(self.error) or (strict and any(NO_PACKAGE not in reason for reason in self.left_out))

    def __str__(self) -> str:
        lines = [f"left out: {what}" for what in self.left_out] + self.error.splitlines()
        return "\n    ".join([f"{self.name:<20} {self.seconds:5.1f} s", *lines])


def find_benchmarks(folder: Path) -> Iterator[Benchmark]:
    """Yield the benchmarks of a folder, those that need several CPUs first."""
    found = [_benchmark(path) for path in sorted(folder.glob("*.py")) if path.name not in TOOLS]
    yield from sorted((one for one in found if one is not None), key=lambda one: -one.cpus)


def _benchmark(path: Path) -> Benchmark | None:
    cpus, has_main = 1, False
    for node in ast.parse(path.read_text(), path.name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            has_main = True
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CPUS":
            cpus = ast.literal_eval(node.value)
    return Benchmark(path, cpus) if has_main else None


class Runner:
    """Runs benchmarks on CPUs that are free.

    Parameters
    ----------
    scale : float
        What is passed on as `--scale`.
    folder : Path
        What is passed on as `--dir`.
    """

    def __init__(self, scale: float, folder: Path) -> None:
        self._options = ["--scale", str(scale), "--rounds", "1", "--dir", str(folder)]
        self._cpus = sorted(os.sched_getaffinity(0))
        self._free: SimpleQueue[int] = SimpleQueue()
        self._running: set[subprocess.Popen[str]] = set()
        # It would keep the benchmarks from importing the modules next to them.
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        for cpu in self._cpus:
            self._free.put(cpu)

    def run_all(self, benchmarks: Sequence[Benchmark]) -> Iterator[Outcome]:
        """Run all of them; yield how each ended as it ends."""
        several = sum(one.cpus > 1 for one in benchmarks)
        with ThreadPoolExecutor(len(self._cpus) + several) as workers:
            try:
                for future in as_completed([workers.submit(self._start, one) for one in benchmarks]):
                    yield future.result()
            finally:
                workers.shutdown(wait=False, cancel_futures=True)
                for process in tuple(self._running):
                    _kill(process)

    def _start(self, benchmark: Benchmark) -> Outcome:
        """Run on a free CPU, or on all if it needs several: then it mostly waits, and can share them."""
        if benchmark.cpus > 1:
            return self._run(benchmark)
        cpu = self._free.get()
        try:
            os.sched_setaffinity(0, [cpu])  # of this thread, and so of the process that it starts
            return self._run(benchmark)
        finally:
            os.sched_setaffinity(0, self._cpus)
            self._free.put(cpu)

    def _run(self, benchmark: Benchmark) -> Outcome:
        start = perf_counter()
        with subprocess.Popen(
            [sys.executable, str(benchmark.path), *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            start_new_session=True,  # to be killed with its children
        ) as process:
            self._running.add(process)
            try:
                output, errors = process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                _kill(process)
                output, errors = process.communicate()
                errors += f"It did not end within {TIMEOUT} seconds."
            finally:
                self._running.discard(process)
        return _outcome(benchmark, perf_counter() - start, process.returncode, output, errors)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a benchmark with its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _outcome(benchmark: Benchmark, seconds: float, code: int, output: str, errors: str) -> Outcome:
    name = benchmark.path.name
    if code == SKIPPED:
        return Outcome(name, seconds, left_out=[f"all ({errors.strip()})"])
    if code:
        return Outcome(name, seconds, f"failed with {code}\n{output}{errors}")
    if not TABLE.search(output):
        return Outcome(name, seconds, f"printed no table\n{output}{errors}")
    return Outcome(name, seconds, left_out=LEFT_OUT.findall(output))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=question(__doc__))
    add = parser.add_argument
    add("only", nargs="*", metavar="FILE", help="only these benchmarks, by the names of their files")
    add("--scale", type=positive, default=SCALE, help=f"how much of its full size each runs at ({SCALE})")
    add("--strict", action="store_true", help="fail, too, if anything but a Python package is missing")
    add("--list", action="store_true", help="print the names of the benchmarks, and run none")
    add("--folder", type=Path, default=HERE, help="where the benchmarks are")
    options = parser.parse_args()
    options.benchmarks = list(find_benchmarks(options.folder))
    names = [one.path.name for one in options.benchmarks]
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"no benchmark is called {' or '.join(unknown)}; there are {', '.join(names)}")
    if not names:
        parser.error(f"{options.folder} has no benchmarks")
    return options


def main() -> None:
    options = arguments()
    wanted = [one for one in options.benchmarks if not options.only or one.path.name in options.only]
    if options.list:
        print(*(one.path.name for one in wanted), sep="\n")
        return
    start = perf_counter()
    failed = []
    with tempfile.TemporaryDirectory(prefix="slimcap-bench-") as folder:
        for outcome in Runner(options.scale, Path(folder)).run_all(wanted):
            print(outcome, flush=True)
            if outcome.failed(options.strict):
                failed.append(outcome.name)
    print(f"{len(wanted)} benchmarks in {perf_counter() - start:.0f} s")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
