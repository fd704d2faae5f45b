"""Files that give or get their bytes little by little."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any


class Fifo:
    """A FIFO whose writing end is ours, so that a reader can open it at once."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDWR)

    def write(self, data: bytes) -> None:
        assert os.write(self._fd, data) == len(data)

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # once only: a reader's thread may end the test while this closes
        if fd >= 0:
            os.close(fd)

    def close_soon(self) -> None:
        """`close`, but only when the caller waits for it."""
        threading.Timer(0.02, self.close).start()


class Trickle(io.RawIOBase):
    """An unbuffered file that gives at most `step` bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(memoryview(buffer)[: self._step])
