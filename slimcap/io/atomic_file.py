"""Atomic writes: files that are written under a temporary name and renamed on success."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final, Self

from slimcap.io.owner import Owner
from slimcap.io.text import valid_text

if TYPE_CHECKING:
    from types import TracebackType


_ACL: Final = "system.posix_acl_access"  # acl(5)
_NAME_MAX: Final = 255  # bytes of a name (linux/limits.h)


class PartialFile:
    """A file that is written under a temporary name, `target`, in the same directory as its final name.

    It is created at once. A file that replaces an older one can be accessed only by its owner until it gets
    the mode, owner, group and access control list of the older file, just before it is renamed. If something
    other than a regular file exists under the final name, such as a FIFO, `target` is that name.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        Final name of the file. If it is a symbolic link, the file that it points to is replaced.
    keep : bool, default False
        `discard` leaves the temporary file, unless that is empty.

    Raises
    ------
    OSError
        The file cannot be created; the error names `path`.
    """

    def __init__(
        self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, keep: bool = False
    ) -> None:
        if os.fsdecode(path).endswith("/"):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fsdecode(path))
        self.path: Final = os.path.realpath(os.fsdecode(path))
        self.target: Final = _temporary_name(self.path)
        self._owner = Owner()
        self._keep = keep
        self._fd = -1
        if self.target == self.path:
            return
        mode = 0o600 if os.path.exists(self.path) else 0o666  # the latter less the umask
        try:
            self._fd = os.open(self.target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except OSError as error:  # the caller does not know the temporary name
            raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None

    def finish(self) -> None:
        """Write the file to its device, and rename it to its final name, replacing an older file.

        Raises
        ------
        OSError
            The file cannot be written or renamed.
        RuntimeError
            Another process created it.
        """
        if self._fd < 0:
            return
        self._owner.check(self.path)
        try:
            _sync(self._fd)
            with contextlib.suppress(FileNotFoundError):
                _inherit(self._fd, self.path)
            os.replace(self.target, self.path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from error
        self._close()

    def discard(self) -> None:
        """Remove the temporary file; an older file is not changed. After `finish()` this does nothing.

        A forked process leaves the file to the one that created it.
        """
        if self._fd >= 0:
            keep = self._keep and os.fstat(self._fd).st_size > 0
            self._close()
            if self._owner.is_here() and not keep:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.target)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self._close()


def descriptor_of(path: str) -> int:
    """Return the number in a path such as /dev/stdout or /dev/fd/7, a descriptor of this process; else -1."""
    for one in (path, _target_of(path)):
        folder, name = os.path.split(one)
        if name.isdecimal() and os.path.realpath(folder) == f"/proc/{os.getpid()}/fd":
            return int(name)
    return -1


def _target_of(path: str) -> str:
    """Return the path that a symbolic link has; that of anything else as it is."""
    try:
        return os.path.join(os.path.dirname(path), os.readlink(path))
    except OSError:
        return path


def _sync(fd: int) -> None:
    """Write a file to its device, so that a crash after the rename does not leave an empty file."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system cannot
            raise


def _inherit(fd: int, path: str) -> None:
    """Give an open file the owner, group, access control list and mode of the file at `path`.

    What may not be given is left out. If that is the group or the list, the group gets only the rights that
    all others have, since its rights were meant for others.
    """
    older, own = os.stat(path), os.fstat(fd)
    mode = older.st_mode & 0o777  # as after writing to it: without set-user-ID
    if older.st_uid != own.st_uid:
        with contextlib.suppress(PermissionError):
            os.chown(fd, older.st_uid, -1)
    try:
        if older.st_gid != own.st_gid:
            os.chown(fd, -1, older.st_gid)
        if acl := _acl_of(path):
            os.setxattr(fd, _ACL, acl)
        elif _acl_of(fd):  # that which the folder gives to new files
            os.removexattr(fd, _ACL)
    except OSError:
        mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    os.chmod(fd, mode)


def _acl_of(file: str | int) -> bytes | None:
    try:
        return os.getxattr(file, _ACL)
    except OSError:  # none, or the file system has no such lists
        return None


class Finished:
    """A context manager that calls `close` on success and `discard` after an exception."""

    def close(self) -> None:
        raise NotImplementedError

    def discard(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def _temporary_name(path: str) -> str:
    if os.path.exists(path) and not os.path.isfile(path):
        return path
    folder, name = os.path.split(path)
    ending = f".{os.urandom(4).hex()}.part"
    # Whole characters of UTF-8, since some libraries accept no other names.
    start = valid_text(name).encode()[: _NAME_MAX - 1 - len(ending)].decode(errors="ignore")
    return os.path.join(folder, f".{start}{ending}")
