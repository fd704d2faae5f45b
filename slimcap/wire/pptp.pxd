"""Enhanced GRE, version 1 (RFC 2637 section 4.1): PPTP's data, a PPP frame.

    flags and version (2) | 880b | payload length (2) | call (2) | sequence (4)? | acknowledgement (4)?
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    MIN_LEN = 8
    MUST_MATCH = 0xe87f         # all but S, A and recursion control
    KEY_AND_VERSION = 0x2001
    HAS_SEQUENCE = 0x1000
    HAS_ACKNOWLEDGEMENT = 0x0080
    NUMBER_LEN = 4
    PROTOCOL = 2
    PROTOCOL_PPP = 0x880b


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete and valid one that carries data."""
    cdef uint32_t flags, length
    if n < MIN_LEN:
        return 0
    flags = be16(p)
    if flags & MUST_MATCH != KEY_AND_VERSION or be16(p + PROTOCOL) != PROTOCOL_PPP:
        return 0
    if not flags & HAS_SEQUENCE:
        return 0
    length = MIN_LEN + NUMBER_LEN + (NUMBER_LEN if flags & HAS_ACKNOWLEDGEMENT else 0)
    return length if length <= n else 0
