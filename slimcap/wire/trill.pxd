"""TRILL (RFC 6325 section 3): an Ethernet frame between routing bridges.

    version (2 bits), 0 (2), multi-destination (1), options' length in words (5), hop count (6)
    | egress (2) | ingress (2) | options | Ethernet frame
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x22f3
    MIN_LEN = 6
    VERSION_SHIFT = 14
    OPTIONS_SHIFT = 6
    OPTIONS_MASK = 0x1f


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its options, or 0 if `p[:n]` has no complete one of version 0."""
    cdef uint32_t length
    if n < MIN_LEN or be16(p) >> VERSION_SHIFT:
        return 0
    length = MIN_LEN + (be16(p) >> OPTIONS_SHIFT & OPTIONS_MASK) * 4
    return length if length <= n else 0
