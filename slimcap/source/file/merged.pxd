from libc.stdint cimport int64_t

from slimcap.packet.annotations cimport Annotations
from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows
from slimcap.source.file.merge_heap cimport Head
from slimcap.source.file.several cimport FilesSource, Part

cdef class MergedSource(FilesSource):
    cdef list _parts            # by order; None for a finished file
    cdef Head** _heap           # heads of the other files; the array is ours, the heads are the parts'
    cdef Py_ssize_t _count
    cdef Pool _blocks
    cdef Py_ssize_t _max_open   # more open files than these give back their descriptors between reads
    cdef int _open(self, object files) except -1
    cdef int _add(self, Part part) except -1
    cdef int _peek(self, Part part) except -1
    cdef int _open_now(self, Part part, int64_t deadline) except -1
    cdef bint _go_on(self, Part part, int64_t deadline) except -1
    cdef dict _options_now(self)
    cdef int _leave_out(self) except -1
    cdef Rows _take_next(self, Part part)
    cdef Rows _gather(self)
    cdef bint _has_annotations(self)
    cdef Annotations _annotations_of(self, list starts, Block orders, Py_ssize_t count)
