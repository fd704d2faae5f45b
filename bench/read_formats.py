"""What does pcapng cost next to classic pcap, and a compressed file next to decompressing it?

    python bench/read_formats.py --json results.json      measure, and print the table
    python bench/read_formats.py --render results.json    write it into bench/README.md

The packets of the files `a` and `b` of `captures`, as pcap and pcapng, and `b` compressed, with payloads
of words: zeros compress as no packets do. Every reader runs once a round in a process of its own:
files as they are on one CPU, compressed ones on all, since they are decompressed on a thread of their own; so
the machine has to be quiet. "Alone" is the decoder in the fastest loop that we know of, nothing reads what it
makes: for zstd that is one `readinto` after the other, for gzip and lz4 it is slimcap's own.
"""

import argparse
import gzip
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import common
import reading
from captures import Capture, capture, warm, write, write_pcapng

ALONE = "alone"
COMPRESSED = {"gz": "gzip", "zst": "zstd", "lz4": "lz4"}


def compress(kind: str, data: bytes) -> bytes:
    if kind == "gz":
        return gzip.compress(data, 6)
    module = import_module("zstandard" if kind == "zst" else "lz4.frame")
    packed: bytes = module.compress(data)
    return packed


def make(file: Capture, options: argparse.Namespace, missing: common.Missing) -> dict[str, Path]:
    """Make all the files of the same packets; return their paths by format."""
    write(file)
    made = {"pcap": file.path, "pcapng": options.dir / f"{file.path.stem}.pcapng"}
    if not made["pcapng"].exists():
        write_pcapng(file, made["pcapng"])
    for kind in COMPRESSED if file.name == "b" else ():
        noisy = capture(file.name, options.dir, text=True, scale=options.scale)
        path = noisy.path.with_suffix(f".pcap.{kind}")
        try:
            if not path.exists():
                write(noisy)
                path.write_bytes(compress(kind, noisy.path.read_bytes()))
        except ModuleNotFoundError as reason:
            common.leave_out(COMPRESSED[kind], common.Unavailable(str(reason)), missing)
        else:
            made[COMPRESSED[kind]] = path
    return made


def alone(path: str) -> None:
    """Decompress a file, and print what that took."""
    decompressor = import_module("slimcap.io.compression.detect").decompressor
    zstandard = import_module("zstandard") if path.endswith(".zst") else None
    start = perf_counter()
    with open(path, "rb", buffering=0) as file:
        if zstandard is not None:
            buffer, stream = bytearray(1 << 20), zstandard.ZstdDecompressor().stream_reader(file)
            while stream.readinto(buffer):
                pass
        else:
            reader = decompressor(file.read(6), file.read)
            while reader.read():
                pass
    print(json.dumps({"seconds": perf_counter() - start}))


def measure(file: Capture, options: argparse.Namespace, missing: common.Missing) -> dict[str, list[float]]:
    """Nanoseconds a packet, by what was read."""
    plain: dict[str, list[str]] = {}
    packed: dict[str, list[str]] = {}
    for name, path in make(file, options, missing).items():
        warm(path)
        into = plain if name in ("pcap", "pcapng") else packed
        into[name] = [sys.executable, str(common.HERE / "readers.py"), "slimcap batches", str(path)]
        into[name].append(str(file.packets))
        if into is packed:
            packed[f"{name} {ALONE}"] = [sys.executable, __file__, "--alone", str(path)]
    runs = common.rounds(plain, options.rounds, [options.cpu], missing)
    runs |= common.rounds(packed, options.rounds, os.sched_getaffinity(0), missing)
    for name, found in runs.items():
        if not name.endswith(ALONE) and any(run["sum"] != file.total(file.packets) for run in found):
            raise AssertionError(f"{name} of {file.name}: a wrong sum")
    return common.ns_per_packet(runs, file.packets)


def render(results: dict[str, Any]) -> str:
    parts = []
    for title, ns in results["files"].items():
        rows = []
        for name in ns:
            base = "pcap" if name in ("pcap", "pcapng") else f"{name.removesuffix(ALONE).strip()} {ALONE}"
            rows.append([name, f"{median(ns[name]):.1f}", base, *common.ratios(ns[name], ns.get(base))])
        header = ["slimcap batches", "ns a packet", "against", "ratio", "by round"]
        parts += [f"**{title}**", common.table(header, rows)]
    return common.document(results, parts)


def run(options: argparse.Namespace) -> dict[str, Any]:
    return reading.measure_files(
        __doc__, options, measure, "numpy", "Cython", "slimcap", "zlib-ng", "zstandard", "lz4"
    )


def arguments() -> argparse.Namespace:
    parser = reading.new_parser(__doc__)
    parser.add_argument("--alone", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.alone:
        alone(options.alone)
        return
    common.finish(options, run, render, "read_formats")


if __name__ == "__main__":
    main()
