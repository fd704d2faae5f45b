"""UDP (RFC 768) and UDP-Lite (RFC 3828).

    source port (2) | destination port (2) | length, or coverage (2) | checksum (2)

The length counts the header; 0 is what a jumbogram has (RFC 2675 section 4). UDP-Lite says in its place how
much the checksum covers: its length is IP's.
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    LEN = 8
    LENGTH = 4


cdef inline uint32_t length(const uint8_t* p) noexcept nogil:
    """The length field."""
    return be16(p + LENGTH)
