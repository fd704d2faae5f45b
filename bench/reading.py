"""Helpers of the benchmarks that read the files of `captures`: options, measuring file by file, tables."""

import argparse
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import common
from captures import Capture, capture


def add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", nargs="+", default=("a", "b"), choices=("a", "b"), help="which files")


def new_parser(doc: str | None, rounds: int = 5) -> argparse.ArgumentParser:
    """Make the parser of a benchmark that reads the files of `captures` on one CPU; see `finish`."""
    parser = common.new_parser(doc)
    common.add_rounds(parser, rounds)
    common.add_render(parser)
    add_files(parser)
    common.add_cpu(parser)
    return parser


def files(options: argparse.Namespace) -> list[Capture]:
    """Describe the files that --files names."""
    return [capture(name, options.dir, scale=options.scale) for name in options.files]


def measure_files(
    doc: str | None,
    options: argparse.Namespace,
    measure: Callable[[Capture, argparse.Namespace, common.Missing], Mapping[str, Any]],
    *packages: str,
) -> common.Results:
    """Measure each of the files that `options` name."""
    options.dir.mkdir(parents=True, exist_ok=True)
    missing: common.Missing = {}
    found = {file.title: measure(file, options, missing) for file in files(options)}
    return common.new_results(doc, options, packages, files=found, missing=missing)


def render_ratios(results: Mapping[str, Any], base: str) -> str:
    """Make tables of what `measure_files` found: nanoseconds a packet by case and way, ratios to `base`."""
    parts = []
    for title, cases in results["files"].items():
        rows = [
            [f"{case}: {how}", f"{median(times):.1f}", *common.ratios(times, ns.get(base))]
            for case, ns in cases.items()
            for how, times in ns.items()
        ]
        parts += [f"**{title}**", common.table(["", "ns a packet", f"x {base}", "by round"], rows)]
    return common.document(results, parts)
