"""Read a part of a capture file as if it were a whole file."""
cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.linux cimport EINTR, c_close, c_pread, errno
from slimcap.io.event cimport raise_errno
from slimcap.io.input cimport Input
from slimcap.packet.lease cimport Block

import errno as error_numbers


@cython.final
cdef class FileRange(Input):
    """An input that returns a preamble, then a part of a file.

    Errors state the file's name and the offset in the file.

    Parameters
    ----------
    fd : int
        Descriptor of a regular file, which this object owns and closes. Its file offset is neither used nor
        changed.
    name : str
        Name of the file.
    preamble : bytes
        Bytes that are required to read the part: a file header, or descriptions of interfaces.
    start, stop : int
        Offsets of the part in the file, which must contain it.
    extent : str, default "the file"
        Name of the part in errors about a packet that is truncated at its end.

    Raises
    ------
    OSError
        On reading: the file cannot be read, or ends before `stop` (ESTALE).
    """

    cdef int _fd
    cdef bytes _preamble
    cdef uint64_t _start, _stop

    def __cinit__(self, *args, **kwargs):
        self._fd = -1

    def __init__(self, int fd, str name, bytes preamble not None, uint64_t start, uint64_t stop,
                 str extent="the file"):
        if self._fd >= 0:
            raise TypeError("this FileRange is open already: make a new one")
        if start > stop:
            raise ValueError(f"start must be at most stop, not {start} and {stop}")
        self._fd, self.name, self._preamble, self._start, self._stop = fd, name, preamble, start, stop
        self.size = len(preamble) + (stop - start)
        self.extent = extent

    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t offset, Py_ssize_t size) except -1:
        cdef uint64_t first = len(self._preamble)
        cdef uint64_t remaining
        cdef Py_ssize_t got
        if self.position < first:
            got = min(<uint64_t> size, first - self.position)
            memcpy(block.ptr + offset, <const uint8_t*> self._preamble + self.position, got)
        else:
            remaining = self._stop - self.offset_in_file(self.position)
            got = self._read(block.ptr + offset, min(<uint64_t> size, remaining)) if remaining else 0
        self.position += got
        return got

    cdef Py_ssize_t _read(self, uint8_t* out, size_t size) except -1:
        """Read up to `size` > 0 bytes, at least one; raise OSError if there is none."""
        cdef long long place = self.offset_in_file(self.position)
        cdef Py_ssize_t got
        if self._fd < 0:
            raise ValueError(f"{self.name} is closed")
        while True:
            with nogil:
                got = c_pread(self._fd, out, size, place)
            if got > 0:
                return got
            if got == 0:
                raise OSError(
                    error_numbers.ESTALE, "the file was truncated while it was being read", self.name)
            if errno != EINTR:
                raise_errno("pread", self.name)
            self.event.check()

    cdef uint64_t offset_in_file(self, uint64_t offset) noexcept:
        cdef uint64_t first = len(self._preamble)
        return self._start + offset - first if offset >= first else offset

    cdef void close(self) noexcept:
        if self._fd >= 0:
            c_close(self._fd)
            self._fd = -1

    def __dealloc__(self):
        if self._fd >= 0:
            c_close(self._fd)
