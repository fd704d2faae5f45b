"""What every benchmark needs: building C and Cython, rounds of child processes, the machine, tables."""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from captures import Capture, capture

HERE = Path(__file__).resolve().parent
C_SOURCES = HERE / "c"
README = HERE / "README.md"
PROJECT_README = HERE.parent / "README.md"
FOLDER = Path(tempfile.gettempdir()) / "slimcap-bench"  # where programs and files are made and kept
CC = os.environ.get("CC", "cc")
C_FLAGS = ["-O3", "-Wall", "-Wextra", "-Werror"]
SKIPPED = 77  # the exit status of a child that lacks what it measures, as in automake


Missing = dict[str, list[str]]  # why something was left out, and what all was


class Unavailable(Exception):
    """Something to compare with is not on this machine; its text says why."""


def build_c(name: str, folder: Path, *libraries: str) -> Path:
    """Compile c/<name>.c, if it changed, and return the program."""
    program = folder / name
    if _stale(program):
        flags = [f"-l{library}" for library in libraries]
        _compile([CC, *C_FLAGS, "-o", str(program), str(C_SOURCES / f"{name}.c"), *flags])
    return program


def build_c_library(name: str, folder: Path) -> Path:
    """Compile c/<name>.c, if it changed, and return the shared library, for ctypes."""
    library = folder / f"lib{name}.so"
    if _stale(library):
        _compile([CC, *C_FLAGS, "-shared", "-fPIC", "-o", str(library), str(C_SOURCES / f"{name}.c")])
    return library


def build_cython(name: str, folder: Path) -> Path:
    """Compile c/<name>.pyx, if it changed, and return the extension module."""
    module = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if _stale(module):
        source = folder / f"{name}.c"
        include = f"-I{sysconfig.get_path('include')}"
        _compile([sys.executable, "-m", "cython", "-o", str(source), str(C_SOURCES / f"{name}.pyx")])
        _compile([CC, "-O3", "-DNDEBUG", "-shared", "-fPIC", include, "-o", str(module), str(source)])
    return module


def _stale(product: Path) -> bool:
    product.parent.mkdir(parents=True, exist_ok=True)
    sources = [*C_SOURCES.iterdir(), Path(__file__)]
    return not product.exists() or product.stat().st_mtime < max(path.stat().st_mtime for path in sources)


def _compile(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line.lower()), done.stderr)
        raise Unavailable(f"it does not build: {_without_folders(first.strip())}")


def _without_folders(text: str) -> str:
    return re.sub(r"\S*/", "", text)


def run_child(command: Sequence[str], cpus: Iterable[int], timeout: float | None = None) -> Any:
    """Run one measurement in its own process on these CPUs; it prints JSON."""
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


def leave_out(name: str, reason: Unavailable, missing: Missing) -> None:
    names = missing.setdefault(str(reason), [])
    if name not in names:
        names.append(name)


def progress(text: str) -> None:
    """Say on a terminal what is being done."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)


def measure_files(
    question: str | None,
    options: argparse.Namespace,
    measure: Callable[[Capture, argparse.Namespace, Missing], Mapping[str, Any]],
    *packages: str,
) -> dict[str, Any]:
    """Measure each of the files that `options` name; `question` is a docstring that begins with it."""
    options.dir.mkdir(parents=True, exist_ok=True)
    missing: Missing = {}
    files = [capture(name, options.dir) for name in options.files]
    return {
        "question": (question or "").partition("\n")[0],
        "machine": machine(*packages),
        "rounds": options.rounds,
        "files": {file.title: measure(file, options, missing) for file in files},
        "missing": missing,
    }


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(ours) / median(theirs)


def median_of_ratios(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the rounds of one round's ratio: a drift between rounds cancels out."""
    return median(x / y for x, y in zip(ours, theirs, strict=True))


def default_cpu() -> int:
    """The last CPU we may use: the first ones get most of the interrupts."""
    return max(os.sched_getaffinity(0))


def machine(*packages: str) -> dict[str, Any]:
    """Describe what was measured on: CPU, kernel, compiler, and the versions of Python and these packages."""
    compiler = subprocess.run([CC, "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "compiler": compiler.partition("\n")[0],
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **{package: found for package in packages if (found := _version(package))},
        },
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe(found: Mapping[str, Any]) -> str:
    """Say in one line what `machine` found."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return f"{found['cpu']}, {found['cpus']} CPUs, Linux {found['kernel']}, {found['compiler']}; {versions}."


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that also reads well as it is; all columns but the first are numbers."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [_line(header, widths), _rule(widths), *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return f"| {' | '.join((row[0].ljust(widths[0]), *numbers))} |"


def _rule(widths: Sequence[int]) -> str:
    return f"| {' | '.join(('-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])))} |"


def render_ratios(results: Mapping[str, Any], base: str) -> str:
    """Tables of what `measure_files` gave: nanoseconds a packet by case and way, beside those of `base`."""
    parts = [f"{describe(results['machine'])} Rounds: {results['rounds']}."]
    for title, cases in results["files"].items():
        rows = []
        for case, ns in cases.items():
            for how, times in ns.items():
                ratios = ratio_of_medians(times, ns[base]), median_of_ratios(times, ns[base])
                rows.append([f"{case}: {how}", f"{median(times):.1f}", *(f"{ratio:.2f}" for ratio in ratios)])
        parts += [f"**{title}**", table(["", "ns a packet", f"x {base}", "by round"], rows)]
    parts += [f"Left out: {', '.join(names)} ({reason})." for reason, names in results["missing"].items()]
    return "\n\n".join(parts) + "\n"


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of benchmarks that read the files of `captures` on one CPU; see also `finish`."""
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything runs (5)")
    add("--files", nargs="+", default=("a", "b"), choices=("a", "b"), help="which files")
    add("--dir", type=Path, default=FOLDER, help="where files and programs are made and kept")
    add("--cpu", type=int, default=default_cpu(), help="the CPU to run on")
    add_results(parser)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark can do with its results; see `finish`."""
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write the results there")
    add("--render", type=Path, metavar="FILE", help="write the tables of these results into the READMEs")


def finish(
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace], Mapping[str, Any]],
    render: Callable[[dict[str, Any]], str],
    marker: str,
    short: tuple[str, Callable[[dict[str, Any]], str]] | None = None,
) -> None:
    """Measure, and print the tables; or write those of earlier results into the READMEs.

    `marker` says where in that of the benchmarks, `short` where in the project's, and what.
    """
    if options.render:
        results = read_json(options.render)
        write_between(README, marker, render(results))
        if short:
            write_between(PROJECT_README, short[0], short[1](results))
        return
    results = json.loads(json.dumps(run(options)))  # as they will be read: keys are text
    print(render(results), end="")
    if options.json:
        write_json(options.json, results)


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write_between(path: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker -->` and `<!-- /marker -->`."""
    start, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    before, found, rest = path.read_text().partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path.name} has no {start.strip()} and {end}")
    path.write_text(f"{before}{start}\n{text.strip()}\n\n{end}{after}")
