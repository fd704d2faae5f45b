"""The `slimcap` command: its arguments, and its exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

import slimcap
from slimcap.cli.output import OutputError, complain, drop_output, reason, write
from slimcap.cli.read import run as read

FAILED: Final = 1
INTERRUPTED: Final = 128 + 2  # as shells say SIGINT
BROKEN_PIPE: Final = 128 + 13  # as shells say SIGPIPE

READ_HELP: Final = """\
each packet's line:
  time            UTC, with as many digits as the file has
  type            In, Out, B (broadcast), M (multicast), P (for another host),
                  - (the file does not say)
  lengths         bytes captured / bytes on the wire
  IP layer        source:port => destination:port (protocol number),
                  port 0 where there is none
  vlan            number of the outermost tag, if there is one

With --json it is an object with timestamp (ISO 8601), timestamp_ns (since
1970), type, cap_len, total_len, vlan, ip_offset (where in the packet the IP
header starts), ip_version, protocol (number), src, dst, sport, dport. All of
them are always there; null is what the packet does not have, or was cut off.

In a summary, sizes are bytes on the wire, link-layer header included; first
and last are the earliest and the latest packet. With --json it is one object;
null is what it takes packets, or time between them, to tell.

Files that take long get a progress bar, if standard error is a terminal and
tqdm is installed (pip install 'slimcap[cli]'); but not if lines go to the
terminal or into a pipe, where a bar would be in the way.

exit code:
  0    all is well
  1    a file is bad: what comes before the bad place was shown, and so were
       the other files; or the filter is no filter for a file's link type
  2    wrong arguments
  130  Ctrl-C; a summary tells what was read so far
  141  nobody reads the output any more
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Its arguments, instead of those of this process.

    Returns
    -------
    int
        Exit code.
    """
    try:
        code = _run(argv)
        write("")  # flushes what argparse wrote
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OutputError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            code = BROKEN_PIPE
        else:
            complain(reason(error.__cause__))
            code = FAILED
    else:
        return code
    drop_output()
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # --help, --version, or wrong arguments
        return int(stop.code or 0)
    return read(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slimcap", description="Read packet captures.")
    parser.add_argument("--version", action="version", version=f"slimcap {slimcap.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "read",
        help="show the packets of capture files",
        description="Show the packets of capture files, pcap or pcap.gz, a line each.",
        epilog=READ_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a capture file; - is standard input")
    command.add_argument(
        "-n", dest="count", type=_count, metavar="COUNT", help="stop after so many packets of all files"
    )
    command.add_argument(
        "--filter", metavar="EXPRESSION", help="show only the packets that it takes, as for tcpdump"
    )
    command.add_argument("--summary", action="store_true", help="show totals, sizes and protocols instead")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"a number from 0 on is needed, not {text!r}")
    return count
