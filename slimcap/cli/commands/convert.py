"""`slimcap convert`: write a capture file, or a part of it, in another form."""

from __future__ import annotations

import argparse
from typing import Final

from slimcap.cli.arguments import Commands, add_command
from slimcap.cli.packets.capture_output import EPILOG, add_output, opened_output
from slimcap.cli.packets.inputs import batches_of, noting, open_input, tell
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.terminal.progress import wanted

HELP: Final = f"""\
{EPILOG}
exit code:
  0    all is well
  1    IN is bad: what comes before the bad place is in OUT; or OUT cannot be
       written, and is not there
  2    wrong arguments
  130  Ctrl-C
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap convert`."""
    command = add_command(
        commands,
        "convert",
        run,
        help="write a capture file anew: other format, fewer packets, several files",
        description="Write a capture file, or some of it, anew: pcap or pcapng, compressed or not.",
        epilog=HELP,
    )
    command.add_argument("file", metavar="IN", help="a capture file; - is standard input")
    command.add_argument("out", metavar="OUT", help="the file to write; - is standard output")
    add_choice(command)
    add_output(command)


def run(args: argparse.Namespace) -> int:
    """Convert the file.

    Returns
    -------
    int
        Exit code: 0, or 1 if the file was bad.
    """
    failures: list[str] = []
    choice = Choice(args.after, args.before, args.count)
    with (
        noting(args.file, failures),
        open_input(args.file, filter=args.filter) as source,
        opened_output(args, source) as output,
        noting(args.file, failures),
    ):
        output.add(choice.take(batches_of(source, bar=wanted(lines=args.out == "-"))))
    return tell(failures)
