"""Memory that can be allocated without the kernel's OOM killer.

A ring of the kernel counts as memory of the host only: alloc_pg_vec charges it to no control group, so their
limits do not apply, and if the host has too little, the kernel kills processes instead of returning ENOMEM.
Other memory also counts for the control group of the process and those around it.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_RESERVE: Final = 16  # 1/16 of the memory is left to others

# Limit, usage and, in memory.stat, files that can be dropped: of cgroups version 2, and 1.
_VERSION_2: Final = ("memory.max", "memory.current", "inactive_file")
_VERSION_1: Final = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def require_memory(size: int, *, charged: bool, root: str = "/") -> None:
    """Raise OSError (ENOMEM) if so many bytes are not available; return if that is not known.

    Parameters
    ----------
    size : int
        Bytes.
    charged : bool
        True if the limits of control groups apply, too.
    root : str, default "/"
        Folder with proc and sys/fs/cgroup.
    """
    for what, available in available_memory(root, charged=charged).items():
        if size > available - available // _RESERVE:
            raise OSError(errno.ENOMEM, f"{size:,} bytes, and {max(available, 0):,} are available ({what})")


def available_memory(root: str = "/", *, charged: bool) -> dict[str, int]:
    """Return the available bytes of the host and, if `charged`, of each control group that has a limit.

    The keys say where a number is from. What is not known is left out.
    """
    host = _host(Path(root))
    found = {} if host is None else {"MemAvailable in /proc/meminfo": host}
    return found | dict(_groups(Path(root))) if charged else found


def _host(root: Path) -> int | None:
    """Return MemAvailable in bytes."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return None


def _groups(root: Path) -> Iterator[tuple[str, int]]:
    """Yield path and available bytes of each control group of this process that has a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            folder, names = "", _VERSION_2
        elif "memory" in controllers.split(","):
            folder, names = "memory", _VERSION_1
        else:
            continue
        group = PurePosixPath("/", path)
        for part in (group, *group.parents):
            # In a container the path may be the host's; the container's own group is then at the top.
            where = root / "sys/fs/cgroup" / folder / str(part).lstrip("/")
            with contextlib.suppress(OSError, ValueError):  # there are no limits there
                yield f"control group {where}", _left(where, *names)


def _left(group: Path, limit: str, usage: str, droppable: str) -> int:
    """Return the bytes that a control group may still use; raise ValueError if it has no limit."""
    most = int((group / limit).read_text())  # "max": no limit
    used = int((group / usage).read_text())
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == droppable:
            used -= int(value)
    return most - used
