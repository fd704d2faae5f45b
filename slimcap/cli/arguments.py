"""What the commands' parsers have in common."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Protocol


class Commands(Protocol):
    """What `ArgumentParser.add_subparsers` gives, which has no public name."""

    def add_parser(
        self,
        name: str,
        *,
        help: str,
        description: str,
        epilog: str,
        formatter_class: type[argparse.HelpFormatter],
    ) -> argparse.ArgumentParser: ...


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    """Add a command, which `run` runs; gives its parser, to take arguments. The epilog stays as it is."""
    command = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def count(text: str) -> int:
    """A number of packets, as argparse's `type`."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"a number from 0 on is needed, not {text!r}")
    return number


def seconds(text: str) -> float:
    """A time, as argparse's `type`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, not {text!r}")
    return number
