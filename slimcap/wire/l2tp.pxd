"""L2TP, version 2 (RFC 2661 section 3.1), data messages: a PPP frame in UDP.

    flags and version (2) | length (2)? | tunnel (2) | session (2) | Ns (2), Nr (2)? | offset size (2)? | …
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    PORT = 1701
    MIN_LEN = 6
    IS_CONTROL = 0x8000
    HAS_LENGTH = 0x4000
    HAS_NUMBERS = 0x0800
    HAS_OFFSET = 0x0200
    VERSION = 0x000f
    VERSION_2 = 2
    FIELD_LEN = 2


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its padding, or 0 if `p[:n]` has no complete data header."""
    cdef uint32_t flags, length = MIN_LEN
    if n < MIN_LEN:
        return 0
    flags = be16(p)
    if flags & IS_CONTROL or flags & VERSION != VERSION_2:
        return 0
    length += FIELD_LEN * ((flags & HAS_LENGTH != 0) + 2 * (flags & HAS_NUMBERS != 0))
    if flags & HAS_OFFSET:
        if n < length + FIELD_LEN:
            return 0
        length += FIELD_LEN + be16(p + length)
    return length if length <= n else 0
