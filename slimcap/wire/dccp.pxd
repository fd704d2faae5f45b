"""DCCP's generic header (RFC 4340 section 5.1).

    source port (2) | destination port (2) | data offset in words (1) | … 12 or 16 bytes, then options
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.branch cimport rarely

cdef enum:
    MIN_LEN = 12
    DATA_OFFSET = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the shortest header, or 0 if `p[:n]` has no complete one."""
    return 0 if rarely(n < MIN_LEN) else MIN_LEN


cdef inline uint32_t header_len(const uint8_t* p) noexcept nogil:
    """Return the length of the header with its options, by its own field. Below MIN_LEN it is not valid."""
    return p[DATA_OFFSET] * 4
