"""GENEVE (RFC 8926 section 3.4): any protocol that has an EtherType, in UDP.

    version (2 bits), options' length in words (6) | flags (1) | EtherType (2)
    | network identifier (3) | 0 (1) | options
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16, be32

cdef enum:
    PORT = 6081
    MIN_LEN = 8
    NETWORK = 4
    VERSION_SHIFT = 6
    LENGTH_MASK = 0x3f
    ETHERTYPE = 2


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its options, or 0 if `p[:n]` has no complete one of version 0."""
    cdef uint32_t length
    if n < MIN_LEN or p[0] >> VERSION_SHIFT:
        return 0
    length = MIN_LEN + (p[0] & LENGTH_MASK) * 4
    return length if length <= n else 0


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the header."""
    return be16(p + ETHERTYPE)


cdef inline uint32_t network(const uint8_t* p) noexcept nogil:
    """Return the network identifier of a complete header."""
    return be32(p + NETWORK) >> 8
