"""Per-packet information (LINKTYPE_PPI), least significant byte first: a packet of another link type.

    version (1), 0 | flags (1) | length (2) | link type (4) | fields
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport le16, le32

cdef enum:
    MIN_LEN = 8
    LENGTH = 2
    LINK_TYPE = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its fields, or 0 if `p[:n]` has no complete one of version 0."""
    cdef uint32_t length
    if n < MIN_LEN or p[0]:
        return 0
    length = le16(p + LENGTH)
    return length if MIN_LEN <= length <= n else 0


cdef inline uint32_t link_type(const uint8_t* p) noexcept nogil:
    """Return the link type of the packet after the header."""
    return le32(p + LINK_TYPE)
