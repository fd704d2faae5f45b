"""A read-ahead thread for decompressors.

    read-ahead thread   Reader.read() ──► chunk ──► Queue ──► chunks   reader of the packets

While one of them holds the GIL, the other one waits for it and has to be woken, which takes as long as
decompressing some kilobytes. So the reader takes chunks for a whole block, rather than each as soon as it is
available.
"""
cimport cython
from libc.stdint cimport int64_t, uint64_t

from slimcap.abi.atomic cimport load_bits, load_i64, set_bits, store_i64
from slimcap.abi.linux cimport c_close, c_read, c_write
from slimcap.io.owner cimport Owner

import os
import threading
from collections import deque

from slimcap.errors import copy_of
from slimcap.io.compression.stream_reader import VALID_BYTES

cdef enum:
    WAKE = 1 << 20      # bytes for which the reader is woken, and waits if it has space for them

cdef int64_t max_queued = VALID_BYTES // 2
MAX_QUEUED = max_queued
"""Maximum number of bytes in the queue before the thread waits. The last chunk may exceed it."""

cdef double JOIN = 1.0  # seconds; the thread needs longer only if the disk hangs


@cython.final
cdef class ReadAhead:
    """A read-ahead thread that runs a decompressor. It ends with this object.

    Parameters
    ----------
    reader : Reader
        The decompressor. From now on only the thread uses it. Its input must never wait for another process.
    close : callable
        Called by the thread when it ends, after the last read.
    """

    def __cinit__(self, *args, **kwargs):
        self._owner = Owner()

    def __init__(self, reader, close):
        if self._queue is not None:
            raise TypeError("a read-ahead thread is started once")
        self._queue = Queue()
        # The thread must not refer to this object, or `__del__` would never be called.
        self._thread = threading.Thread(
            target=_pump, args=(reader, close, self._queue), name="slimcap decompressor", daemon=True)
        self._thread.start()

    cdef bint is_here(self) noexcept:
        """Return True unless this is a forked process, which does not have the thread."""
        return self._owner.is_here()

    cdef int fileno(self) noexcept:
        """Return a descriptor that polls readable when there may be chunks to take."""
        return self._queue._fd

    cdef bint take_into(self, Py_ssize_t size, list chunks) except -1:
        """Append the next chunks, no more than are needed for `size` bytes; none at the end.

        Return False if too few are available: the first one, then `size` bytes or WAKE, then the last ones.
        Raise the exception of the thread if it is next and `chunks` is empty. Chunks that were appended
        before another exception, such as KeyboardInterrupt, are not lost.
        """
        return self._queue._take(size, chunks)

    def take(self, Py_ssize_t size):
        """Return what `take_into` appends, in a list; None if there is nothing yet."""
        cdef list chunks = []
        return chunks if self.take_into(size, chunks) else None

    def close(self):
        """End the thread and discard what was read ahead."""
        self._queue._close()
        self._thread.join(JOIN)

    def __del__(self):
        # Do not join: this may run in any thread, even in the read-ahead thread.
        if self._queue is not None and self._owner.is_here():
            self._queue._close()


@cython.final
cdef class Queue:
    """A queue of chunks from the thread to the reader.

    The reader is woken for WAKE bytes, the thread when half of the queue is free.
    """

    def __cinit__(self):
        self._fd = -1
        self._chunks = deque()
        self._changed = threading.Condition()
        self._since_wakeup = WAKE  # the first chunk wakes the reader
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __dealloc__(self):
        if self._fd >= 0:
            c_close(self._fd)

    cdef bint _put(self, object chunk) except -1:
        """Add a chunk, an empty one at the end, and wait for space for more; return False once closed."""
        cdef Py_ssize_t size = 0 if isinstance(chunk, BaseException) else len(chunk)
        cdef uint64_t one = 1
        self._chunks.append(chunk)
        store_i64(&self._added, self._added + size)
        self._since_wakeup += size
        if self._since_wakeup >= WAKE or size == 0:
            self._since_wakeup = 0
            if size == 0:
                set_bits(&self._ended, True)
            with nogil:  # the reader that is woken needs the GIL
                c_write(self._fd, &one, sizeof(one))
        if self._added - load_i64(&self._removed) >= max_queued:
            with self._changed:
                while not load_bits(&self._closed) and not self._has_space():
                    self._changed.wait()
        return not load_bits(&self._closed)

    cdef bint _has_space(self) noexcept:
        return load_i64(&self._added) - load_i64(&self._removed) <= max_queued // 2

    cdef bint _has(self, Py_ssize_t size) noexcept:
        """Return True if there are enough chunks to take for `size` bytes."""
        cdef int64_t available
        if load_bits(&self._ended):
            return True
        available = load_i64(&self._added) - self._removed
        return available >= min(size, <Py_ssize_t> WAKE) or (self._removed == 0 and available > 0)

    cdef bint _take(self, Py_ssize_t size, list chunks) except -1:
        """Remove chunks and append them to a list, as `ReadAhead.take_into` does."""
        cdef Py_ssize_t got = 0
        cdef uint64_t count
        if not self._has(size):
            c_read(self._fd, &count, sizeof(count))
            # The read also cleared a wake-up just before it: look again.
            if not self._has(size):
                return False
        while got < size and self._chunks:
            chunk = self._chunks[0]  # only the reader removes chunks
            if isinstance(chunk, BaseException):
                if chunks:
                    break
                raise copy_of(chunk)  # the original stays in the queue, for further calls
            if not len(chunk):  # the end stays in the queue, for further calls
                break
            chunks.append(self._chunks.popleft())
            got += len(chunk)
        if got:
            store_i64(&self._removed, self._removed + got)
            if self._has_space():
                with self._changed:
                    self._changed.notify()
        return True

    cdef int _close(self) except -1:
        with self._changed:
            set_bits(&self._closed, True)
            self._changed.notify()
        return 0


def _pump(reader, close, Queue queue not None):
    """Run the decompressor to its end or to an exception, which becomes the last chunk."""
    try:
        while True:
            chunk = reader.read()
            if not queue._put(chunk) or not chunk:
                return
    except BaseException as error:
        # Its frames refer to the queue: a cycle, which would keep descriptors open until it is collected.
        error.__traceback__ = error.__context__ = None
        queue._put(error)
    finally:
        close()
