from libc.stdint cimport int64_t, uint8_t

from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows
from slimcap.source.live.block_walker cimport BlockWalker
from slimcap.source.live.live_source cimport LiveSource
from slimcap.source.live.ring cimport Ring

cdef class RingSource(LiveSource):
    cdef Ring _ring
    cdef BlockWalker _walker
    cdef Pool _row_blocks
    cdef Pool _copies           # of the block, if the ring has only one; else None
    cdef Py_ssize_t _index      # of the next block to read
    cdef Py_ssize_t _blocks_per_batch   # maximum
    cdef int64_t _block_timeout         # ns
    cdef object _ring_options
    cdef Rows _read_blocks(self, Py_ssize_t ready)
    cdef Py_ssize_t _walk_blocks(
        self, uint8_t* p, Py_ssize_t blocks, Record* rows, Py_ssize_t capacity,
        int64_t* total_bytes) noexcept nogil
    cdef Ring _open_ring(self)
    cdef Block _copied(self, Block block)
