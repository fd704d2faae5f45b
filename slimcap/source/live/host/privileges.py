"""Explain why the kernel does not permit a capture."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

_CAP_NET_RAW: Final = 13  # linux/capability.h
_STATUS: Final = "/proc/thread-self/status"


def explain_refusal(status: str = _STATUS) -> str:
    """Return the reason for an EPERM of a packet socket, and what to do.

    Parameters
    ----------
    status : str, default "/proc/thread-self/status"
        File with the capabilities of the calling thread, see proc(5).

    Returns
    -------
    str
    """
    if has_net_raw(status):
        return (
            "not permitted, although this process has CAP_NET_RAW: a sandbox forbids it (seccomp or a "
            "security module, as in containers and services), or the capability is of a user namespace that "
            "does not own the network namespace. Running as root does not help: permit packet sockets there"
        )
    return (
        "capturing requires CAP_NET_RAW: run as root (sudo), or grant it to the interpreter with "
        f"`{grant_command()}`, which permits it to every "
        "script and user of that interpreter, also outside of this environment"
    )


def grant_command() -> str:
    """Return the command that permits capturing to this interpreter."""
    import shlex  # takes milliseconds to import

    interpreter = os.path.realpath(sys.executable)  # setcap refuses symbolic links, such as those of a venv
    return f"sudo setcap cap_net_raw,cap_net_admin=eip {shlex.quote(interpreter)}"


def has_net_raw(status: str) -> bool:
    """Return True if CAP_NET_RAW is effective; False if that is not known."""
    with contextlib.suppress(OSError, ValueError):  # /proc may not be mounted
        for line in Path(status).read_text("latin-1").splitlines():
            name, _, value = line.partition(":")
            if name == "CapEff":
                return bool(int(value, 16) >> _CAP_NET_RAW & 1)
    return False
