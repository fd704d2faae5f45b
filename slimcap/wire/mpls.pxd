"""MPLS label stacks (RFC 3032 section 2.1): entries of four bytes.

    label (20 bits), TC (3), S (1), set at the bottom of the stack | TTL (1)

The stack does not state which protocol follows it. A first nibble of 4 or 6 means IP, because pseudowires
avoid these values (RFC 4928 section 3).
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.wire.walk_result cimport LinkInfo, set_ip_by_version

cdef enum:
    ETHERTYPE_UNICAST = 0x8847
    ETHERTYPE_MULTICAST = 0x8848
    LEN = 4
    LABEL_END = 2   # last bits of the label, TC and S
    BOTTOM = 0x01   # S, in that byte


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of an entry, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0


cdef inline bint is_bottom(const uint8_t* p) noexcept nogil:
    """Return True if the entry is the last one."""
    return p[LABEL_END] & BOTTOM


cdef inline uint32_t stack_end(const uint8_t* p, uint32_t n, uint32_t offset) noexcept nogil:
    """Return the end of the label stack that starts at `offset`, which is at most `n`; `n` if it has none."""
    while check(p + offset, n - offset):
        offset += LEN
        if is_bottom(p + offset - LEN):
            return offset
    return n


cdef inline void walk(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the label stack that starts at `offset`, which is at most `n`."""
    set_ip_by_version(info, p, stack_end(p, n, offset), n)
