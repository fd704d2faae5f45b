"""The `slimcap` command: argument parsing and exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

import slimcap
from slimcap.cli.commands import bench, capture, convert, info, links, merge, read
from slimcap.cli.terminal.streams import OutputError, complain, drop_output, write

FAILED: Final = 1
INTERRUPTED: Final = 128 + 2  # the exit code of shells for SIGINT
BROKEN_PIPE: Final = 128 + 13  # the exit code of shells for SIGPIPE

COMMANDS: Final = (read, info, convert, merge, capture, links, bench)
"""The modules of the commands, in the order of `--help`. Each adds a parser that sets the function to run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `slimcap` command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, without the program name. Default: those of this process (`sys.argv[1:]`).

    Returns
    -------
    int
        Exit code: that of the command, 1 if the output cannot be written, 2 for wrong arguments, 130 after
        Ctrl-C, 141 if the reader of standard output has closed the pipe.
    """
    try:
        code = _run(argv)
        write("")  # flushes the output of argparse
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OutputError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            code = BROKEN_PIPE
        else:
            complain(str(error))
            code = FAILED
    else:
        return code
    drop_output()
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        code: int = args.run(args)
    except SystemExit as stop:  # --help, --version, or wrong arguments
        return int(stop.code or 0)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slimcap", description="Capture packets, and read captures.")
    parser.add_argument("--version", action="version", version=f"slimcap {slimcap.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
