"""PPP over Ethernet, session stage (RFC 2516 section 4).

    version (4 bits), type (4) | code (1), 0: data | session id (2) | length (2) | PPP protocol
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ppp as ppp
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    ETHERTYPE_SESSION = 0x8864
    LEN = 6
    CODE = 1
    CODE_DATA = 0


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one that carries data."""
    return LEN if n >= LEN and p[CODE] == CODE_DATA else 0


cdef inline void walk(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the session header that starts at `offset`, which is at most `n`."""
    if check(p + offset, n - offset):
        ppp.walk(p, n, offset + LEN, info)
