"""What the commands' parsers have in common."""

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


def positive(text: str) -> int:
    """A number of something, as argparse's `type`."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on is needed, not {text!r}")
    return number


def size(text: str) -> int:
    """A number of bytes with or without a unit, as argparse's `type`."""
    found = _SIZE.fullmatch(text)
    number = int(found[1]) * (_UNITS | _UNITS_OF_1024)[found[2]] if found else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a size such as 500k, 100M or 1GiB is needed, not {text!r}")
    return number


def moment(text: str) -> int:
    """A point of time as nanoseconds since 1970, as argparse's `type`: seconds since 1970, or ISO 8601.

    Without an offset it is UTC.
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
    """Of the digits of a fraction of a second."""
    return int((fraction or "").ljust(9, "0"))


def seconds(text: str) -> float:
    """A time, as argparse's `type`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is needed, not {text!r}")
    return number
