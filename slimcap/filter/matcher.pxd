from libc.stdint cimport int64_t, uint8_t, uint64_t

from slimcap.abi.linux cimport sock_filter
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record

cdef struct Programs:
    # The programs for one interface's packets; Matcher._machines keeps both alive.
    const sock_filter* native
    const sock_filter* swapped      # for packets in the other byte order; NULL: the link type has only one

cdef class Matcher:
    cdef object _filter
    cdef list _machines
    cdef Block _programs            # array of Programs, one for each of _count interfaces
    cdef Py_ssize_t _count
    cdef bint _any_interface        # the first one is for all interfaces
    cdef Block _scratch             # memory in which a packet's VLAN tag is reinserted
    cdef int learn(self, tuple links) except -1
    cdef int _add(self, object native, object swapped) except -1
    cdef Py_ssize_t known(self, const Record* rows, Py_ssize_t count) noexcept nogil
    cdef Py_ssize_t keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept, Block numbers=*) except -1
    cdef Py_ssize_t _keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept, int64_t* numbers) except -1 nogil
    cdef int _matches(self, const Record* row, const uint8_t* payload) except -1 nogil
    cdef const uint8_t* _reinsert_tag(self, const Record* row, const uint8_t* payload) except NULL nogil

cdef object row_numbers(Block numbers, Py_ssize_t count)
