from libc.stdint cimport int64_t

from slimcap.packet.lease cimport Pool
from slimcap.packet.record cimport Record
from slimcap.source.base cimport ZeroCopySource
from slimcap.source.ring cimport Ring
from slimcap.source.socket cimport PacketSocket
from slimcap.source.tpacket cimport BlockWalker

cdef class RingSource(ZeroCopySource):
    cdef PacketSocket _socket
    cdef Ring _ring
    cdef BlockWalker _walker
    cdef Pool _row_blocks
    cdef Py_ssize_t _index      # of the block the kernel fills or filled next
    cdef Py_ssize_t _most       # bytes captured of a packet
    cdef int64_t _nap           # ns between two looks at the ring where poll() is of no use
    cdef bint _raise_down
    cdef bint _doubtful         # the link was down: is it still there?
    cdef object _counted        # of the kernel's counters, which clear when read
    cdef bint _take(self) except -1
    cdef int _wait(self, int64_t deadline) except -1
    cdef int _on_error(self) except -1
    cdef int _check_link(self) except -1
    cdef int _count(self) except -1
