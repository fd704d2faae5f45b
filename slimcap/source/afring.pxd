from libc.stdint cimport int64_t

from slimcap.packet.lease cimport Pool
from slimcap.source.livebase cimport LiveSource
from slimcap.source.ring cimport Ring
from slimcap.source.tpacket cimport BlockWalker

cdef class RingSource(LiveSource):
    cdef Ring _ring
    cdef BlockWalker _walker
    cdef Pool _row_blocks
    cdef Py_ssize_t _index      # of the block the kernel fills or filled next
    cdef int64_t _block_timeout
    cdef object _ring_options
    cdef bint _take(self) except -1
    cdef Ring _open_ring(self)
