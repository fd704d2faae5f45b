"""A read-ahead thread for decompressors."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from slimcap.io.compression.stream_reader import KEPT, Piece, Reader

MOST_AHEAD: Final = KEPT // 2
"""Maximum number of bytes in the queue before the thread waits. The last piece may exceed it."""

_WAKE = 1 << 20  # bytes for which the reader is woken
_JOIN = 1.0  # seconds; the thread needs longer only if the disk hangs


class Ahead:
    """A read-ahead thread that runs a decompressor. It ends with this object.

    Parameters
    ----------
    reader : Reader
        The decompressor. From now on only the thread uses it. Its input must never wait for another process.
    close : callable
        Called by the thread when it ends, after the last read.
    """

    def __init__(self, reader: Reader, close: Callable[[], object]) -> None:
        self._pipe = _Pipe()
        # The thread must not refer to this object, or `__del__` would never be called.
        self._thread = threading.Thread(
            target=_pump, args=(reader, close, self._pipe), name="slimcap decompressor", daemon=True
        )
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that polls readable when a piece is available."""
        return self._pipe.fd

    def ready(self) -> bool:
        """Return True if a piece is available that is neither the end nor an exception."""
        return self._pipe.ready()

    def take(self) -> Piece | None:
        """Return the next piece, None if there is none yet, b"" at the end; raise the thread's exception."""
        return self._pipe.take()

    def close(self) -> None:
        """End the thread and discard what was read ahead."""
        self._pipe.close()
        self._thread.join(_JOIN)

    def __del__(self) -> None:
        # Do not join: this may run in any thread, even in the read-ahead thread.
        with suppress(AttributeError):
            self._pipe.close()


class _Pipe:
    """A queue of pieces from the thread to the reader.

    Neither side is woken for every piece: the reader is woken for _WAKE bytes, the thread when half of the
    queue is free. Adding a piece takes no lock, which would cost a tenth of the time that decompressing zstd
    takes.
    """

    def __init__(self) -> None:
        self._pieces: deque[Piece | BaseException] = deque()
        self._given = self._taken = 0  # bytes added, counted by the thread, and taken, counted by the reader
        self._unseen = _WAKE  # bytes since the reader was last woken; the first piece wakes it
        self._closed = False
        self._changed = threading.Condition()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def put(self, piece: Piece | BaseException) -> bool:
        """Add a piece, an empty one at the end, and wait for space for more; return False once closed."""
        size = 0 if isinstance(piece, BaseException) else len(piece)
        self._pieces.append(piece)
        self._given += size
        self._unseen += size
        if self._unseen >= _WAKE or not size:
            self._unseen = 0
            os.eventfd_write(self.fd, 1)
        if self._given - self._taken >= MOST_AHEAD:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._has_room())
        return not self._closed

    def ready(self) -> bool:
        # Only the reader removes pieces, so the first one cannot disappear.
        return bool(self._pieces) and not isinstance(self._pieces[0], BaseException) and bool(self._pieces[0])

    def take(self) -> Piece | None:
        if not self._pieces:
            with suppress(BlockingIOError):
                os.eventfd_read(self.fd)
            # The read also cleared the wake-up of a piece that was added just before it: look again.
            if not self._pieces:
                return None
        piece = self._pieces[0]
        if isinstance(piece, BaseException):
            raise piece.with_traceback(None)
        if piece:  # the end stays in the queue, for further calls
            self._pieces.popleft()
            self._taken += len(piece)
            if self._has_room():
                with self._changed:
                    self._changed.notify()
        return piece

    def _has_room(self) -> bool:
        return self._given - self._taken <= MOST_AHEAD // 2

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self.fd)


def _pump(reader: Reader, close: Callable[[], object], pipe: _Pipe) -> None:
    """Run the decompressor to its end or to an exception, which becomes the last piece."""
    try:
        piece = reader.read()
        while piece:
            if not pipe.put(piece):
                return
            piece = reader.read()
        pipe.put(piece)
    except BaseException as error:
        pipe.put(error)
    finally:
        close()
