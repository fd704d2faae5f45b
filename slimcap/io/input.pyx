"""Inputs: the bytes of a path, standard input, a Python file object or a decompressor."""
cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.atomic cimport load_bits
from slimcap.abi.linux cimport (
    EAGAIN,
    EINTR,
    FIONREAD,
    POLLIN,
    S_ISREG,
    c_close,
    c_fstat,
    c_read,
    c_stat,
    errno,
    ioctl,
)
from slimcap.io.compression.read_ahead cimport ReadAhead
from slimcap.io.event cimport SIGNAL_END, Event, duplicate, raise_errno
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.lease cimport Block, Borrowed, borrow, new_block, new_window

import errno as errno_names
import os
import stat

from slimcap.io.compression.stream_reader import StreamError

cdef enum:
    STDIN = 0
    MAX_PARTS = 64      # maximum number of chunks that are copied at a time

cdef struct Part:
    const uint8_t* at
    Py_ssize_t size


cdef class Input:
    """Base class of sequential inputs. Decoders call `read_into`; decompressors on top call `read`."""

    def __cinit__(self, *args, **kwargs):
        self.extent = "the file"

    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t offset, Py_ssize_t size) except -1:
        """Read up to `size` > 0 available bytes, at least one, to `block[offset:]`; return 0 at the end."""
        raise NotImplementedError

    def read(self, Py_ssize_t size):
        """Return up to `size` bytes, at least one; b"" at the end."""
        cdef Py_ssize_t got
        if self._buffer is None or self._buffer.size < size:
            self._buffer = new_block(size)
        got = self.read_into(self._buffer, 0, size)
        return self._buffer.ptr[:got]

    def shut(self):
        """Close the input; for the read-ahead thread."""
        self.close()

    cdef uint64_t offset_in_file(self, uint64_t offset) noexcept:
        """Return the offset in the file of the byte at `offset` in this input."""
        return offset

    cdef int fileno(self) noexcept:
        """Return the file's descriptor; -1 if there is none."""
        return -1

    cdef void park(self) noexcept:
        """Give back the descriptor and memory until the next read, if that can open the file again."""

    cdef void close(self) noexcept:
        pass


@cython.final
cdef class _Descriptor(Input):
    """Input of a descriptor, which it owns: of a regular file, or of something that can be polled.

    If the file is followed, there is an end policy, which tells where the input ends.
    """

    cdef int _fd
    cdef bint _regular
    cdef uint64_t _stop     # offset of the end, if stopped
    cdef EndPolicy _end     # of a followed file, or None
    cdef int _watched       # watch descriptor of the file
    cdef str _path          # with which a regular file can be opened again, or None
    cdef bint _parked       # and must be, by the next read
    cdef tuple _identity    # device and inode

    def __cinit__(self, *args, **kwargs):
        self._fd = self._watched = -1

    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t offset, Py_ssize_t size) except -1:
        cdef Py_ssize_t got
        cdef bint at_end
        if self._parked:
            self._open_again()
        if self._fd < 0:
            raise ValueError(f"{self.name} is closed")
        while True:
            if not self._regular:
                self.event.wait(self._fd, POLLIN, self.deadline)
            at_end = self._is_over()  # before reading, so that everything written until now is read
            if self.stopped:
                size = min(size, <Py_ssize_t> (max(self._stop, self.position) - self.position))
                if size == 0:
                    return 0
            with nogil:
                got = c_read(self._fd, block.ptr + offset, size)
            if got > 0 or (got == 0 and at_end):
                self.position += got
                return got
            if got == 0:
                self._end.watch.wait(self.event, self.deadline)
            elif errno != EINTR and errno != EAGAIN:
                raise_errno("read", self.name)
            else:
                self.event.check()

    cdef bint _is_over(self) except -1:
        """Return True if the input ends where a read finds nothing."""
        cdef c_stat status
        cdef bint stopped = load_bits(&self.event.signal) & SIGNAL_END
        if not self._regular:
            if stopped and not self.stopped:
                self.stopped, self._stop = True, self.position + self._available()
            return True
        if self._end is None or self.stopped:
            return True  # a file that is not followed ends at its last byte
        if c_fstat(self._fd, &status) < 0:
            raise_errno("fstat", self.name)
        self.size = status.st_size
        if <uint64_t> status.st_size < self.position:
            raise StreamError(f"the file was truncated to {status.st_size} bytes while it was being read")
        if stopped:
            self.stopped, self._stop = True, status.st_size
        return stopped or status.st_nlink == 0 or self._end.is_over()

    cdef void park(self) noexcept:
        if self._fd >= 0 and self._path is not None:
            c_close(self._fd)
            self._fd, self._parked = -1, True
            self._buffer = None

    cdef int _open_again(self) except -1:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._parked = False
        if _identity_of(self._fd) != self._identity:
            raise OSError(errno_names.ESTALE, "the file was replaced while it was being read", self.name)
        os.lseek(self._fd, self.position, os.SEEK_SET)
        return 0

    cdef int fileno(self) noexcept:
        return self._fd

    cdef int _available(self) noexcept:
        """Return the number of bytes available in a FIFO or the like; 0 if not known."""
        cdef int size = 0
        return size if ioctl(self._fd, FIONREAD, &size) == 0 else 0

    cdef void close(self) noexcept:
        if self._end is not None:
            self._end.watch.forget(self._watched)
            self._end = None
        self._parked = False
        if self._fd >= 0:
            c_close(self._fd)
            self._fd = -1

    def __dealloc__(self):
        if self._fd >= 0:
            c_close(self._fd)


