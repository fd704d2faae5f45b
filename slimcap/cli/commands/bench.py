"""`slimcap bench`: measure the cost of each way to read packets on this machine."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import slimcap
from slimcap.cli.arguments import Commands, add_command, seconds
from slimcap.cli.measure.methods import (
    FILE_WAYS,
    RINGS,
    WAYS,
    Cost,
    file_cost,
    full_ring,
    ring_cost,
    write_file,
)
from slimcap.cli.terminal.streams import complain, reason, say, write, writing

FILE: Final = "file"
SECONDS: Final = 0.5

HELP: Final = """\
Rings of three shapes (bytes of a block x blocks) are filled with packets of
64 bytes, of which 48 are captured, and read again and again, without a kernel:
what is measured is slimcap. A file of half a million such packets, in the
folder for temporary files, is read from opening to the end.

a row's columns:
  read from       a ring, or a file
  way             the method of a source that is called
  ns/packet       nanoseconds, the median of some runs; of next_batch() it is
                  a batch's time divided by its packets
  packets/s       that the other way round
  allocations     how often a packet asks Python for memory, counted; free
                  lists and numpy's own memory are not in it

With --json it is one object: version, python, machine, seconds, and results,
a list of objects with source, way, ns_per_packet, packets_per_second,
allocations_per_packet.

exit code:
  0    all is well
  1    a ring or the file could not be made, or the plot not be written
  2    wrong arguments
  130  Ctrl-C
  141  nobody reads the output any more
"""

Row = tuple[str, str, Cost]


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap bench`."""
    command = add_command(
        commands,
        "bench",
        run,
        help="measure how fast each way of reading is here",
        description="Measure what a packet costs with each method, in about half a minute.",
        epilog=HELP,
    )
    command.add_argument(
        "--seconds", type=seconds, default=SECONDS, help=f"time for each measurement ({SECONDS})"
    )
    command.add_argument("--json", action="store_true", help="one JSON object")
    command.add_argument("--plot", metavar="FILE", help="draw the costs, too: a PNG, SVG or PDF, by its name")


def run(args: argparse.Namespace) -> int:
    """Measure, and write the results.

    Returns
    -------
    int
        Exit code.
    """
    try:
        draw = _plotter(args.plot) if args.plot else None  # fails before the measurements, not after them
        rows = list(_measure(args.seconds))
    except (ImportError, OSError, ValueError) as error:
        complain(reason(error))
        return 1
    finally:
        _progress(0, "")
    write(_as_json(rows, args.seconds) if args.json else _table(rows))
    if draw is not None:
        with writing():
            draw(rows)
    return 0


def _measure(seconds: float) -> Iterator[Row]:
    """Measure every way with every ring, and those of FILE_WAYS with a file."""
    left = len(RINGS) * len(WAYS) + len(FILE_WAYS)
    for ring in RINGS:
        with full_ring(ring) as source:
            for way in WAYS:
                _progress(left, f"{ring}: {way}")
                left -= 1
                yield f"ring, {ring}", way, ring_cost(source, way, seconds)
    with tempfile.TemporaryDirectory(prefix="slimcap-bench-") as folder:
        path = Path(folder, "packets.pcap")
        write_file(path)
        for way in FILE_WAYS:
            _progress(left, f"{FILE}: {way}")
            left -= 1
            yield FILE, way, file_cost(path, way, seconds)


def _progress(left: int, what: str) -> None:
    """Show the current measurement on the terminal, on a line that the next call overwrites."""
    if sys.stderr is not None and sys.stderr.isatty():
        text = f"{left} to go: {what}" if left else ""
        say(f"\r{text:<78}\r")


def _table(rows: Sequence[Row]) -> str:
    """Format the results as a table of minimal width, with an empty line before each source."""
    cells = [("read from", "way", "ns/packet", "packets/s", "allocations")]
    cells += [
        (name, way, f"{cost.ns:.1f}", f"{1e9 / cost.ns:,.0f}", f"{cost.allocations:.2f}")
        for name, way, cost in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for index, row in enumerate(cells):
        if index and row[0] != cells[index - 1][0]:
            lines.append("\n")
        texts = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        texts += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(texts) + "\n")
    return "".join(lines)


def _as_json(rows: Sequence[Row], seconds: float) -> str:
    found = {
        "version": slimcap.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "seconds": seconds,
        "results": [
            {
                "source": name,
                "way": way,
                "ns_per_packet": round(cost.ns, 3),
                "packets_per_second": round(1e9 / cost.ns),
                "allocations_per_packet": round(cost.allocations, 6),
            }
            for name, way, cost in rows
        ],
    }
    return json.dumps(found) + "\n"


def _plotter(path: str) -> Callable[[Sequence[Row]], None]:
    """Return a function that writes a bar chart of nanoseconds per packet to a file.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        matplotlib cannot write files with this suffix.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot takes matplotlib: pip install 'slimcap[plot]'") from error
    kinds: dict[str, Any] = FigureCanvasAgg.get_supported_filetypes()
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in kinds:
        raise ValueError(f"{path}: what --plot writes ends in one of {', '.join(sorted(kinds))}")

    def draw(rows: Sequence[Row]) -> None:
        sources = list(dict.fromkeys(name for name, _, _ in rows))
        figure = Figure(figsize=(8, 2 + 0.18 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        height = 0.8 / len(sources)
        for place, name in enumerate(sources):
            costs = {way: cost.ns for found, way, cost in rows if found == name}
            at = [list(WAYS).index(way) + place * height for way in costs]
            axes.bar_label(axes.barh(at, list(costs.values()), height, label=name), fmt="%.0f", fontsize=6)
        axes.set_yticks([index + 0.4 - height / 2 for index in range(len(WAYS))], list(WAYS))
        axes.invert_yaxis()
        axes.set_xlabel("ns a packet")
        axes.set_title(f"slimcap {slimcap.__version__}, Python {platform.python_version()}")
        axes.legend()
        figure.savefig(path)

    return draw
