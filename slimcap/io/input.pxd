from libc.stdint cimport int64_t, uint8_t, uint64_t

from slimcap.io.event cimport Event
from slimcap.io.watch cimport Watch
from slimcap.packet.lease cimport Block

cdef class Input:
    cdef Event event
    cdef int64_t deadline       # of the read that is under way
    cdef readonly uint64_t position
    cdef readonly object size
    cdef readonly str name
    cdef bint stopped           # what was there at stop() is its end, which may be in the middle of something
    cdef Block _room            # what `read` reads to: kept, as fresh memory costs page faults
    cdef readonly str extent    # what its end is the end of, in words
    cdef Py_ssize_t read_into(self, Block block, Py_ssize_t at, Py_ssize_t size) except -1
    cdef uint64_t place(self, uint64_t at) noexcept
    cdef int fileno(self) noexcept
    cdef void close(self) noexcept

cdef Input open_input(object source, Event event, Watch watch=*)
cdef Input wrap_input(Input below, object reader, bint ahead=*)