@cython.final
cdef class _FileObject(Input):
    """Input of a Python object with `readinto1`, `readinto`, or `read`."""

    cdef object _readinto, _read

    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t offset, Py_ssize_t size) except -1:
        cdef Py_ssize_t got
        cdef object count
        try:
            if self._readinto is not None:
                count = self._readinto(memoryview(new_window(block, offset, size, False)))
            else:
                count = _copy(self._read(size), block, offset, size)
        except StopIteration as error:  # would end the loop of the caller as if the file had ended
            raise RuntimeError(f"{self.name}: reading raised StopIteration: {error}") from error
        if count is None:
            raise BlockingIOError(f"{self.name} is in non-blocking mode and has no data: make it blocking")
        got = count
        if not 0 <= got <= size:
            raise ValueError(
                f"{self.name}: the file object must read 0 to {size} bytes, not {got}")
        self.position += got
        return got


cdef object _copy(object data, Block block, Py_ssize_t offset, Py_ssize_t size):
    """Copy the result of a file object's `read`; return its size, for the caller to check, or None."""
    cdef Borrowed borrowed
    if data is None:
        return None
    if isinstance(data, str):
        raise TypeError("the file object returned a str: open it in binary mode")
    borrowed = borrow(data, False)
    memcpy(block.ptr + offset, borrowed.buffer.buf, min(borrowed.buffer.len, size))
    return borrowed.buffer.len


cdef Input open_input(object source, Event event, EndPolicy end=None, str name=None):
    """Open a path, "-" (standard input) or a binary file object; with an end policy, follow a path.

    An Input is returned as it is. `name` is that of a file object.
    """
    cdef Input opened
    if name is not None and isinstance(source, (Input, str, bytes, os.PathLike)):
        raise ValueError("name must be None for a path, which is the name itself: it is for file objects")
    if isinstance(source, Input):
        opened = source
    elif isinstance(source, (str, bytes, os.PathLike)):
        opened = _open_path(os.fsdecode(source), end)
    elif end is not None:
        raise ValueError("a file object cannot be followed, because it does not report new data: give a path")
    else:
        opened = _open_object(source)
        opened.name = opened.name if name is None else name
    opened.event = event
    return opened


