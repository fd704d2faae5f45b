"""Files that have another name until they are whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType


class PartialFile:
    """A file to be, which is written under a name of its own in the same folder: `target`.

    What is no regular file, as a FIFO, is written to directly.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        What it is called in the end. A symbolic link stays one: the file it points to is replaced.
    """

    def __init__(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        self.path: Final = os.path.realpath(os.fsdecode(path))
        self.target: Final = _name_meanwhile(self.path)

    def finish(self) -> None:
        """Give the file its name; an older one is replaced.

        Raises
        ------
        OSError
            The file cannot be renamed.
        """
        if self.target != self.path:
            os.replace(self.target, self.path)

    def discard(self) -> None:
        """Remove it, and leave an older one as it is. After `finish()` this does nothing."""
        if self.target != self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.target)


class Finished:
    """A context manager that closes what it is if all went well, and discards it if not."""

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


def _name_meanwhile(path: str) -> str:
    if os.path.exists(path) and not os.path.isfile(path):
        return path
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
