"""What does it cost to hand packets to an Arrow library, against building the same table from numpy columns?

    python bench/export.py --json results.json      measure, and print the tables
    python bench/export.py --render results.json    write the tables into bench/README.md

All ways start from the same batch in memory and run interleaved in one process on one CPU. Files are read
from the page cache and written to --dir; the memory is that of a process of its own.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import common
import numpy as np
import reading
from captures import Capture, capture, warm, write, write_repeated
from readers import peak_rss

LIBRARIES = ("pyarrow", "polars", "pandas", "duckdb")
PACKAGES = ("numpy", "slimcap", *LIBRARIES)
BATCH_PACKETS = 200_000
BASES = {library: f"numpy columns to {library}" for library in LIBRARIES if library != "duckdb"}

Results = dict[str, Any]
Way = Callable[[], object]
Modules = Mapping[str, Any]  # libraries that are installed, by name


def columns_of(batch: Any, *, payload: bool = True) -> dict[str, Any]:
    """A batch as what one would build a table from without slimcap's help: numpy columns, a list of bytes."""
    slimcap = import_module("slimcap")
    columns = {name: batch[name] for name in slimcap.RECORD_DTYPE.names if name != "offset"}
    columns["timestamp"] = batch.timestamps
    if payload:
        columns["payload"] = [bytes(batch.payload(index)) for index in range(len(batch))]
    return columns


def lists_of(batch: Any) -> dict[str, list[Any]]:
    """The same with nothing but Python objects; times as integers."""
    columns = columns_of(batch) | {"timestamp": batch["timestamp"]}
    return {name: column if name == "payload" else column.tolist() for name, column in columns.items()}


def batch_ways(batch: Any, modules: Modules) -> dict[str, Way]:
    """Return the ways from a batch to a table, by name, of the libraries that are installed."""
    ways: dict[str, Way] = {}
    if pa := modules.get("pyarrow"):
        ways |= {
            "pyarrow.record_batch(batch)": lambda: pa.record_batch(batch),
            "batch.to_arrow()": batch.to_arrow,
            "batch.to_arrow(payload=False)": lambda: batch.to_arrow(payload=False),
            BASES["pyarrow"]: lambda: pa.table(columns_of(batch)),
            "numpy columns to pyarrow, no payload": lambda: pa.table(
                {
                    name: np.ascontiguousarray(column)
                    for name, column in columns_of(batch, payload=False).items()
                }
            ),
            "Python lists to pyarrow": lambda: pa.table(lists_of(batch)),
        }
    if pl := modules.get("polars"):
        ways["batch.to_polars()"] = batch.to_polars
        ways[BASES["polars"]] = lambda: pl.DataFrame(columns_of(batch))
    if pd := modules.get("pandas"):
        if pa:
            ways["batch.to_pandas()"] = batch.to_pandas
        ways[BASES["pandas"]] = lambda: pd.DataFrame(columns_of(batch))
    return ways


def file_ways(path: Path, out: Path, modules: Modules) -> dict[str, Way]:
    """Return the ways from a capture file to a table or to a file of one, as `batch_ways` does."""
    slimcap = import_module("slimcap")

    def batches() -> object:
        with slimcap.open_file(path) as source:
            return sum(int(batch["total_len"].sum()) for batch in source.batches())

    def to_polars() -> object:
        with slimcap.open_file(path) as source:
            return modules["polars"].DataFrame(source.batches())

    def to_duckdb() -> object:
        with slimcap.open_file(path) as source, modules["duckdb"].connect() as connection:
            connection.register("packets", source.batches())
            return connection.sql("select total_len, count(*) from packets group by all").fetchall()

    def to_parquet(compression: str) -> Way:
        write = import_module("slimcap").write

        def run() -> object:
            with slimcap.open_file(path) as source:
                return write(source, out, compression=compression)

        return run

    ways: dict[str, Way] = {"slimcap batches": batches}
    if "polars" in modules:
        ways["polars.DataFrame(source.batches())"] = to_polars
    if "duckdb" in modules:
        ways["duckdb, group by total_len"] = to_duckdb
    if "pyarrow" in modules:
        ways |= {f"write, {name}": to_parquet(name) for name in ("zstd", "snappy")}
    return ways


