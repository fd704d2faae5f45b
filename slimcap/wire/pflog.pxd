"""Packets logged by OpenBSD's packet filter (LINKTYPE_PFLOG), and by those made from it.

    length (1) | address family (1) | action (1) | reason (1) | interface's name (16) | … | IP

The length is that of the header without its padding to a multiple of four.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.null as null
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    MIN_LEN = 48        # of the oldest version with a length, padded
    MIN_STATED = 45
    FAMILY = 1
    ALIGNMENT = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its padding, or 0 if `p[:n]` has no complete and valid one."""
    cdef uint32_t length
    if n < MIN_LEN or p[0] < MIN_STATED:
        return 0
    length = (<uint32_t> p[0] + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return length if length <= n else 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header after a header of an IP packet."""
    cdef uint32_t header = check(p, n)
    if header and null.is_ip(p[FAMILY]):
        set_ip(info, header, n)
