"""The `slimcap` command: argument parsing and exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import slimcap
from slimcap.cli.commands import capture, convert, doctor, flows, info, links, merge, read, top
from slimcap.cli.terminal.streams import OutputError, complain, drop_output, printable, write

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 128 + 2, 128 + 13  # the last two as shells do for SIGINT and SIGPIPE

# In the order of `--help`: modules with SUMMARY, DETAILS, `add_arguments` and `run`.
COMMANDS: Final = (read, info, flows, convert, merge, capture, top, links, doctor)

EXIT_CODES: Final = """
exit code:
  0    success
  1    an error, which standard error explains
  2    invalid arguments
  130  interrupted by Ctrl-C
  141  standard output is a pipe that its reader has closed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `slimcap` command and return its exit code.

    `argv` are the arguments, without the program name; default: those of this process (`sys.argv[1:]`).
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
        words = sys.argv[1:] if argv is None else argv
        args, rest = _parser(words).parse_known_args(words)
        if rest:
            _accept(args, rest)
        return int(args.run(args))
    except SystemExit as stop:  # --help, --version, or invalid arguments
        return int(stop.code or 0)


def _accept(args: argparse.Namespace, rest: list[str]) -> None:
    """Add words that argparse left over to a command that accepts any number; else end with its usage.

    argparse gives a list all words before the first option, and leaves those after it.
    """
    unknown = [word for word in rest if word.startswith("-")] if hasattr(args, "words") else rest
    if unknown:
        args.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.words += rest


class _Parser(argparse.ArgumentParser):
    """A parser whose errors, which contain arguments, do not control the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of all commands, or only of the one that these words name.

    Those of all commands take milliseconds.
    """
    named = next((word for word in words or () if not word.startswith("-")), None)
    parser = _Parser(prog="slimcap", description="Capture packets, and read captures.")
    parser.add_argument("--version", action="version", version=f"slimcap {slimcap.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
            epilog=module.DETAILS + EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if words is None or name == named:
            module.add_arguments(command)
        command.set_defaults(run=module.run, error=command.error)
    return parser
