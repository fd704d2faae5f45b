"""How near to a C program is reading a capture file with slimcap, and how far from other readers?

    python bench/read_pcap.py --json results.json      measure, and print the tables
    python bench/read_pcap.py --render results.json    write the tables into the READMEs

Every reader runs in a process of its own on one CPU, once a round, over files in the page cache. The time is
from opening the file to its end, and every sum of lengths is checked. Readers that only call once a packet
are compared with a call of an empty Cython method, too: what the call itself costs is their time less that of
`slimcap batches`, since decoding the file is in both.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import common
import programs
import reading
from captures import Capture, capture, warm, write, write_repeated
from readers import READERS

C_ROWS, NEXT_EX, BATCHES = "C rows", "C libpcap next_ex", "slimcap batches"
EMPTY, EMPTY_NEXT = "empty method", "empty __next__"
FOR_PACKET, NEXT_BUF = "for packet in source", "next_packet(buf)"
SHOWN = (C_ROWS, BATCHES, FOR_PACKET, NEXT_BUF, NEXT_EX, "pcapy-ng next_batch", "scapy RawPcapReader", "dpkt")

OWN, LIBPCAP = "read_pcap", "libpcap_next_ex"  # the C programs
C_READERS = {
    "C walk": (OWN, "walk"),
    C_ROWS: (OWN, "rows"),
    NEXT_EX: (LIBPCAP, "next_ex"),
    "C libpcap dispatch": (LIBPCAP, "dispatch"),
}
CALLS = list(READERS)[list(READERS).index(EMPTY) :]  # these only call; those before add up lengths
SUMS = [*C_READERS, *(name for name in READERS if name not in CALLS)]
SLOW = {"dpkt", "scapy RawPcapReader", "next_batch(1)"}  # they read only the first packets
SLOW_PACKETS = 200_000
PACKAGES = ("numpy", "Cython", "slimcap", "dpkt", "scapy", "pcapy-ng")

Results = dict[str, Any]


def build(folder: Path, missing: common.Missing) -> dict[str, Path]:
    """Build the C programs, and put the empty Cython methods where the children find them."""
    built = {}
    for name, libraries in ((OWN, ()), (LIBPCAP, ("pcap",))):
        try:
            built[name] = programs.build_c(name, folder, *libraries)
        except common.Unavailable as reason:
            common.leave_out(f"C {name}", reason, missing)
    try:
        programs.add_to_path(programs.build_cython("empty", folder))
    except common.Unavailable as reason:
        common.leave_out(EMPTY, reason, missing)
    return built


def commands(file: Capture, built: Mapping[str, Path], options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command line of each reader that is wanted and was built, in the order of the tables."""
    found = {}
    for name, (program, mode) in C_READERS.items():
        if program in built:
            found[name] = [str(built[program]), mode, str(file.path)]
    for name in READERS:
        found[name] = python_reader(name, file.path, packets_of(name, file, options))
    only = options.only
    wanted = {name: found[name] for name in found if not only or any(part in name for part in only)}
    if not wanted:
        raise SystemExit(f"no reader is called like {' or '.join(only)}; there are {', '.join(found)}")
    return wanted


def python_reader(name: str, path: Path, packets: int) -> list[str]:
    return [sys.executable, str(common.HERE / "readers.py"), name, str(path), str(packets)]


def packets_of(name: str, file: Capture, options: argparse.Namespace) -> int:
    return min(common.scaled(SLOW_PACKETS, options), file.packets) if name in SLOW else file.packets


def check(name: str, file: Capture, packets: int, found: Mapping[str, Any]) -> None:
    expected = file.total(packets)
    if found["packets"] != packets or found["sum"] not in (expected, None):
        raise AssertionError(f"{name} found {found} in {file.name}, not {packets} packets, {expected} bytes")


def measure(
    file: Capture, options: argparse.Namespace, built: Mapping[str, Path], missing: common.Missing
) -> Results:
    write(file)
    warm(file.path)
    wanted = commands(file, built, options)
    found = common.rounds(wanted, options.rounds, [options.cpu], missing)
    for name, runs in found.items():
        for run in runs:
            check(name, file, packets_of(name, file, options), run)
    ns = common.ns_per_packet(found)
    return {"title": file.title, "packets": file.packets, "bytes": file.size, "ns_per_packet": ns}


