"""Network service header (RFC 8300 section 2).

    version (2 bits), O (1), 0 (1), TTL (6), length in words (6) | type (1) | next protocol (1)
    | service path (3) | index (1) | context
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.gre as gre
cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.mpls as mpls
from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x894f
    MIN_LEN = 8
    VERSION_SHIFT = 14
    LENGTH_MASK = 0x3f
    NEXT = 3
    # Numbers of the next protocol (section 11.2.5), which are also those of VXLAN-GPE.
    NEXT_IPV4 = 1
    NEXT_IPV6 = 2
    NEXT_ETHERNET = 3
    NEXT_HEADER = 4
    NEXT_MPLS = 5


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its context, or 0 if `p[:n]` has no complete one of version 0."""
    cdef uint32_t length
    if n < MIN_LEN or be16(p) >> VERSION_SHIFT:
        return 0
    length = (be16(p) & LENGTH_MASK) * 4
    return length if MIN_LEN <= length <= n else 0


cdef inline uint32_t ethertype_of(uint32_t protocol) noexcept nogil:
    """Return the EtherType of a next protocol (its number in NSH); 0 for one that has no EtherType."""
    if protocol == NEXT_IPV4:
        return ipv4.ETHERTYPE
    if protocol == NEXT_IPV6:
        return ipv6.ETHERTYPE
    if protocol == NEXT_ETHERNET:
        return gre.ETHERTYPE_BRIDGED
    if protocol == NEXT_HEADER:
        return ETHERTYPE
    return mpls.ETHERTYPE_UNICAST if protocol == NEXT_MPLS else 0


cdef inline uint32_t next_type(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the header; 0 if it has none."""
    return ethertype_of(p[NEXT])
