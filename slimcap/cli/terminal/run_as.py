"""Dropping the rights of root once the sockets are open."""

from __future__ import annotations

import argparse
import os
import pwd

from slimcap.errors import SlimcapError


class CannotDropError(SlimcapError):
    """The process cannot become another user."""


def user(name: str) -> pwd.struct_passwd:
    """Return the entry of a user; for argparse's `type`."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no user {name!r}") from None


def run_as(entry: pwd.struct_passwd) -> None:
    """Become a user, with the groups of that user and without capabilities, for good.

    Raises
    ------
    CannotDropError
        The process may not do that, or could become root again.
    """
    if os.getresuid() == (entry.pw_uid,) * 3:
        return
    try:
        os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except PermissionError as error:
        raise CannotDropError(
            f"--user {entry.pw_name}: {error.strerror}: only root, or a process with CAP_SETUID and "
            "CAP_SETGID, can become another user"
        ) from None
    if entry.pw_uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise CannotDropError(f"--user {entry.pw_name}: the process could become root again")
