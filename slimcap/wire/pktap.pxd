"""Apple's packet tap (LINKTYPE_PKTAP), least significant byte first: a packet of another link type.

    length (4) | kind (4), 1: a packet | link type (4) | interface's name (24) | flags, lengths, process (72)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport le32

cdef enum:
    MIN_LEN = 108
    KIND = 4
    KIND_PACKET = 1
    LINK_TYPE = 8


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one before a packet."""
    cdef uint32_t length
    if n < MIN_LEN or le32(p + KIND) != KIND_PACKET:
        return 0
    length = le32(p)
    return length if MIN_LEN <= length <= n else 0


cdef inline uint32_t link_type(const uint8_t* p) noexcept nogil:
    """Return the link type of the packet after the header."""
    return le32(p + LINK_TYPE)
