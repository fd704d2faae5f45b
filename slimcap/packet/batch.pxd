from libc.stdint cimport int64_t

from slimcap.packet.annotations cimport Annotations
from slimcap.packet.lease cimport Hold, Lease
from slimcap.packet.record cimport Record
from slimcap.packet.view cimport View

cdef class Batch:
    cdef const Record* _rows
    cdef Py_ssize_t _count
    cdef Hold _rows_hold        # keeps _rows alive
    cdef Lease _lease           # keeps the packets' bytes alive
    cdef int64_t _total_bytes   # sum of total_len; -1: not computed yet
    cdef tuple _links
    cdef tuple _interfaces      # an InterfaceInfo for each link; None: only the links are known
    cdef Annotations _annotations   # of the packets, and blocks between them; None: there are none
    cdef object _records        # numpy arrays, made on first access
    cdef object _data
    cdef int _take(self, object rows) except -1
    cdef int _inherit(self, Batch other, object rows) except -1
    cdef Batch _annotated(self, Annotations annotations)
    cdef object _starts_of(self, object layer)
    cdef object _numbers_of(self, object key)
    cdef View _open(self)
    cdef int _check(self) except -1
    cdef object _packet(self, Py_ssize_t index)
    cdef const Record* _row(self, Py_ssize_t index) except NULL

cdef Batch new_batch(const Record* rows, Py_ssize_t count, Hold rows_hold, Lease lease, tuple links)
cdef void pack_rows(
    const Record* rows, Py_ssize_t count, const unsigned char* data, size_t size,
    Record* out, unsigned char* bytes_out, size_t at) noexcept nogil
