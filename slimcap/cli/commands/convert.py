"""`slimcap convert`: convert a capture file."""

from __future__ import annotations

import argparse
from typing import Final

from slimcap.cli.packets.capture_output import OUTPUT_DETAILS, add_output, opened_output
from slimcap.cli.packets.conditions import FILTER_DETAILS, selection
from slimcap.cli.packets.inputs import add_reading, batches_of, noting, open_input, report_failures
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.terminal.live_line import wanted

SUMMARY: Final = "convert a capture file: change its format, select packets, split it"
DETAILS: Final = f"""\
IN is a pcap or pcapng file, compressed or not. If it is damaged, OUT contains
the packets before the damage.

{FILTER_DETAILS}
{OUTPUT_DETAILS}"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `slimcap convert`."""
    command.add_argument("file", metavar="IN", help="capture file; - is standard input")
    command.add_argument("out", metavar="OUT", help="file to write; - is standard output")
    add_choice(command)
    add_reading(command)
    add_output(command)


def run(args: argparse.Namespace) -> int:
    """Convert the file; return 1 if it was bad."""
    failures: list[str] = []
    damage: list[str] = []
    choice = Choice(args.after, args.before, args.count)
    with (
        noting(args.file, failures),
        open_input(args.file, concatenated=args.concatenated, **selection(args)) as source,
        opened_output(args, source) as output,
        noting(args.file, damage),
    ):
        output.add(choice.take(batches_of(source, bar=wanted(lines=args.out == "-"))))
    return report_failures(damage, args.on_error) or report_failures(failures)
