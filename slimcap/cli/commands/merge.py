"""`slimcap merge`: merge capture files in time order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from slimcap.cli.arguments import Commands, add_command
from slimcap.cli.packets.capture_output import EPILOG, add_output, opened_output
from slimcap.cli.packets.inputs import batches_of, check_input, noting, tell
from slimcap.cli.packets.select import Choice, add_choice
from slimcap.cli.terminal.progress import wanted
from slimcap.packet.batch import Batch
from slimcap.source.file.merged import MergedSource
from slimcap.source.file.open_files import open_files

HELP: Final = f"""\
Packets come in order of time; those of one file, and those of the same time,
in the order in which they are given. Any number of files takes the memory of a
few. Interfaces that files say the same of become one.

{EPILOG}
exit code:
  0    all is well
  1    a file cannot be opened, or OUT cannot be written: it is not there; or a
       file is bad: OUT has what comes before the bad place, and the others
  2    wrong arguments
  130  Ctrl-C
  141  nobody reads the output any more
"""


def add_parser(commands: Commands) -> None:
    """Add the parser of `slimcap merge`."""
    command = add_command(
        commands,
        "merge",
        run,
        help="merge capture files in order of time",
        description="Merge capture files in order of time: pcap or pcapng, compressed or not.",
        epilog=HELP,
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a capture file; - is standard input")
    command.add_argument(
        "-w", dest="out", metavar="OUT", required=True, help="the file to write; - is standard output"
    )
    add_choice(command)
    add_output(command)


def run(args: argparse.Namespace) -> int:
    """Merge the files.

    Returns
    -------
    int
        Exit code: 0, or 1 if a file was bad.
    """
    failures: list[str] = []
    choice = Choice(args.after, args.before, args.count)
    with (
        noting("merge", failures),
        _open(args) as source,
        opened_output(args, source) as output,
    ):
        batches = _batches(source, len(args.files), failures, bar=wanted(lines=args.out == "-"))
        output.add(choice.take(batches))
    return tell(failures)


def _open(args: argparse.Namespace) -> MergedSource:
    for file in args.files:
        check_input(file)
    return open_files(args.files, filter=args.filter)


def _batches(source: MergedSource, files: int, failures: list[str], *, bar: bool) -> Iterator[Batch]:
    """Yield all batches. An error in a file is appended to `failures`, and ends only that file."""
    for _ in range(files + 1):
        with noting("merge", failures):
            yield from batches_of(source, bar=bar)
            return
