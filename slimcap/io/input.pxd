from libc.stdint cimport int64_t, uint8_t, uint64_t

from slimcap.io.event cimport Event
from slimcap.io.watch cimport EndPolicy
from slimcap.packet.lease cimport Block

cdef class Input:
    cdef Event event
    cdef int64_t deadline       # of the current read
    cdef readonly uint64_t position
    cdef readonly object size
    cdef readonly str name
    cdef bint stopped           # ends with the bytes that existed at stop(), perhaps within a packet
    cdef Block _buffer          # buffer of `read`; reused, because new memory costs page faults
    cdef readonly str extent    # name of what it contains, for errors about its end
    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t offset, Py_ssize_t size) except -1
    cdef uint64_t offset_in_file(self, uint64_t offset) noexcept
    cdef int fileno(self) noexcept
    cdef void park(self) noexcept
    cdef void close(self) noexcept

cdef Input open_input(object source, Event event, EndPolicy end=*, str name=*)
cdef Input wrap_input(Input compressed, object reader, bint read_ahead=*)
