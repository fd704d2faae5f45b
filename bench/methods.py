"""How fast is each way to read packets here: from rings of three shapes, and from a file?

    python bench/methods.py                     # within a minute, in one process
    python bench/methods.py --plot costs.svg    # and a bar chart: PNG, SVG or PDF

Rings are filled with packets of 64 bytes, of which 48 are captured, and read again and again, without a
kernel: what is measured is slimcap. A file of half a million such packets is read from opening to the end.
--scale shortens the time and the file.

    ns a packet    the median of some runs; of next_batch(), the time of a batch divided by its packets
    packets/s      1e9 / (ns a packet)
    allocations    requests to Python's allocators; those of free lists and of numpy are not counted

capture_methods.py measures the same more thoroughly, next to C.
"""

import argparse
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import common
from ways import (
    FILE_WAYS,
    RINGS,
    WAYS,
    Cost,
    build_allocation_counter,
    file_cost,
    full_ring,
    ring_cost,
    write_file,
)

import slimcap

FILE_PACKETS = 500_000
PACKAGES = ("numpy", "slimcap")

Results = dict[str, Any]


def measure(options: argparse.Namespace) -> Iterator[tuple[str, str, Cost]]:
    """Yield source, way and cost: every way with every ring, and those of FILE_WAYS with a file."""
    seconds = options.seconds * options.scale
    for ring in RINGS:
        with full_ring(ring) as source:
            for way in WAYS:
                common.progress(f"ring, {ring}: {way}")
                yield f"ring, {ring}", way, ring_cost(source, way, seconds)
    packets = common.scaled(FILE_PACKETS, options)
    with tempfile.TemporaryDirectory(prefix="slimcap-bench-") as folder:
        path = Path(folder, "packets.pcap")
        write_file(path, packets)
        for way in FILE_WAYS:
            common.progress(f"file: {way}")
            yield "file", way, file_cost(path, way, packets, seconds)
    common.progress("")


def run(options: argparse.Namespace) -> Results:
    draw = plotter(options.plot) if options.plot else None  # fails before the measurements, not after them
    build_allocation_counter(options.dir)
    sources: dict[str, dict[str, dict[str, list[float]]]] = {}
    for _ in range(options.rounds):
        for source, way, cost in measure(options):
            found = sources.setdefault(source, {"ns": {}, "allocations": {}})
            found["ns"].setdefault(way, []).append(cost.ns)
            found["allocations"].setdefault(way, []).append(cost.allocations)
    results = common.new_results(__doc__, options, PACKAGES, sources=sources)
    if draw is not None:
        draw(results)
    return results


def render(results: Results) -> str:
    parts = []
    for name, found in results["sources"].items():
        rows = []
        for way, times in found["ns"].items():
            ns, allocations = median(times), median(found["allocations"][way])
            rows.append([way, f"{ns:.1f}", f"{1e9 / ns:,.0f}", f"{allocations:.4f}"])
        parts += [f"**{name}**", common.table(["way", "ns a packet", "packets/s", "allocations"], rows)]
    return common.document(results, parts)


def plotter(path: Path) -> Callable[[Results], None]:
    """Return a function that draws a bar chart of nanoseconds per packet to a file.

    Raises
    ------
    SystemExit
        matplotlib is not installed, or cannot write files with this suffix.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("--plot requires matplotlib: pip install matplotlib") from None
    formats: dict[str, Any] = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in formats:
        raise SystemExit(f"--plot {path}: unknown suffix; use one of {', '.join(sorted(formats))}")

    def draw(results: Results) -> None:
        sources = results["sources"]
        figure = Figure(figsize=(8, 2 + 0.18 * sum(len(found["ns"]) for found in sources.values())))
        figure.set_layout_engine("constrained")
        axes = figure.add_subplot()
        height = 0.8 / len(sources)
        for number, (name, found) in enumerate(sources.items()):
            at = [list(WAYS).index(way) + number * height for way in found["ns"]]
            bars = axes.barh(at, list(map(median, found["ns"].values())), height, label=name)
            axes.bar_label(bars, fmt="%.0f", fontsize=6)
        axes.set_yticks([index + 0.4 - height / 2 for index in range(len(WAYS))], list(WAYS))
        axes.invert_yaxis()
        axes.set_xlabel("ns a packet")
        axes.set_title(f"slimcap {slimcap.__version__}, Python {platform.python_version()}")
        axes.legend()
        figure.savefig(path)

    return draw


def arguments() -> argparse.Namespace:
    parser = common.new_parser(__doc__)
    common.add_rounds(parser, default=1)
    add = parser.add_argument
    add("--seconds", type=common.positive, default=0.5, help="for how long, each way (0.5)")
    add(
        "--plot", type=Path, metavar="FILE", help="draw a bar chart: a PNG, SVG or PDF, by the suffix of FILE"
    )
    return parser.parse_args()


def main() -> None:
    common.finish(arguments(), run, render)


if __name__ == "__main__":
    main()
