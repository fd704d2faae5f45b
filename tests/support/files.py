"""Files that give or get their bytes little by little."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.threads import wait_until

_CLOCK_REALTIME_COARSE = 5  # <linux/time.h>: the clock of file systems


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


class Growing:
    """A file that is opened again for each write to it."""

    def __init__(self, path: Path, data: bytes = b"") -> None:
        self.path = path
        self.write(data)

    def write(self, data: bytes) -> None:
        """Append data with one system call."""
        with self.path.open("ab", buffering=0) as file:
            file.write(data)

    def write_slowly(self, pieces: Iterable[bytes]) -> threading.Thread:
        """Append pieces in a thread, which leaves a reader time to see each."""

        def write() -> None:
            for piece in pieces:
                time.sleep(0.0002)
                self.write(piece)

        thread = threading.Thread(target=write)
        thread.start()
        return thread


def next_tick() -> None:
    """Wait until files that are written to get a later time than before."""
    before = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)

    def clock_of_files_advanced() -> bool:
        return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) > before

    wait_until(clock_of_files_advanced)
