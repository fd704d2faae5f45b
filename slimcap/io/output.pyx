"""Outputs: a buffer in front of a descriptor, a file object, or a compressor.

    writer ── put ──► CompressedOutput ── put ──► PlainOutput ──► descriptor or file object
                      bytes not compressed yet    bytes not written yet

After a failed write, the bytes that were not written stay in the buffer, and the next call starts with them.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from slimcap.abi.linux cimport EAGAIN, EINTR, c_close, c_write, errno
from slimcap.io.event cimport duplicate, raise_errno
from slimcap.packet.lease cimport Block, Window, new_block, new_window

import os
import select

from slimcap.io.atomic_file import PartialFile, descriptor_of
from slimcap.io.compression.encoders import encoder_for

cdef enum:
    BUFFER_SIZE = 1 << 20
    STDOUT = 1


cdef class Output:
    """Base class of outputs: a buffer and its destination."""

    def __cinit__(self, *args):
        self.block = new_block(BUFFER_SIZE)

    cdef int reserve(self, Py_ssize_t size) except -1:
        """Make sure that `size` bytes fit after `stop`."""
        if size > self.block.size - self.stop:
            self.drain()
            if size > self.block.size:
                self.block = new_block(size)
        return 0

    cdef int put(self, const void* data, Py_ssize_t size) except -1:
        """Append bytes to the buffer: all of them, or none if it raises."""
        self.reserve(size)
        memcpy(self.block.ptr + self.stop, data, size)
        self.stop += size
        return 0

    cdef int drain(self) except -1:
        """Write the buffer to its destination. Bytes that are not written, because that fails, stay in it."""
        raise NotImplementedError

    cdef int flush(self) except -1:
        """Write the buffer, and flush all layers below, so that others can read all bytes so far."""
        raise NotImplementedError

    cdef int close(self) except -1:
        """Flush, and close what this object opened, even if flushing fails."""
        raise NotImplementedError

    cdef int discard(self) except -1:
        """Close without writing the buffer; a temporary file is removed, but not by a forked process."""
        raise NotImplementedError

    cdef object partial_path(self):
        """Return the path of the temporary file until it is renamed or removed, or None."""
        raise NotImplementedError


cdef Output open_output(
        object file, object compression, object level, bint atomic, bint keep_partial):
    """Open the output of a writer: see the parameters of `PcapWriter`."""
    encoder = encoder_for(file, compression, level)
    cdef Output output = PlainOutput(file, atomic, keep_partial)
    return output if encoder is None else _compressed(output, encoder)


@cython.final
cdef class PlainOutput(Output):
    """Output to a path, "-" for standard output, or a file object, which stays open."""

    cdef int _fd                # owned; -1 if there is none
    cdef object _file, _write   # the file object and its `write` method, if one was given
    cdef object _partial        # the PartialFile of an atomic output until it is closed, or None

    def __cinit__(self, *args):
        self._fd = -1

    def __init__(self, file, bint atomic, bint keep_partial=False):
        is_path = isinstance(file, (str, bytes, os.PathLike))
        if self.name is not None:
            raise TypeError("an output is opened once")
        self.name = os.fsdecode(file) if is_path else str(getattr(file, "name", f"<{type(file).__name__}>"))
        if atomic and (not is_path or self.name == "-"):
            raise ValueError(f"{self.name}: atomic=True requires a path")
        if is_path:
            self._open(atomic, keep_partial)
            return
        self._write = getattr(file, "write", None)
        if self._write is None:
            raise TypeError(f"file must be a path or a binary file object, not {type(file).__name__}")
        self._file = file

    cdef int _open(self, bint atomic, bint keep_partial) except -1:
        cdef int flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        path = self.name
        if "\0" in path:
            raise ValueError(f"file must be a path, which has no NUL bytes, not {path!r}")
        if path == "-":
            self.name = "<stdout>"
            self._fd = duplicate(STDOUT, self.name)
            return 0
        if descriptor_of(path) >= 0:  # opening it would start again at the first byte of a file
            self._fd = duplicate(descriptor_of(path), self.name)
            return 0
        if atomic:
            self._partial = PartialFile(path, keep=keep_partial)
            path = self._partial.target
        try:
            self._fd = os.open(path, flags, 0o666)
        except OSError as error:  # the caller does not know the temporary name
            if self._partial is not None:
                self._partial.discard()
            raise OSError(error.errno, error.strerror, self.name) from None
        return 0

    def __dealloc__(self):
        if self.block is not None:  # else __cinit__ of the base class has failed, and ours did not run
            self._close_descriptor()

    cdef int drain(self) except -1:
        while self.start < self.stop:
            if self._write is None:
                self.start += self._write_descriptor()
            else:
                self._write_object()
            if self.start < self.stop:
                PyErr_CheckSignals()  # a signal may have interrupted the write; the next one may block
        self.start = self.stop = 0
        return 0

    cdef Py_ssize_t _write_descriptor(self) except -1:
        cdef const uint8_t* p = self.block.ptr + self.start
        cdef Py_ssize_t written, size = self.stop - self.start
        with nogil:
            written = c_write(self._fd, p, size)
        if written >= 0:
            return written
        if errno == EAGAIN:  # others that share standard output may have made it non-blocking
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll()
        elif errno != EINTR:
            raise_errno("write", self.name)
        return 0

    cdef int _write_object(self) except -1:
        cdef Py_ssize_t size = self.stop - self.start
        cdef Window window = new_window(self.block, self.start, size, True)
        try:
            written = self._write(memoryview(window))
        except BlockingIOError as error:
            self.start += min(max(getattr(error, "characters_written", 0), 0), size)
            raise
        finally:
            if window.exports:
                self._replace_block()
        if written is None:
            raise BlockingIOError(
                f"{self.name}: write() returned None, because the file object is in non-blocking mode: "
                "make it blocking")
        if not 0 < written <= size:
            raise OSError(
                f"{self.name}: write() must return the number of bytes written, 1 to {size}, not {written}")
        self.start += written
        return 0

    cdef int _replace_block(self) except -1:
        """Continue in a new block: the file object kept a view of the old one, which must not change."""
        cdef Block block = new_block(self.block.size)
        memcpy(block.ptr + self.start, self.block.ptr + self.start, self.stop - self.start)
        self.block = block
        return 0

    cdef int flush(self) except -1:
        self.drain()
        flush = getattr(self._file, "flush", None)
        if flush is not None:
            flush()
        return 0

    cdef int close(self) except -1:
        try:
            self.flush()
            if self._fd >= 0 and self._close_descriptor() < 0 and errno != EINTR:  # it is closed in any case
                raise_errno("close", self.name)
            if self._partial is not None:
                self._partial.finish()
                self._partial = None
        finally:
            self.discard()
        return 0

    cdef int discard(self) except -1:
        partial, self._partial = self._partial, None
        self._close_descriptor()
        self._file = self._write = None
        self.start = self.stop = 0
        if partial is not None:
            partial.discard()
        return 0

    cdef object partial_path(self):
        return None if self._partial is None else self._partial.target

    cdef int _close_descriptor(self) noexcept:
        cdef int fd = self._fd
        self._fd = -1
        return c_close(fd) if fd >= 0 else 0


@cython.final
cdef class CompressedOutput(Output):
    """Output of a compressor on top of another output."""

    cdef Output _inner
    cdef object _encoder
    cdef bint _unflushed        # the compressor got data since the last flush

    cdef int drain(self) except -1:
        cdef Window window
        self._inner.drain()
        if self.start < self.stop:
            window = new_window(self.block, self.start, self.stop - self.start, True)
            self._unflushed = True
            self._forward(self._encoder.compress(memoryview(window)))
            self.start = self.stop = 0
        self._inner.drain()
        return 0

    cdef int flush(self) except -1:
        self.drain()
        if self._unflushed:
            self._forward(self._encoder.flush())
            self._unflushed = False
        self._inner.flush()
        return 0

    cdef int _forward(self, bytes data) except -1:
        """Put data into the buffer below. That is empty, so this may allocate memory, but does not write."""
        self._inner.put(<const char*> data, len(data))
        return 0

    cdef int close(self) except -1:
        try:
            self.drain()
            self._forward(self._encoder.finish())
            self._inner.close()
        finally:
            self.discard()
        return 0

    cdef int discard(self) except -1:
        self.start = self.stop = 0
        self._inner.discard()
        return 0

    cdef object partial_path(self):
        return self._inner.partial_path()


cdef Output _compressed(Output inner, object encoder):
    cdef CompressedOutput output = CompressedOutput()
    output.name, output._inner, output._encoder = inner.name, inner, encoder
    return output
