"""SCTP's common header (RFC 9260 section 3.1), before its chunks.

    source port (2) | destination port (2) | verification tag (4) | checksum (4)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.branch cimport rarely

cdef enum:
    LEN = 12


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return 0 if rarely(n < LEN) else LEN
