"""Helpers of all benchmarks: options, rounds of child processes, the machine, results, tables."""

import argparse
import functools
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
PROJECT_README = HERE.parent / "README.md"
FOLDER = Path(tempfile.gettempdir()) / "slimcap-bench"  # default of --dir
CC = os.environ.get("CC", "cc")
SKIPPED = 77  # exit status of a process that lacks what it measures, as in automake

Missing = dict[str, list[str]]  # reason -> names of what was left out for it
Results = dict[str, Any]


class Unavailable(Exception):
    """Something that is measured is not on this machine; the message is the reason."""


# ---- child processes


def run_child(command: Sequence[str], cpus: Iterable[int], timeout: float | None = None) -> Any:
    """Run one measurement in its own process on these CPUs; return the JSON that it prints."""
    pinned = set(cpus)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        preexec_fn=lambda: os.sched_setaffinity(0, pinned),
    )
    if done.returncode == SKIPPED:
        raise Unavailable(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def rounds(
    commands: Mapping[str, Sequence[str]], count: int, cpus: Iterable[int], missing: Missing
) -> dict[str, list[dict[str, Any]]]:
    """Run every command once a round, in order, so that a drift of the machine meets all of them alike.

    What is unavailable is left out, and goes into `missing`.
    """
    cpus = list(cpus)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for number in range(count):
        for name in list(results):
            progress(f"round {number + 1} of {count}: {name}")
            try:
                results[name].append(run_child(commands[name], cpus))
            except Unavailable as reason:
                del results[name]
                leave_out(name, reason, missing)
    progress("")
    return results


def skip(reason: object) -> NoReturn:
    """End this process: what it measures is unavailable."""
    print(reason, file=sys.stderr)
    sys.exit(SKIPPED)


def find_program(name: str) -> str:
    """Return the path of a program; raise Unavailable if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not installed")
    return path


def wait_for(text: str, lines: Iterable[str]) -> str:
    """Read what a program says up to the line with a text, and return it."""
    said = ""
    for line in lines:
        said += line
        if text in line:
            return said
    raise Unavailable(said.strip() or "it ended at once")


def on_cpu_seconds(pid: int) -> float:
    """CPU time of the threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def leave_out(name: str, reason: Exception, missing: Missing) -> None:
    names = missing.setdefault(str(reason), [])
    if name not in names:
        names.append(name)


def progress(text: str) -> None:
    """Show on a terminal what is being measured."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)


def default_cpu() -> int:
    """Return the last CPU we may use: the first ones get most of the interrupts."""
    return max(os.sched_getaffinity(0))


# ---- options


def new_parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options of every benchmark but --rounds; `doc` is the module's docstring."""
    parser = argparse.ArgumentParser(description=question(doc))
    add = parser.add_argument
    add("--scale", type=positive, default=1.0, help="times as many packets, or seconds, as in the tables (1)")
    add("--dir", type=Path, default=FOLDER, help="where files and programs are made and kept")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")
    return parser


def add_rounds(parser: argparse.ArgumentParser, default: int = 5) -> None:
    help = f"how often everything is measured ({default})"
    parser.add_argument("--rounds", type=int, default=default, help=help)


def add_render(parser: argparse.ArgumentParser) -> None:
    """Add --render, for `finish` with a marker."""
    help = "write the tables of the results in FILE into the READMEs, and measure nothing"
    parser.add_argument("--render", type=Path, metavar="FILE", help=help)


def add_cpu(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpu", type=int, default=default_cpu(), help="the CPU to measure on (the last one)")


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not greater than 0")
    return number


def scaled(number: int, options: argparse.Namespace) -> int:
    """Return a number of packets or calls at the scale of this run, at least 1."""
    scale: float = options.scale
    return max(1, round(number * scale))


# ---- results


def question(doc: str | None) -> str:
    return (doc or "").partition("\n")[0]


def new_results(
    doc: str | None, options: argparse.Namespace, packages: Iterable[str], **found: Any
) -> Results:
    """Put what was found together with what it was found on; `packages` are those whose versions matter."""
    return {
        "question": question(doc),
        "machine": machine(*packages),
        "rounds": options.rounds,
        "scale": options.scale,
        **found,
    }


def ns_per_packet(
    found: Mapping[str, Iterable[Mapping[str, Any]]], packets: int | None = None
) -> dict[str, list[float]]:
    """Nanoseconds a packet by name, a number a round; by default each run says how many packets it read."""
    return {
        name: [run["seconds"] / (packets or run["packets"]) * 1e9 for run in runs]
        for name, runs in found.items()
    }


def finish(
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace], Mapping[str, Any]],
    render: Callable[[dict[str, Any]], str],
    marker: str | None = None,
    short: tuple[str, Callable[[dict[str, Any]], str]] | None = None,
) -> None:
    """Measure and print the tables; or, with --render, write those of earlier results into the READMEs.

    Parameters
    ----------
    options : argparse.Namespace
    run : callable
        Measures; returns results that can be written as JSON.
    render : callable
        Makes the tables of results.
    marker : str, optional
        Where in README.md of this folder the tables are. Without it there is no --render.
    short : (str, callable), optional
        Where in the project's README a table is, and what makes it.
    """
    if marker and options.render:
        found = _renderable(options)
        write_between(README, marker, render(found))
        if short:
            write_between(PROJECT_README, short[0], short[1](found))
        return
    try:
        found = json.loads(json.dumps(run(options)))  # as read from a file: keys are text
    except Unavailable as reason:
        skip(reason)
    print(render(found), end="")
    if options.json:
        write_json(options.json, found)


