"""IP authentication header (RFC 4302 section 2), above IPv4 and among the extension headers of IPv6.

    next header (1) | length in words, less two (1) | 0 (2) | SPI (4) | sequence (4) | integrity check value
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    PROTOCOL = 51       # IANA number
    MIN_LEN = 8         # that of a header whose length field is 0
    NEXT_HEADER = 0
    LENGTH = 1
    MAX_HEADERS = 8     # one after another, more than real packets have


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header by its own field, or 0 if `p[:n]` does not have that field."""
    return (p[LENGTH] + 2) * 4 if n >= MIN_LEN else 0
