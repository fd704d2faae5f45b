"""IPv6 (RFC 8200) and its extension headers (section 4), up to the upper layer."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x86dd
    HEADER_LEN = 40
    NEXT_HEADER = 6
    SRC = 8
    DST = 24
    # IANA protocol numbers that are extension headers
    HOP_BY_HOP = 0
    ROUTING = 43
    FRAGMENT = 44
    AUTHENTICATION = 51
    DESTINATION = 60
    MAX_EXTENSIONS = 32  # more than any packet has, so that a crafted one costs no time

cdef struct UpperLayer:
    uint32_t protocol
    uint32_t offset     # from the IP header on; 0 if the upper layer does not start in this packet


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Length of the fixed header, or 0 if `p[:n]` does not hold a whole one."""
    return HEADER_LEN if n >= HEADER_LEN and p[0] >> 4 == 6 else 0


cdef inline bint is_extension(uint32_t protocol) noexcept nogil:
    return (protocol == HOP_BY_HOP or protocol == ROUTING or protocol == FRAGMENT
            or protocol == AUTHENTICATION or protocol == DESTINATION)


cdef inline UpperLayer upper_layer(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Protocol and place of the upper layer of a checked header; of the first header that is cut,
    if one is."""
    cdef UpperLayer upper
    cdef Py_ssize_t at = HEADER_LEN
    cdef bint later_fragment = False
    upper.protocol = p[NEXT_HEADER]
    upper.offset = 0
    for _ in range(MAX_EXTENSIONS):
        if not is_extension(upper.protocol) or later_fragment:
            break
        if n < at + 8:
            return upper
        if upper.protocol == FRAGMENT:
            later_fragment = be16(p + at + 2) & 0xfff8 != 0
            upper.protocol = p[at]
            at += 8
        elif upper.protocol == AUTHENTICATION:
            upper.protocol = p[at]
            at += (<Py_ssize_t> p[at + 1] + 2) * 4  # RFC 4302 section 2.2
        else:
            upper.protocol = p[at]
            at += (<Py_ssize_t> p[at + 1] + 1) * 8
    if not later_fragment and not is_extension(upper.protocol) and at <= n:
        upper.offset = <uint32_t> at
    return upper
