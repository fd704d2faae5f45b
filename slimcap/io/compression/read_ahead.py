"""A read-ahead thread for decompressors."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from slimcap.errors import copy_of
from slimcap.io.compression.stream_reader import VALID_BYTES, Chunk, Reader
from slimcap.io.owner import Owner

MAX_QUEUED: Final = VALID_BYTES // 2
"""Maximum number of bytes in the queue before the thread waits. The last chunk may exceed it."""

_WAKE = 1 << 20  # bytes for which the reader is woken
_JOIN = 1.0  # seconds; the thread needs longer only if the disk hangs


class ReadAhead:
    """A read-ahead thread that runs a decompressor. It ends with this object.

    Parameters
    ----------
    reader : Reader
        The decompressor. From now on only the thread uses it. Its input must never wait for another process.
    close : callable
        Called by the thread when it ends, after the last read.
    """

    def __init__(self, reader: Reader, close: Callable[[], object]) -> None:
        self._owner = Owner()
        self._queue = _Queue()
        # The thread must not refer to this object, or `__del__` would never be called.
        self._thread = threading.Thread(
            target=_pump, args=(reader, close, self._queue), name="slimcap decompressor", daemon=True
        )
        self._thread.start()

    def is_here(self) -> bool:
        """Return True unless this is a forked process, which does not have the thread."""
        return self._owner.is_here()

    def fileno(self) -> int:
        """Return a descriptor that polls readable when a chunk is available."""
        return self._queue.fd

    def ready(self) -> bool:
        """Return True if a chunk is available that is neither the end nor an exception."""
        return self._queue.ready()

    def take(self) -> Chunk | None:
        """Return the next chunk, None if there is none yet, b"" at the end; raise the thread's exception."""
        return self._queue.take()

    def close(self) -> None:
        """End the thread and discard what was read ahead."""
        self._queue.close()
        self._thread.join(_JOIN)

    def __del__(self) -> None:
        # Do not join: this may run in any thread, even in the read-ahead thread.
        with suppress(AttributeError):
            if self.is_here():
                self._queue.close()


class _Queue:
    """A queue of chunks from the thread to the reader.

    Neither side is woken for every chunk: the reader is woken for _WAKE bytes, the thread when half of the
    queue is free. Adding a chunk takes no lock, which would cost a tenth of the time that decompressing zstd
    takes.
    """

    def __init__(self) -> None:
        self._chunks: deque[Chunk | BaseException] = deque()
        # Bytes added, counted by the thread, and removed, counted by the reader.
        self._added = self._removed = 0
        self._since_wakeup = _WAKE  # bytes since the reader was last woken; the first chunk wakes it
        self._closed = False
        self._changed = threading.Condition()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def put(self, chunk: Chunk | BaseException) -> bool:
        """Add a chunk, an empty one at the end, and wait for space for more; return False once closed."""
        size = 0 if isinstance(chunk, BaseException) else len(chunk)
        self._chunks.append(chunk)
        self._added += size
        self._since_wakeup += size
        if self._since_wakeup >= _WAKE or not size:
            self._since_wakeup = 0
            os.eventfd_write(self.fd, 1)
        if self._added - self._removed >= MAX_QUEUED:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._has_space())
        return not self._closed

    def ready(self) -> bool:
        # Only the reader removes chunks, so the first one cannot disappear.
        return bool(self._chunks) and not isinstance(self._chunks[0], BaseException) and bool(self._chunks[0])

    def take(self) -> Chunk | None:
        if not self._chunks:
            with suppress(BlockingIOError):
                os.eventfd_read(self.fd)
            # The read also cleared the wake-up of a chunk that was added just before it: look again.
            if not self._chunks:
                return None
        chunk = self._chunks[0]
        if isinstance(chunk, BaseException):
            raise copy_of(chunk)  # the original stays in the queue, for further calls
        if chunk:  # the end stays in the queue, for further calls
            self._chunks.popleft()
            self._removed += len(chunk)
            if self._has_space():
                with self._changed:
                    self._changed.notify()
        return chunk

    def _has_space(self) -> bool:
        return self._added - self._removed <= MAX_QUEUED // 2

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self.fd)


def _pump(reader: Reader, close: Callable[[], object], queue: _Queue) -> None:
    """Run the decompressor to its end or to an exception, which becomes the last chunk."""
    try:
        chunk = reader.read()
        while chunk:
            if not queue.put(chunk):
                return
            chunk = reader.read()
        queue.put(chunk)
    except BaseException as error:
        # Its frames refer to the queue: a cycle, which would keep descriptors open until it is collected.
        error.__traceback__ = error.__context__ = None
        queue.put(error)
    finally:
        close()
