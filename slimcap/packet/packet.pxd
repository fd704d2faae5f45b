cimport cython
from libc.stdint cimport uint8_t

from slimcap.packet.record cimport Record

cdef enum:
    INLINE_LEN = 148  # a Packet with a capacity of up to 148 bytes needs a single allocation

cdef class Packet:
    cdef Record _row
    cdef const uint8_t* _ptr    # the payload: in _memory, or the bytes that a PacketView shows
    cdef readonly object comment
    cdef object _owner          # keeps _ptr alive: bytes, or the hold of a lease; None: _ptr is in _inline
    cdef uint8_t* _memory       # the payload, to write to; NULL for a PacketView
    cdef Py_ssize_t _capacity   # maximum size of the payload
    cdef uint8_t _inline[INLINE_LEN]
    @cython.final
    cdef int _own(self) except -1
    @cython.final
    cdef void _use_inline(self) noexcept
    @cython.final
    cdef int _allocate(self, Py_ssize_t capacity) except -1
    @cython.final
    cdef void _fill(self, const Record* row, const uint8_t* payload, object comment) noexcept
    @cython.final
    cdef int overwrite(self, const Record* row, const uint8_t* payload, object comment) except -1
    @cython.final
    cdef object read(self, Record* row)
    @cython.final
    cdef object _memory_owner(self)

cdef class PacketView(Packet):
    pass

cdef PacketView new_packet_view(const Record* row, const uint8_t* payload, object owner)
cdef Packet empty_packet(Py_ssize_t capacity)
cdef Packet packet_from(const Record* row, const uint8_t* payload)
cdef object packet_type(uint8_t value)
