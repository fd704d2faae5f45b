"""Atomic writes: files that are written under a temporary name and renamed on success."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType


class PartialFile:
    """A file that is written under a temporary name, `target`, in the same directory as its final name.

    If something other than a regular file exists under the final name, such as a FIFO, `target` is that name.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        Final name of the file. If it is a symbolic link, the file that it points to is replaced.
    """

    def __init__(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        self.path: Final = os.path.realpath(os.fsdecode(path))
        self.target: Final = _temporary_name(self.path)

    def finish(self) -> None:
        """Rename the file to its final name, replacing an older file.

        Raises
        ------
        OSError
            The file cannot be renamed.
        """
        if self.target != self.path:
            os.replace(self.target, self.path)

    def discard(self) -> None:
        """Remove the temporary file; an older file is not changed. After `finish()` this does nothing."""
        if self.target != self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.target)


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
    return os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
