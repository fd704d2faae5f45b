from libc.stdint cimport uint8_t, uint16_t, uint64_t

from slimcap.abi.linux cimport mmsghdr
from slimcap.source.mock.block_writer cimport Arrival

cdef struct Message:
    Message* next
    Arrival packet      # its data follows the struct

cdef class MessageQueue:
    cdef Message* _first
    cdef Message* _last
    cdef uint64_t charged, capacity    # bytes used and maximum, as the kernel counts them
    cdef bint repeats              # messages that are taken are appended again
    cdef bint is_empty(self) noexcept nogil
    cdef bint has_space(self) noexcept nogil
    cdef bint add(self, const Arrival* packet) noexcept nogil
    cdef void _append(self, Message* message) noexcept nogil
    cdef int take(self, mmsghdr* messages, unsigned int count, int ifindex, uint16_t hatype) noexcept nogil
