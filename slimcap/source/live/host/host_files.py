"""Files of /proc and /sys that tell how the host receives packets, parsed.

What is missing or malformed is left out: in a container or a sandbox, these files may contain anything.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_MAX_SIZE: Final = 1 << 20  # bytes of a file that are read; for 4 MiB, /proc/sys answers ENOMEM
_MAX_CPUS: Final = 1 << 16
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_RANGE: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{1,16}", re.ASCII | re.IGNORECASE)
_INTERRUPT: Final = re.compile(r"\s*(\d{1,9}):(.*)", re.ASCII)
# Interrupts of a device for something else than receiving.
_NOT_RECEIVING: Final = re.compile(r"[-._](tx(?!rx)|output|config|event|async|mgmnt|misc)", re.IGNORECASE)


class Backlog(NamedTuple):
    """Sums over all CPUs of /proc/net/softnet_stat."""

    processed: int
    dropped: int


def read_text(path: Path) -> str | None:
    """Return the text of a file; None if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_MAX_SIZE).decode("latin-1")
    return None


def read_number(path: Path) -> int | None:
    """Return the number in a file, such as a sysctl; None if it cannot be read or has none."""
    text = (read_text(path) or "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_softnet(text: str) -> Backlog | None:
    """Return the sums of /proc/net/softnet_stat; None if no line has the two columns."""
    rows = [line.split()[:2] for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 2 and all(map(_HEX.fullmatch, row))]
    if not rows:
        return None
    processed, dropped = (sum(int(value, 16) for value in column) for column in zip(*rows, strict=True))
    return Backlog(processed, dropped)


def parse_interrupts(text: str, devices: set[str], numbers: set[int]) -> list[int]:
    """Return the interrupts for receiving in /proc/interrupts.

    Parameters
    ----------
    text : str
        Text of the file.
    devices : set of str
        Names of the interface and its device, of which one starts the name of an interrupt: eth0-TxRx-0.
    numbers : set of int
        Interrupts of the device, whatever their names.

    Returns
    -------
    list of int
    """
    found = []
    for line in text.splitlines():
        match = _INTERRUPT.match(line)
        if match is None:
            continue
        number, name = int(match[1]), match[2].rstrip().rpartition(" ")[2]
        is_of_device = number in numbers or re.split(r"[-@.:]", name)[0] in devices or name in devices
        if is_of_device and not _NOT_RECEIVING.search(name):
            found.append(number)
    return found


def parse_cpus(text: str) -> set[int]:
    """Return the numbers of a list of CPUs as "0-3,8"; an empty set if the text is not one."""
    found: set[int] = set()
    for part in text.strip().split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            return set()
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < _MAX_CPUS:
            return set()
        found |= set(range(first, last + 1))
    return found


def parse_mask(text: str) -> int:
    """Return a mask of CPUs, as "00000000,0000000f"; 0 if the text is not one."""
    digits = text.strip().replace(",", "")
    return int(digits, 16) if re.fullmatch(r"[0-9a-fA-F]{1,16384}", digits) else 0
