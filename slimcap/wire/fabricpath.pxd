"""FabricPath, MAC in MAC of Cisco's data-centre switches.

    tree (10 bits), TTL (6) | Ethernet frame

The outer addresses are those of switches; the outer EtherType is that of the tag.
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ETHERTYPE = 0x8903
    LEN = 2


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the tag after its EtherType, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0
