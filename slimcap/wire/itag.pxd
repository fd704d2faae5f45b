"""I-Tag of a provider backbone bridge, MAC in MAC (IEEE 802.1Q clause 9.7, formerly 802.1ah).

    priority, DEI, flags (1) | service (3) | Ethernet frame
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ETHERTYPE = 0x88e7
    LEN = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the tag after its EtherType, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0