cdef Input _open_path(str path, EndPolicy end):
    cdef _Descriptor opened = _Descriptor()
    cdef c_stat status
    if "\0" in path:
        raise ValueError(
            "file must be a path, which has no NUL bytes, or a binary file object: to read a capture file "
            "in memory, wrap its bytes in io.BytesIO")
    opened.name = path
    if path == "-":
        opened.name = "<stdin>"
        opened._fd = duplicate(STDIN, opened.name)
    else:
        opened._fd = os.open(path, _mode(path, end is not None) | os.O_CLOEXEC)
    if c_fstat(opened._fd, &status) < 0:
        raise_errno("fstat", opened.name)
    opened._regular = S_ISREG(status.st_mode)
    if opened._regular:
        opened.size = status.st_size
        opened.position = os.lseek(opened._fd, 0, os.SEEK_CUR)  # standard input may have been read before
        os.posix_fadvise(opened._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        if end is not None:
            opened._watched = end.watch.add_file(opened._fd, opened.name)
            opened._end = end
        elif path != "-":
            opened._path, opened._identity = os.path.abspath(path), _identity_of(opened._fd)
    return opened


cdef tuple _identity_of(int fd):
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


cdef int _mode(str path, bint follow) except -1:
    """Return the flags to open a path with.

    Opening a FIFO does not wait for a writer: reads do, up to their deadline. A followed FIFO is opened for
    writing, too, so that it always has a writer and never ends (fifo(7)).
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return os.O_RDONLY
    return (os.O_RDWR if follow else os.O_RDONLY) | os.O_NONBLOCK


cdef Input _open_object(object source):
    cdef _FileObject opened = _FileObject()
    opened.name = str(getattr(source, "name", f"<{type(source).__name__}>"))
    # readinto1 and read1 return what a pipe has, instead of waiting for all bytes that were requested.
    opened._readinto = getattr(source, "readinto1", None) or getattr(source, "readinto", None)
    opened._read = getattr(source, "read1", None) or getattr(source, "read", None)
    if opened._readinto is None and opened._read is None:
        hint = ": wrap it in io.BytesIO" if isinstance(source, (bytearray, memoryview)) else ""
        raise TypeError(f"file must be a path or a binary file object, not {type(source).__name__}{hint}")
    return opened


@cython.final
cdef class _Decompressed(Input):
    """Input of a decompressor on top of another input, which for regular files runs on a read-ahead thread.

    Other inputs, and files that are followed, may block or run Python code, which must happen on the reader's
    thread.
    """

    cdef Input _compressed
    cdef ReadAhead _read_ahead  # the read-ahead thread, or None
    cdef object _read           # without one: `read` of the decompressor
    cdef list _chunks           # chunks that are not read yet, except for
    cdef Py_ssize_t _start      # this many bytes of the first one

    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t offset, Py_ssize_t size) except -1:
        cdef Py_ssize_t got
        self._receive(size)
        got = self._copy(block.ptr + offset, size)
        self.position += got
        return got

    cdef int _receive(self, Py_ssize_t size) except -1:
        """Receive chunks for `size` bytes, or fewer; wait for them. At the end there are none."""
        cdef Py_ssize_t left = -self._start
        for chunk in self._chunks:
            left += len(chunk)
        if self._read_ahead is not None:
            while not self._read_ahead.take_into(size - left, self._chunks):
                self.event.wait(self._read_ahead.fileno(), POLLIN, self._compressed.deadline)
        elif left == 0:
            chunk = self._read()
            if len(chunk):
                self._chunks.append(chunk)
        return 0

    cdef Py_ssize_t _copy(self, uint8_t* to, Py_ssize_t size) except -1:
        """Copy up to `size` bytes of the chunks, without the GIL, and forget the chunks that end there."""
        cdef Part[MAX_PARTS] parts
        cdef Py_ssize_t start = self._start, got = 0
        cdef int count = 0, whole = 0, i
        cdef list borrowed = []
        cdef Borrowed chunk
        while got < size and count < MAX_PARTS and count < len(self._chunks):
            chunk = borrow(self._chunks[count], False)
            borrowed.append(chunk)
            parts[count].at = <const uint8_t*> chunk.buffer.buf + start
            parts[count].size = min(size - got, chunk.buffer.len - start)
            got += parts[count].size
            start += parts[count].size
            count += 1
            if start == chunk.buffer.len:
                whole, start = count, 0
        with nogil:
            for i in range(count):
                memcpy(to, parts[i].at, parts[i].size)
                to += parts[i].size
        del self._chunks[:whole]
        self._start = start
        return got

    cdef void park(self) noexcept:
        if self._read_ahead is None:  # else the thread uses the file
            self._compressed.park()

    cdef void close(self) noexcept:
        self._chunks, self._start = [], 0
        if self._read_ahead is not None and self._read_ahead.is_here():
            self._read_ahead.close()
        elif self._compressed is not None:
            self._compressed.close()


cdef Input wrap_input(Input compressed, object reader, bint read_ahead=True):
    """Return an input that decompresses another one with a Reader, on a thread if wanted and possible."""
    cdef _Decompressed opened = _Decompressed()
    opened.name = compressed.name
    opened.event = compressed.event
    opened._compressed = compressed
    opened._chunks = []
    if read_ahead and type(compressed) is _Descriptor and (<_Descriptor> compressed)._regular \
            and (<_Descriptor> compressed)._end is None:
        try:
            opened._read_ahead = ReadAhead(reader, compressed.shut)
        except OSError as error:  # no more descriptors
            raise OSError(error.errno, error.strerror, compressed.name) from None
    else:
        opened._read = reader.read
    return opened
