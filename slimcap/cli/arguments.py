"""Argument types and parser set-up shared by the commands."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from slimcap.cli.render.totals import SECOND

_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS_OF_1024: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_SIZE: Final = re.compile(r"(\d{1,18})([kMGT]|[KMGT]i|)B?", re.ASCII)
_EPOCH_TIME: Final = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)
_ISO_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)(?:(?<=:\d\d:\d\d)\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


class Commands(Protocol):
    """The type that `ArgumentParser.add_subparsers` returns, which has no public name in argparse."""

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
    """Add a command and return its parser, to which the caller adds arguments.

    Parameters
    ----------
    commands : Commands
        The subparsers to add the command to.
    name : str
        Name of the command.
    run : callable
        Function that runs the command: it accepts the parsed arguments and returns the exit code.
    help, description, epilog : str
        Help texts, as for argparse. The epilog is printed as it is, without re-wrapping.
    """
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
    """Parse a number of packets, 0 or more; for argparse's `type`."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"a number from 0 on is needed, not {text!r}")
    return number


def positive(text: str) -> int:
    """Parse a number, 1 or more; for argparse's `type`."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on is needed, not {text!r}")
    return number


def size(text: str) -> int:
    """Parse a number of bytes, with or without a unit; for argparse's `type`."""
    found = _SIZE.fullmatch(text)
    number = int(found[1]) * (_UNITS | _UNITS_OF_1024)[found[2]] if found else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a size such as 500k, 100M or 1GiB is needed, not {text!r}")
    return number


def moment(text: str) -> int:
    """Parse a time to nanoseconds since the Unix epoch; for argparse's `type`.

    The text is in seconds since the epoch or in ISO 8601. A time without a UTC offset is in UTC.
    """
    if found := _EPOCH_TIME.fullmatch(text):
        return int(found[1]) * SECOND + _nanoseconds(found[2])
    found = _ISO_TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        offset = datetime.strptime(found[3] or "Z", "%z").utcoffset()
        when = datetime.fromisoformat(found[1]).replace(tzinfo=UTC) - (offset or timedelta())
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"a time such as 2024-03-01T12:00:00.5Z or 1709294400.5 is needed, not {text!r}"
        ) from None
    return (when - datetime.fromtimestamp(0, UTC)) // timedelta(seconds=1) * SECOND + _nanoseconds(found[2])


def _nanoseconds(fraction: str | None) -> int:
    """Convert the decimal digits of a fraction of a second to nanoseconds; None is 0."""
    return int((fraction or "").ljust(9, "0"))


def seconds(text: str) -> float:
    """Parse a finite number of seconds greater than 0; for argparse's `type`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, not {text!r}")
    return number
