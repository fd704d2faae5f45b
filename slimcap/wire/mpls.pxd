"""MPLS label stacks (RFC 3032 section 2.1).

Each entry is label (20 bits), TC (3 bits), S (1 bit, set at the bottom of the stack), TTL (8 bits).

The stack does not state which protocol follows it. A first nibble of 4 or 6 means IP, because pseudowires
avoid these values (RFC 4928 section 3).
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.wire.walk_result cimport LinkInfo, set_ip_by_version

cdef enum:
    MPLS_ETHERTYPE_UNICAST = 0x8847
    MPLS_ETHERTYPE_MULTICAST = 0x8848
    MPLS_LEN = 4
    MPLS_BOTTOM = 0x01  # in the third byte of an entry


cdef inline void walk_mpls(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the label stack that starts at `offset`."""
    while n > offset + MPLS_LEN:
        offset += MPLS_LEN
        if p[offset - 2] & MPLS_BOTTOM:
            set_ip_by_version(info, p, offset, n)
            return
