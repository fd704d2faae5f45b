from libc.stdint cimport int64_t, uint64_t

from slimcap.abi.clock cimport Clock
from slimcap.packet.lease cimport Block
from slimcap.packet.options cimport Options

cdef enum:
    CLAMPED_TIME = 0xffff   # code of our own last option of a packet, its Instant; it is never in a file

cdef struct Instant:
    Clock clock             # of the interface,
    uint64_t ticks          # and the time by it

cdef struct OptionRun:
    int64_t row             # of the packet that has the options
    uint64_t at, size       # they are _values[at:at + size]

cdef class Annotations:
    cdef Block _runs        # the OptionRuns, by row
    cdef Py_ssize_t _count
    cdef Block _values      # as in a file, in native byte order, without end marks
    cdef uint64_t _used     # bytes of it
    cdef list blocks        # (row, block) by row: the block is before the packet of that row
    cdef Annotations part(self, int64_t start, int64_t stop, bint last)
    cdef Annotations take(self, object rows)
    cdef int add(self, Annotations other, int64_t shift) except -1
    cdef Annotations renumbered(self, list numbers, Py_ssize_t known)
    cdef int add_at(self, Annotations other, const int64_t[::1] places) except -1
    cdef int sort(self) except -1
    cdef int reserve(self, Py_ssize_t runs, uint64_t size) except -1
    cdef int _reserve_for(self, Annotations other) except -1
    cdef bint keep(
        self, int64_t row, Options options, int64_t drops, const Instant* clamped) noexcept nogil
    cdef bint instant_of(self, const OptionRun* run, Instant* instant) noexcept nogil
    cdef void _copy(self, const OptionRun* run, Annotations owner, int64_t row) noexcept nogil
    cdef int keep_options(self, int64_t row, bytes encoded) except -1
    cdef void _append(self, int64_t row, uint64_t size) noexcept nogil
    cdef list _list(self, const OptionRun* run)
    cdef Py_ssize_t find(self, int64_t row) noexcept nogil
    cdef const OptionRun* run_of(self, int64_t row) noexcept nogil
    cdef const OptionRun* longer_than(self, uint64_t size) noexcept
    cdef Options options_of(self, const OptionRun* run) noexcept nogil
    cdef object comment(self, int64_t row)
    cdef dict comments(self)
    cdef tuple count_options(self)

cdef int64_t block_cost(object block) except -1
cdef Annotations other_blocks(Annotations own, list blocks)
cdef Annotations after_blocks(list blocks, Annotations own)
cdef Annotations with_blocks(Annotations own, object blocks, int64_t count)
cdef Annotations with_comments(Annotations own, object comments, int64_t count)
