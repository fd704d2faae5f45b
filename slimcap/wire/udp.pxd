"""UDP (RFC 768) and UDP-Lite (RFC 3828).

    source port (2) | destination port (2) | length, or coverage (2) | checksum (2)

The length includes the header; in a jumbogram it is 0 (RFC 2675 section 4). In UDP-Lite the field is the
number of bytes that the checksum covers; the length is the rest of the IP packet.
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport be16

cdef enum:
    LEN = 8
    LENGTH = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return 0 if rarely(n < LEN) else LEN


cdef inline uint32_t length(const uint8_t* p) noexcept nogil:
    """Return the length field."""
    return be16(p + LENGTH)
