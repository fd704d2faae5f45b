from libc.stdint cimport uint8_t, uint64_t

from slimcap.abi.linux cimport sock_filter
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport Record

cdef struct Programs:
    # Of one interface's packets; Matcher._machines keeps both alive.
    const sock_filter* usual
    const sock_filter* swapped      # for those in the byte order of other machines; NULL: there are no such

cdef class Matcher:
    cdef object _filter
    cdef list _machines
    cdef Block _programs            # an array of Programs, one for each of _count interfaces
    cdef Py_ssize_t _count
    cdef bint _any_interface        # the first is for all
    cdef Block _scratch             # where a packet's tag is put back
    cdef int learn(self, tuple links) except -1
    cdef int _add(self, object usual, object swapped) except -1
    cdef Py_ssize_t known(self, const Record* rows, Py_ssize_t count) noexcept nogil
    cdef Py_ssize_t keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept) except -1
    cdef Py_ssize_t _keep(
        self, const Record* rows, Py_ssize_t count, const uint8_t* data, uint64_t size,
        Record* kept) except -1 nogil
    cdef int _takes(self, const Record* row, const uint8_t* payload) except -1 nogil
    cdef const uint8_t* _put_tag_back(self, const Record* row, const uint8_t* payload) except NULL nogil
