"""OpenBSD's IPsec device, where packets are not encrypted (LINKTYPE_ENC), in either byte order.

    address family (4) | SPI (4) | flags (4) | IP
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.null as null
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    LEN = 12


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one for IP."""
    return LEN if n >= LEN and null.is_ip(null.family(p)) else 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of a packet."""
    if check(p, n):
        set_ip(info, LEN, n)