def measure_memory(file: Capture, options: argparse.Namespace, missing: common.Missing) -> Results | None:
    """Add up a file of --big bytes with slimcap, and see how much memory that took."""
    write(file)
    path = options.dir / "big.pcap"
    try:
        times = write_repeated(file, path, options.big)
        run = common.run_child(python_reader(BATCHES, path, times * file.packets), [options.cpu])
        if run["sum"] != times * file.total(file.packets):
            raise AssertionError(f"a wrong sum over the big file: {run}")
        return {"bytes": path.stat().st_size, **run}
    except common.Unavailable as reason:
        common.leave_out("the big file", reason, missing)
        return None
    finally:
        path.unlink(missing_ok=True)


def libpcap_version(built: Mapping[str, Path]) -> dict[str, str]:
    if LIBPCAP not in built:
        return {}
    said = subprocess.run([built[LIBPCAP], "version"], capture_output=True, text=True, check=True).stdout
    return {"libpcap": said.removeprefix("libpcap version ").split()[0]}


def run(options: argparse.Namespace) -> Results:
    missing: common.Missing = {}
    built = build(options.dir, missing)
    files = {file.name: measure(file, options, built, missing) for file in reading.files(options)}
    memory = measure_memory(capture("b", options.dir), options, missing) if options.big else None
    found = common.new_results(__doc__, options, PACKAGES, files=files, memory=memory, missing=missing)
    found["machine"]["versions"] |= libpcap_version(built)
    return found


def sums_table(file: Results) -> str:
    header = ["sum of lengths", "ns a packet", "GB/s", "x C rows", "by round", "x next_ex", "by round"]
    ns, size = file["ns_per_packet"], file["bytes"] / file["packets"]
    rows = []
    for name in filter(ns.get, SUMS):
        speed = [f"{median(ns[name]):.1f}", f"{size / median(ns[name]):.2f}"]
        against = (common.ratios(ns[name], ns.get(base)) for base in (C_ROWS, NEXT_EX))
        rows.append([name, *speed, *(cell for cells in against for cell in cells)])
    return common.table(header, rows)


def calls_table(ns: Mapping[str, list[float]]) -> str:
    header = ["one call a packet", "ns a call", "x empty", "less batches, ns", "x empty"]
    rows = []
    for name in CALLS:
        if ns.get(name):
            batches = None if name in (EMPTY, EMPTY_NEXT) else ns.get(BATCHES)
            rows.append([name, *call_costs(ns[name], ns.get(EMPTY), batches)])
    return common.table(header, rows)


def call_costs(calls: list[float], empty: list[float] | None, batches: list[float] | None) -> list[str]:
    """Return the cost of calls with and without decoding, each also as a multiple of an empty call."""
    cells = []
    without = [call - batch for call, batch in zip(calls, batches, strict=True)] if batches else None
    for costs in (calls, without):
        cells.append(f"{median(costs):.1f}" if costs else "-")
        cells.append(f"{common.median_of_ratios(costs, empty):.2f}" if costs and empty else "-")
    return cells


def short_table(results: Results) -> str:
    """The table for the project's README: nanoseconds a packet of some readers."""
    files = [file["ns_per_packet"] for file in results["files"].values()]
    header = ["ns a packet", *(file["title"].split(" (")[0] for file in results["files"].values())]
    rows = [
        [name, *(f"{median(ns[name]):.1f}" for ns in files)]
        for name in SHOWN
        if all(name in ns for ns in files)
    ]
    return common.table(header, rows) + f"\n\n{common.describe(results['machine'])}\n"


def render(results: Results) -> str:
    parts = []
    for name, file in results["files"].items():
        ns = file["ns_per_packet"]
        title = f"**{name}**: {file['title']}, {file['bytes'] / 1e6:.0f} MB"
        parts += [title, sums_table(file), calls_table(ns)]
    if memory := results["memory"]:
        size, peak, before = (memory[key] / 1e6 for key in ("bytes", "rss_peak", "rss_before"))
        parts.append(
            f"A file of {size / 1e3:.1f} GB, added up with slimcap batches: {memory['seconds']:.1f} s, "
            f"{peak:.0f} MB of memory at most, {before:.0f} MB of it before the file was opened."
        )
    return common.document(results, parts)


def arguments() -> argparse.Namespace:
    parser = reading.new_parser(__doc__)
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="PART", help="only readers with this in their names")
    add("--big", type=float, default=0, metavar="BYTES", help="see what memory a file this big takes")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    common.finish(options, run, render, "read_pcap", ("bench", short_table))


if __name__ == "__main__":
    main()
