"""`Finding`: the outcome of one check of `slimcap doctor`."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """Result of a check."""

    OK = "ok"  # nothing is to do
    ADVICE = "advice"  # capturing works, and could be better
    PROBLEM = "problem"  # capturing fails, or packets are being lost
    UNKNOWN = "unknown"  # it could not be seen


class Finding(NamedTuple):
    """Outcome of a check.

    Attributes
    ----------
    check : str
        Name of the check.
    status : Status
        Its result.
    found : str
        What was found, in a line.
    interface : str or None
        Name of the interface; None if the check is of the host.
    advice : str
        What it means, and what can be done; "" if nothing is to do.
    commands : tuple of str
        Commands for a shell that do it.
    """

    check: str
    status: Status
    found: str
    interface: str | None = None
    advice: str = ""
    commands: tuple[str, ...] = ()


def as_root(command: str) -> str:
    """Return a command that runs as root."""
    return command if os.geteuid() == 0 else f"sudo {command}"


def write_command(value: object, path: str) -> str:
    """Return a command that writes a value to a file of /proc or /sys as root."""
    return f"echo {value} | {as_root(f'tee {path}')}"


def loss(lost: int, lost_before: int, packets: int, interval: float) -> tuple[Status, str]:
    """Judge a loss of packets by two readings of a counter.

    Parameters
    ----------
    lost, lost_before : int
        The counter now, and `interval` seconds ago.
    packets : int
        The packets that were not lost, since the counter was 0.
    interval : float
        Seconds.

    Returns
    -------
    tuple of Status and str
        PROBLEM if packets were lost in the interval, ADVICE if one in 10,000 or more was lost earlier; the
        counts as text.
    """
    now = max(lost - lost_before, 0)
    text = f"{lost:,} packets lost of {packets + lost:,}"
    if interval:
        text += f", {now:,} of them in the last {interval:g} s"
    if now:
        return Status.PROBLEM, text
    return (Status.ADVICE if lost * 10_000 > packets + lost else Status.OK), text
