"""MPLS label stacks (RFC 3032 section 2.1): entries of label (20 bits), TC (3), S (1: bottom of stack),
TTL (8).

Nothing says what follows the bottom. By RFC 4928 section 3 a first nibble of 4 or 6 is IP: pseudowires avoid
those.
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.wire.walk_result cimport LinkInfo, set_ip_by_version

cdef enum:
    MPLS_ETHERTYPE_UNICAST = 0x8847
    MPLS_ETHERTYPE_MULTICAST = 0x8848
    MPLS_LEN = 4
    MPLS_BOTTOM = 0x01  # in the third byte of an entry


cdef inline void walk_mpls(const uint8_t* p, uint32_t n, uint32_t at, LinkInfo* info) noexcept nogil:
    """Find the IP header under the label stack that starts at `at`."""
    while n > at + MPLS_LEN:
        at += MPLS_LEN
        if p[at - 2] & MPLS_BOTTOM:
            set_ip_by_version(info, p, at, n)
            return
