cimport cython
from libc.stdint cimport uint8_t

from slimcap.packet.record cimport Record

cdef enum:
    HDR_LEN = 6  # PACKET_HDR_OFFSET: type (1), IP layer offset (1), total length (4, of this machine's order)
    INLINE_LEN = 154  # with this a Packet with a snaplen of up to 148 bytes is one allocation

cdef class Packet:
    cdef Record _row
    cdef const uint8_t* _ptr    # the payload: in _memory, or where a PacketView shows it
    cdef object _owner          # keeps _ptr alive: bytes, or the hold of a lease; None if that is _inline
    cdef uint8_t* _memory       # header and payload, of a packet with bytes of its own
    cdef Py_ssize_t _capacity   # of the payload
    cdef uint8_t _inline[INLINE_LEN]
    @cython.final
    cdef int _own(self) except -1
    @cython.final
    cdef void _use_inline(self) noexcept
    @cython.final
    cdef int _allocate(self, Py_ssize_t capacity) except -1
    @cython.final
    cdef void _fill(self, const Record* row, const uint8_t* payload) noexcept
    @cython.final
    cdef object _keeper(self)

cdef class PacketView(Packet):
    pass

cdef PacketView new_packet_view(const Record* row, const uint8_t* payload, object owner)
cdef Packet empty_packet(Py_ssize_t capacity)
cdef Packet packet_from(const Record* row, const uint8_t* payload)
cdef object packet_type(uint8_t value)
