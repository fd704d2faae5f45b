"""What does it cost to rewrite a capture file, next to C and to editcap?

    python bench/write.py --json write.json      measure, and print the table
    python bench/write.py --render write.json    write it into bench/README.md

The files `a` and `b` of `captures` are read, and written with nanoseconds to /dev/null, as pcap and as
pcapng. "C" is c/write_pcap.c; "batches" are those of `open_file`, given to a writer; "slimcap convert" is
the command without its start, "editcap" with it. That C and we write the packets that were read is checked.
Every one runs once a round in a process of its own, on one CPU.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from importlib import import_module
from time import perf_counter
from typing import Any, Final

import common
import programs
import reading
from captures import Capture, warm, write

FORMATS: Final = {"pcap": "nsecpcap", "pcapng": "pcapng"}  # and what editcap calls them
WRITERS: Final = ("C", "batches", "slimcap convert", "editcap")


def write_anew(how: str, kind: str, path: str, to: str) -> None:
    """Rewrite a file in one of the ways."""
    slimcap = import_module("slimcap")
    if how == "batches":
        with slimcap.open_file(path) as source, slimcap.open_writer(to, format=kind) as writer:
            for batch in source.batches():
                writer.write_batch(batch)
    elif how == "slimcap convert":
        if import_module("slimcap.cli.main").main(["convert", "--format", kind, path, to]):
            raise SystemExit(1)
    else:
        subprocess.run([common.find_program(how), "-F", FORMATS[kind], path, to], check=True)


def child(how: str, kind: str, path: str) -> None:
    """Measure one of them, and print what it took."""
    if how == "slimcap convert":
        import_module("slimcap.cli.main")
    import_module("slimcap")
    start = perf_counter()
    try:
        write_anew(how, kind, path, "/dev/null")
    except common.Unavailable as reason:
        common.skip(reason)
    print(json.dumps({"seconds": perf_counter() - start}))


def digests(path: str) -> list[bytes]:
    """Of the packets of a file, whatever its format: of times, lengths and first bytes."""
    slimcap = import_module("slimcap")
    found = [hashlib.sha256() for _ in range(3)]
    with slimcap.open_file(path) as source:
        for batch in source.batches():
            for part, column in zip(
                found, (batch["timestamp"], batch["total_len"], batch.gather(64)), strict=True
            ):
                part.update(column.tobytes())
    return [part.digest() for part in found]


def check(commands: dict[str, list[str]], file: Capture) -> None:
    """Raise if what a command writes has other packets than the file."""
    wanted = digests(str(file.path))
    for how, command in commands.items():
        with tempfile.NamedTemporaryFile(dir=file.path.parent) as to:
            subprocess.run([*command, to.name], check=True, stdout=subprocess.DEVNULL)
            if digests(to.name) != wanted:
                raise AssertionError(f"{how} of {file.name}: other packets")


def measure(file: Capture, options: argparse.Namespace, missing: common.Missing) -> dict[str, Any]:
    """Nanoseconds a packet, by format and by what writes it."""
    write(file)
    warm(file.path)
    program = str(programs.build_c("write_pcap", options.dir))
    found: dict[str, Any] = {}
    for kind in FORMATS:
        commands = {
            how: [program, kind, str(file.path), "/dev/null"]
            if how == "C"
            else [sys.executable, __file__, "--child", how, kind, str(file.path)]
            for how in WRITERS
        }
        ours = [sys.executable, __file__, "--write", "slimcap convert", kind, str(file.path)]
        check({"C": commands["C"][:-1], "slimcap convert": ours}, file)
        runs = common.rounds(commands, options.rounds, [options.cpu], missing)
        found[kind] = common.ns_per_packet(runs, file.packets)
    return found


def render(results: dict[str, Any]) -> str:
    return reading.render_ratios(results, "C")


def run(options: argparse.Namespace) -> dict[str, Any]:
    return reading.measure_files(__doc__, options, measure, "numpy", "Cython", "slimcap")


def arguments() -> argparse.Namespace:
    parser = reading.new_parser(__doc__)
    parser.add_argument("--child", nargs=3, metavar=("HOW", "FORMAT", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=4, metavar=("HOW", "FORMAT", "FILE", "TO"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child:
        child(*options.child)
    elif options.write:
        write_anew(*options.write)
    else:
        common.finish(options, run, render, "write")


if __name__ == "__main__":
    main()
