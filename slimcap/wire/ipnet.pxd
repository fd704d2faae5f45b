"""Packets of Solaris' IP observability devices (LINKTYPE_IPNET).

    version (1), 1 | address family (1) | kind (2) | length (4) | interface, group (8) | zones (8) | IP
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    LEN = 24
    VERSION_1 = 1
    FAMILY = 1
    FAMILY_INET = 2
    FAMILY_INET6 = 26


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one of version 1 for IP."""
    if n < LEN or p[0] != VERSION_1:
        return 0
    return LEN if p[FAMILY] == FAMILY_INET or p[FAMILY] == FAMILY_INET6 else 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of a packet."""
    if check(p, n):
        set_ip(info, LEN, n)
