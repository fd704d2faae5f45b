"""`slimcap merge`: merge capture files in time order."""

from __future__ import annotations

import argparse
from typing import Final

from slimcap.cli.packets.capture_output import OUTPUT_DETAILS, add_output, opened_output
from slimcap.cli.packets.conditions import FILTER_DETAILS
from slimcap.cli.packets.inputs import (
    add_reading,
    expanded,
    merged_batches,
    noting,
    open_merged,
    report_failures,
)
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.terminal.live_line import wanted
from slimcap.cli.terminal.streams import reason

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
        noting("merge", failures),
        open_merged("merge", files, args) as source,
        opened_output(args, source) as output,
    ):
        batches = merged_batches(source, "merge", len(files), failures, bar=wanted(lines=args.out == "-"))
        output.add(choice.take(batches))
        skipped += map(reason, source.errors)
    return report_failures(skipped, args.on_error) or report_failures(failures)
