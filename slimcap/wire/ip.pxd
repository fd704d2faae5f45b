"""IP of either version: which one, and where its upper layer is."""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
from slimcap.wire.ipv6 cimport UpperLayer


cdef inline UpperLayer upper_layer(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Protocol and place of the upper layer of the IP packet `p[:n]`; zeros where it is too short to tell."""
    cdef UpperLayer upper
    cdef uint32_t length
    if ipv6.check(p, n):
        return ipv6.upper_layer(p, n)
    upper.protocol = 0
    upper.offset = 0
    if n > ipv4.PROTOCOL and p[0] >> 4 == 4:
        upper.protocol = p[ipv4.PROTOCOL]
    elif n > ipv6.NEXT_HEADER and p[0] >> 4 == 6:
        upper.protocol = p[ipv6.NEXT_HEADER]
    if ipv4.check(p, n) and not ipv4.is_later_fragment(p):
        length = ipv4.header_len(p)
        upper.offset = length if length <= n else 0
    return upper
