"""DCCP's generic header (RFC 4340 section 5.1).

    source port (2) | destination port (2) | data offset in words (1) | … 12 or 16 bytes in all, then options
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    MIN_LEN = 12
    DATA_OFFSET = 4


cdef inline uint32_t header_len(const uint8_t* p) noexcept nogil:
    """Length of the header with its options, as it says itself: below MIN_LEN is wrong."""
    return p[DATA_OFFSET] * 4