def measure(ways: Mapping[str, Way], packets: int, rounds: int) -> dict[str, list[float]]:
    """Nanoseconds a packet of each way, in each round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # what is imported and allocated once
    for _ in range(rounds):
        for name, way in ways.items():
            start = perf_counter()
            made = way()
            found[name].append((perf_counter() - start) / packets * 1e9)
            del made
    return found


def measure_file(file: Capture, options: argparse.Namespace, modules: Modules) -> Results:
    write(file)
    warm(file.path)
    slimcap = import_module("slimcap")
    with slimcap.open_file(file.path) as source:
        batch = slimcap.concat(source.batches())[:BATCH_PACKETS].copy()
    out = options.dir / "out.parquet"
    try:
        return {
            "title": file.title,
            "batch": measure(batch_ways(batch, modules), len(batch), options.rounds),
            "file": measure(file_ways(file.path, out, modules), file.packets, options.rounds),
        }
    finally:
        out.unlink(missing_ok=True)


def measure_memory(file: Capture, options: argparse.Namespace) -> Results:
    """Write a file of --big bytes as Parquet, and see how much memory that took."""
    write(file)
    path = options.dir / "big.pcap"
    try:
        times = write_repeated(file, path, options.big)
        run = common.run_child([sys.executable, __file__, "--child", str(path)], [options.cpu])
        if run["packets"] != times * file.packets:
            raise AssertionError(f"{run['packets']} packets written, not {times * file.packets}")
        return {"bytes": path.stat().st_size, **run}
    finally:
        path.unlink(missing_ok=True)


def child(path: Path) -> None:
    """Write one file as Parquet; print packets, seconds and the memory at most, before and in all."""
    slimcap = import_module("slimcap")
    import_module("pyarrow.parquet")
    out = path.with_suffix(".parquet")
    before = peak_rss()
    start = perf_counter()
    try:
        with slimcap.open_file(path) as source:
            packets = slimcap.write(source, out)
        seconds = perf_counter() - start
        peak = peak_rss()
        size = out.stat().st_size
    finally:
        out.unlink(missing_ok=True)
    sizes = {"written": size, "rss_before": before, "rss_peak": peak}
    print(json.dumps({"packets": packets, "seconds": seconds, **sizes}))


def run(options: argparse.Namespace) -> Results:
    os.sched_setaffinity(0, [options.cpu])
    missing: common.Missing = {}
    modules = installed(missing)
    files = {file.name: measure_file(file, options, modules) for file in reading.files(options)}
    memory = measure_memory(capture("b", options.dir), options) if options.big else None
    return common.new_results(__doc__, options, PACKAGES, files=files, memory=memory, missing=missing)


def installed(missing: common.Missing) -> Modules:
    """Import the libraries; those that are not installed are left out."""
    modules = {}
    for name in LIBRARIES:
        try:
            modules[name] = import_module(name)
        except ModuleNotFoundError as reason:
            common.leave_out(name, reason, missing)
    return modules


def base_of(name: str) -> str:
    """The way by numpy columns to the same library."""
    return next((base for library, base in BASES.items() if library in name), BASES["pyarrow"])


def batch_table(ns: Mapping[str, list[float]]) -> str:
    header = ["a batch to a table", "ns a packet", "x numpy columns", "by round"]
    rows = []
    for name, times in ns.items():
        rows.append([name, f"{median(times):.1f}", *common.ratios(times, ns.get(base_of(name)), 3)])
    return common.table(header, rows)


def file_table(ns: Mapping[str, list[float]]) -> str:
    header = ["a file to a table", "ns a packet", "M packets/s"]
    rows = [[name, f"{median(times):.1f}", f"{1e3 / median(times):.2f}"] for name, times in ns.items()]
    return common.table(header, rows)


def render(results: Results) -> str:
    parts = []
    for name, file in results["files"].items():
        parts.append(f"**{name}**: {file['title']}")
        if file["batch"]:
            parts.append(batch_table(file["batch"]))
        parts.append(file_table(file["file"]))
    if memory := results["memory"]:
        size, peak, before = (memory[key] / 1e6 for key in ("bytes", "rss_peak", "rss_before"))
        parts.append(
            f"A file of {size / 1e3:.1f} GB, {memory['packets'] / 1e6:.1f} M packets, as Parquet (zstd): "
            f"{memory['seconds']:.1f} s, {peak:.0f} MB of memory at most, {before:.0f} MB of it before the "
            "file was opened."
        )
    return common.document(results, parts)


def arguments() -> argparse.Namespace:
    parser = reading.new_parser(__doc__)
    add = parser.add_argument
    add(
        "--big",
        type=float,
        default=0,
        metavar="BYTES",
        help="see what memory a file this big takes as Parquet",
    )
    add("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child:
        child(options.child)
    else:
        common.finish(options, run, render, "export")


if __name__ == "__main__":
    main()
