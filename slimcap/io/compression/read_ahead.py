"""A decompressor on a thread of its own."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from slimcap.io.compression.stream_reader import KEPT, Piece, Reader

MOST_AHEAD: Final = KEPT // 2
"""Bytes that may lie ready before the thread waits; one piece more may come."""

_WAKE = 1 << 20  # bytes that are worth waking the reader for
_JOIN = 1.0  # seconds: only a disk that hangs keeps the thread longer


class Ahead:
    """Reads a decompressor ahead of who takes from it, and ends with this.

    Parameters
    ----------
    reader : Reader
        Used by the thread alone from now on. It may read only what does not make it wait for others.
    close : callable
        Called by the thread at its end, when nothing reads any more.
    """

    def __init__(self, reader: Reader, close: Callable[[], object]) -> None:
        self._pipe = _Pipe()
        # It must not hold on to this, or this would never die.
        self._thread = threading.Thread(
            target=_pump, args=(reader, close, self._pipe), name="slimcap decompressor", daemon=True
        )
        self._thread.start()

    def fileno(self) -> int:
        """A descriptor that can be read (poll) when there is something to take."""
        return self._pipe.fd

    def ready(self) -> bool:
        """Whether a piece is there, which is not the last and no exception."""
        return self._pipe.ready()

    def take(self) -> Piece | None:
        """The next piece, None if there is none yet, b"" at the end; or raises what came in its place."""
        return self._pipe.take()

    def close(self) -> None:
        """End the thread. What was read ahead is lost."""
        self._pipe.close()
        self._thread.join(_JOIN)

    def __del__(self) -> None:
        # Without waiting: this may run in any thread, even in that one.
        with suppress(AttributeError):
            self._pipe.close()


class _Pipe:
    """Pieces on their way from the thread to the reader.

    Neither is woken for every piece: the reader when there is enough, the thread when there is room for much.
    The thread takes no lock for a piece either, which would cost a tenth of what decompressing zstd does.
    """

    def __init__(self) -> None:
        self._pieces: deque[Piece | BaseException] = deque()
        self._given = self._taken = 0  # bytes, which the thread, and which the reader counts
        self._unseen = _WAKE  # bytes that the reader was not woken for; the first piece is worth it
        self._closed = False
        self._changed = threading.Condition()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def put(self, piece: Piece | BaseException) -> bool:
        """Add a piece, and wait until there is room for more; False once closed. An empty one is the last."""
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
        # Only the reader takes pieces, so that what is there stays.
        return bool(self._pieces) and not isinstance(self._pieces[0], BaseException) and bool(self._pieces[0])

    def take(self) -> Piece | None:
        if not self._pieces:
            with suppress(BlockingIOError):
                os.eventfd_read(self.fd)
            # One that came before that read had its wake-up taken away.
            if not self._pieces:
                return None
        piece = self._pieces[0]
        if isinstance(piece, BaseException):
            raise piece.with_traceback(None)
        if piece:  # else it is the last, and stays: who asks again gets it again
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
    """Read to the end or to an error, which is the last piece."""
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
