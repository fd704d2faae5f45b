from libc.stdint cimport uint8_t

from slimcap.packet.lease cimport Block

cdef class Output:
    cdef str name
    cdef Block block            # bytes to write are block[start:stop]; writers append and move stop
    cdef Py_ssize_t start, stop
    cdef int reserve(self, Py_ssize_t size) except -1
    cdef int put(self, const void* data, Py_ssize_t size) except -1
    cdef int drain(self) except -1
    cdef int flush(self) except -1
    cdef int close(self) except -1
    cdef int discard(self) except -1
    cdef object partial_path(self)

cdef Output open_output(
    object file, object compression, object level, bint atomic, bint keep_partial)
