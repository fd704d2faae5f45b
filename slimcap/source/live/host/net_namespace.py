"""Enter a network namespace to open sockets in it.

A socket belongs to the network namespace of the thread that opens it, and works from any thread. So a short
thread enters the namespace and opens the socket. No other thread ever changes its namespace, nor could one
be left in the wrong one.

    calling thread    open /run/netns/NAME ──► wait, interruptible ──────► result
    helper thread                              setns ► socket() ► ends
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from slimcap.errors import LinkError, LinkNotFound, in_range, wrong_type
from slimcap.filter.helper_thread import run_in_thread

NetNamespace: TypeAlias = str | os.PathLike[str] | int
"""A network namespace: its name, a path, or the identifier of a process in it."""

_Result = TypeVar("_Result")

_FOLDERS: Final = ("/run/netns", "/var/run/netns")  # where ip-netns(8) binds names
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_MAX_PID: Final = 1 << 22  # PID_MAX_LIMIT
_TO_ENTER: Final = (
    "run as root (sudo), or start the program in it: `sudo ip netns exec NAME …`, `sudo nsenter --net=PATH …`"
)


def check_net_namespace(name: str, value: Any) -> str | int | None:
    """Raise TypeError or ValueError for a value that cannot be a network namespace; the check of options.

    Parameters
    ----------
    name : str
        Name of the option.
    value : object
        Its value.

    Returns
    -------
    str, int or None
        The value; a path object as a str.
    """
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
        if isinstance(value, str) and "/" not in value:
            value = f"./{value}"  # a path object is never a name
    if not isinstance(value, str):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise wrong_type(name, "a name, a path or a process identifier", value)
        return in_range(name, value, 1, _MAX_PID)
    if not value.strip(".") or "\0" in value:
        raise ValueError(f"{name} must be the name of a network namespace, or a path, not {value!r}")
    return value


def path_of(netns: str | int) -> str:
    """Return the path of a network namespace.

    Parameters
    ----------
    netns : str or int
        A path, which contains a slash; a name in /run/netns or /var/run/netns; or a process identifier.

    Returns
    -------
    str
        The path, which may not exist.
    """
    if not isinstance(netns, str):
        return f"/proc/{netns}/ns/net"
    if "/" in netns:
        return netns
    paths = [f"{folder}/{netns}" for folder in _FOLDERS]
    return next(filter(os.path.lexists, paths), paths[0])


def inside(netns: str | int | None, call: Callable[[], _Result]) -> _Result:
    """Make a call in a network namespace, and return its result or raise its exception.

    Parameters
    ----------
    netns : str, int or None
        The namespace, as for `path_of`; None: make the call in the calling thread.
    call : callable
        Function without arguments. It runs in a separate thread, so it must not use thread-local data.

    Returns
    -------
    object
        The result of `call`.

    Raises
    ------
    LinkNotFound
        The namespace does not exist.
    LinkError
        The file is not a network namespace.
    PermissionError
        This user may not enter it.
    """
    if netns is None:
        return call()
    path = path_of(netns)
    file = _open(path, netns)  # in the calling thread: it may be a path below /proc/thread-self

    def enter_and_call() -> _Result:
        with file:
            _enter(file.fileno(), path)
        return call()

    try:
        return run_in_thread(enter_and_call, "slimcap-netns")
    except BaseException:  # the thread may not have started
        file.close()
        raise


def _open(path: str, netns: str | int) -> io.FileIO:
    """Open the file of a network namespace."""
    try:
        # A FIFO would block without O_NONBLOCK.
        return io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    except IsADirectoryError:
        raise _not_a_namespace(path) from None
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        if isinstance(netns, int):
            problem = f"there is no process {netns}, or /proc is not mounted"
        elif "/" in netns:
            problem = "there is no such file"
        else:
            problem = (
                f"there is no network namespace {netns!r}: `ip netns list` shows the names; "
                f"the one of a process is /proc/{netns if netns.isdecimal() else 'PID'}/ns/net"
            )
        raise LinkNotFound(errno.ENOENT, problem, path) from None
    except PermissionError as error:
        raise PermissionError(
            error.errno,
            "opening the network namespace is not permitted; that of another user's process requires "
            f"CAP_SYS_PTRACE: {_TO_ENTER}",
            path,
        ) from None


def _enter(fd: int, path: str) -> None:
    """Move the calling thread to a network namespace."""
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EPERM:
        raise PermissionError(
            number, f"entering a network namespace requires CAP_SYS_ADMIN: {_TO_ENTER}", path
        )
    if number == errno.EINVAL:
        raise _not_a_namespace(path)
    raise LinkError(number, f"setns: {os.strerror(number)}", path)


def _not_a_namespace(path: str) -> LinkError:
    return LinkError(
        errno.EINVAL,
        "not a network namespace; in another mount namespace, such as that of a container, names of "
        "`ip netns` are empty files: use the identifier of a process in the namespace",
        path,
    )
