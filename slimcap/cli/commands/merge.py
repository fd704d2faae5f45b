"""`slimcap merge`: merge capture files in time order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final, Literal

from slimcap.cli.packets.capture_output import OUTPUT_DETAILS, add_output, opened_output
from slimcap.cli.packets.conditions import FILTER_DETAILS, selection
from slimcap.cli.packets.inputs import (
    add_reading,
    all_descriptors,
    batches_of,
    check_input,
    expanded,
    noting,
    report_failures,
    warning_of_link_types,
)
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.terminal.live_line import wanted
from slimcap.cli.terminal.streams import reason
from slimcap.packet.batch import Batch
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.open_files import open_files

SUMMARY: Final = "merge capture files in time order"
DETAILS: Final = f"""\
FILEs are pcap or pcapng, compressed or not. Packets of the same file, or with
the same time, stay in the order in which they are given. Interfaces with the
same description become one. Memory use does not grow with the number of files.

A folder stands for the files in it. If a file cannot be opened, OUT is not
written, unless --on-error is given. If one is damaged, OUT contains its packets
before the damage, and those of the other files.

{FILTER_DETAILS}
{OUTPUT_DETAILS}"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap merge`."""
    command.add_argument("files", nargs="+", metavar="FILE", help="capture file; - is standard input")
    output = "file to write; - is standard output"
    command.add_argument("-w", dest="out", metavar="OUT", required=True, help=output)
    add_choice(command)
    add_reading(command)
    add_output(command)


def run(args: argparse.Namespace) -> int:
    """Merge the files; return 1 if one of them was bad."""
    failures: list[str] = []
    choice = Choice(args.after, args.before, args.count)
    files = list(expanded(args.files))
    skipped: list[str] = []
    with (
        all_descriptors(),
        noting("merge", failures),
        _open(files, args) as source,
        warning_of_link_types(source, "merge"),
        opened_output(args, source) as output,
    ):
        batches = _batches(source, len(files), failures, bar=wanted(lines=args.out == "-"))
        output.add(choice.take(batches))
        skipped += map(reason, source.errors)
    return report_failures(skipped, args.on_error) or report_failures(failures)


def _open(files: list[str], args: argparse.Namespace) -> MergedSource:
    for file in files:
        check_input(file)
    # Warnings are ours: `report_failures` writes them.
    on_error: Literal["raise", "skip"] = "raise" if args.on_error == "raise" else "skip"
    selected = selection(args)
    return open_files(
        files,
        filter=selected["filter"],
        where=selected["where"],
        concatenated=args.concatenated,
        on_error=on_error,
    )


def _batches(source: MergedSource, files: int, failures: list[str], *, bar: bool) -> Iterator[Batch]:
    """Yield all batches. An error in a file is appended to `failures`, and ends only that file."""
    for _ in range(files + 1):
        with noting("merge", failures):
            yield from batches_of(source, bar=bar)
            return
