from libc.stdint cimport int64_t, uint8_t

from slimcap.packet.lease cimport Block, Pool
from slimcap.packet.record cimport Record
from slimcap.packet.rows cimport Rows
from slimcap.source.live.block_walker cimport BlockWalker
from slimcap.source.live.live_source cimport LiveSource
from slimcap.source.live.ring cimport Ring

cdef class RingSource(LiveSource):
    cdef Ring _ring
    cdef BlockWalker walker
    cdef Pool _row_blocks
    cdef Pool _copies           # of the block, if the ring has only one; else None
    cdef Py_ssize_t _index      # of the next block to read
    cdef Py_ssize_t _blocks_per_batch   # maximum
    cdef int64_t _block_timeout         # ns
    cdef object _shape          # RingShape that was asked for
    cdef bint _smaller          # the option smaller_ring
    cdef bint _raise_exhausted  # the option ring_exhausted is "raise"
    cdef int64_t _held_since    # since when the reader has found the next block held, monotonic ns; or 0
    cdef Rows _read_blocks(self, Py_ssize_t ready)
    cdef Py_ssize_t _walk_blocks(
        self, uint8_t* p, Py_ssize_t blocks, Record* rows, Py_ssize_t capacity,
        int64_t* total_bytes) noexcept nogil
    cdef Ring _open_ring(self)
    cdef bint is_held(self) noexcept
    cdef int check_held(self) except -1
    cdef int64_t held_limit(self) noexcept
    cdef int _wait_for_block(self, int64_t deadline) except -1
    cdef str _held_text(self)
    cdef Block _copied(self, Block block)