def _renderable(options: argparse.Namespace) -> Results:
    """Read the results for the READMEs, which are those of a whole run."""
    if options.scale != 1:
        raise SystemExit("--render measures nothing: leave --scale out")
    found = read_json(options.render)
    if (scale := found.get("scale", 1)) != 1:
        raise SystemExit(
            f"{options.render} was measured with --scale {scale:g}: the READMEs show whole runs only"
        )
    return found


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n")


def read_json(path: Path) -> Results:
    found: Results = json.loads(path.read_text())
    return found


def write_between(path: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker -->` and `<!-- /marker -->`."""
    start, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    before, found, rest = path.read_text().partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path.name} has no {start.strip()} and {end}")
    path.write_text(f"{before}{start}\n{text.strip()}\n\n{end}{after}")


# ---- the machine


def machine(*packages: str) -> dict[str, Any]:
    """Describe this machine: CPU, kernel, compiler, and the versions of Python and these packages."""
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "compiler": compiler(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **{package: found for package in packages if (found := version_of(package))},
        },
    }


@functools.cache
def compiler() -> str:
    """Return the first line of `cc --version`."""
    try:
        said = subprocess.run([CC, "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return "no C compiler"
    return said.partition("\n")[0]


def version_of(package: str) -> str | None:
    from importlib import metadata  # slow to import, and children do not ask

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe(found: Mapping[str, Any]) -> str:
    """Say in one line what `machine` found."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return f"{found['cpu']}, {found['cpus']} CPUs, Linux {found['kernel']}, {found['compiler']}; {versions}."


# ---- text


def heading(results: Mapping[str, Any]) -> str:
    """Say in one line what was measured on, and how often."""
    scale = results.get("scale", 1)
    rounds = f"Rounds: {results['rounds']}."
    return " ".join([describe(results["machine"]), rounds, *([f"Scale: {scale:g}."] if scale != 1 else [])])


def document(results: Mapping[str, Any], parts: Iterable[str], note: str = "") -> str:
    """Join what a benchmark prints: the heading, its titles and tables, and what was left out."""
    left_out = [
        f"Left out: {', '.join(names)} ({reason})." for reason, names in results.get("missing", {}).items()
    ]
    return "\n\n".join([heading(results) + note, *parts, *left_out]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a Markdown table that also reads well as it is; all columns but the first are numbers."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [_line(header, widths), _rule(widths), *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return f"| {' | '.join((row[0].ljust(widths[0]), *numbers))} |"


def _rule(widths: Sequence[int]) -> str:
    return f"| {' | '.join(('-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])))} |"


def ratios(ours: Sequence[float], theirs: Sequence[float] | None, digits: int = 2) -> tuple[str, str]:
    """Return two cells: the ratio of the medians, and the median of the rounds' ratios; or "-" and "-"."""
    if not theirs:
        return "-", "-"
    both = ratio_of_medians(ours, theirs), median_of_ratios(ours, theirs)
    return f"{both[0]:.{digits}f}", f"{both[1]:.{digits}f}"


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return _divide(median(ours), median(theirs))


def median_of_ratios(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over the rounds of one round's ratio: a drift between rounds cancels out."""
    return median(_divide(x, y) for x, y in zip(ours, theirs, strict=True))


def _divide(x: float, y: float) -> float:
    return x / y if y else math.nan  # a clock may be too coarse for a run with --scale
