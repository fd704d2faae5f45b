from libc.stdint cimport int64_t, uint8_t, uint64_t

from slimcap.abi.linux cimport sock_filter
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record

cdef struct Programs:
    # The programs for one interface's packets; Matcher._programs_of keeps both alive.
    const sock_filter* native       # NULL: none was needed yet
    const sock_filter* swapped      # for packets in the other byte order; NULL: the link type has only one

cdef class Matcher:
    cdef object _filter
    cdef dict unfilterable          # link type of packets → reason why the expression has no program for it
    cdef dict _programs_of          # link type → (native, swapped or None); key None: the only ones
    cdef Block _programs            # array of Programs, one for each of _count interfaces
    cdef Py_ssize_t _count
    cdef Py_ssize_t _missing        # interfaces without a program
    cdef bint _any_interface        # the first one is for all interfaces
    cdef Block _scratch             # memory in which a packet's VLAN tag is reinserted
    cdef int validate(self, tuple links) except -1
    cdef int prepare(self, tuple links, const Record* rows, Py_ssize_t count) except -1
    cdef int _extend(self, Py_ssize_t count) except -1
    cdef tuple _programs_for(self, object link_type)
    cdef int _set(self, Py_ssize_t interface, tuple found) except -1
    cdef Py_ssize_t known(self, const Record* rows, Py_ssize_t count, Py_ssize_t start=*) noexcept nogil
    cdef Py_ssize_t keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept, Block numbers=*) except -1
    cdef Py_ssize_t _keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept, int64_t* numbers) except -1 nogil
    cdef int _matches(self, const Record* row, const uint8_t* payload) except -1 nogil
    cdef const uint8_t* _reinsert_tag(self, const Record* row, const uint8_t* payload) except NULL nogil

cdef object row_numbers(Block numbers, Py_ssize_t count)
