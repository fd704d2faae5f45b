"""Argument types, and options that several commands share."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args, get_origin

from slimcap.option_set import Option, parse_size

_DURATION: Final = re.compile(r"([\d.]+(?:e[+-]?\d+)?)([smhd]?)", re.ASCII)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_EPOCH_TIME: Final = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)
_FRACTION: Final = re.compile(r"(?<=[T ]\d\d:\d\d:\d\d)\.(\d{1,9})(?!\d)", re.ASCII)


def add_option(command: argparse._ActionsContainer, name: str, option: Option, **more: Any) -> None:
    """Add an option of a source as it is declared; `more` are other arguments of argparse."""
    if option.annotation is bool:
        more["action"] = "store_true"
    else:
        is_choice = get_origin(option.annotation) is Literal
        more |= {"default": option.default, "choices": get_args(option.annotation) if is_choice else None}
    command.add_argument(f"--{name.replace('_', '-')}", **more)


def add_filter(command: argparse.ArgumentParser) -> None:
    """Add the option --filter."""
    command.add_argument("--filter", metavar="EXPRESSION", help="select packets by a tcpdump expression")


def add_count(command: argparse.ArgumentParser, verb: str, *other_names: str) -> None:
    """Add the option --count; `verb` is what the command does with the packets, for the help text."""
    help = f"{verb} at most COUNT packets"
    command.add_argument("-n", *other_names, "--count", type=number(int, 0), metavar="COUNT", help=help)


def number(kind: type[int | float], minimum: float, maximum: float = math.inf) -> Callable[[str], float]:
    """Return a parser of numbers from `minimum` to `maximum`; for argparse's `type`."""
    name = "an integer" if kind is int else "a number"
    limits = f"of {minimum} or more" if maximum == math.inf else f"from {minimum} to {maximum}"

    def parse(text: str) -> float:
        try:
            value: float = kind(text)
        except ValueError:
            value = math.nan
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {limits}")
        return value

    return parse


def names_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a function for argparse's `type`, which parses names that are separated by commas."""

    def names(text: str) -> tuple[str, ...]:
        found = tuple(name.strip() for name in text.split(",") if name.strip())
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"must be {', '.join(known)}, not {name!r}")
        return found

    return names


def duration(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a parser of durations, which are in seconds or have a unit; for argparse's `type`."""

    def parse(text: str) -> float:
        found = _DURATION.fullmatch(text)
        try:
            value = float(found[1]) * _SECONDS[found[2]] if found else math.nan
        except ValueError:
            value = math.nan
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a valid duration: use one such as 90, 0.5s, 5m, 1h or 7d, "
                f"from {minimum:g} to {maximum:g} seconds"
            )
        return value

    return parse


def size(text: str) -> int:
    """Parse a number of bytes, with or without a unit; for argparse's `type`."""
    value = parse_size(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid size: use one such as 500k, 100M or 1GiB")
    return value


def mebibytes(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser of sizes between two numbers of MiB; for argparse's `type`."""

    def parse(text: str) -> int:
        value = size(text)
        if not minimum << 20 <= value <= maximum << 20:
            raise argparse.ArgumentTypeError(f"{text!r} is not from {minimum}MiB to {maximum}MiB")
        return value

    return parse


def time_ns(text: str) -> int:
    """Parse a time to nanoseconds since the Unix epoch; for argparse's `type`.

    The text is in seconds since the epoch or in ISO 8601. A time without a UTC offset is in UTC.
    """
    if found := _EPOCH_TIME.fullmatch(text):
        seconds, fraction = int(found[1]), found[2]
    else:
        found = _FRACTION.search(text)  # parsed here: datetime would truncate it to microseconds
        fraction = found[1] if found else None
        try:
            seconds = _seconds(_FRACTION.sub("", text))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a valid time: use one such as 2024-03-01T12:00:00.5Z or 1709294400.5"
            ) from None
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def _seconds(text: str) -> int:
    """Parse a time in ISO 8601, without a fraction of a second, to seconds since the Unix epoch."""
    if "." in text or "," in text:
        raise ValueError
    time = datetime.fromisoformat(text)
    return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // timedelta(seconds=1)
