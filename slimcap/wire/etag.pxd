"""E-Tag (IEEE 802.1BR clause 7.5): a tag between a bridge and its port extenders.

    priority, DEI, ingress channel (2) | group, channel (2) | extensions of both (2) | EtherType (2)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x893f
    LEN = 8
    TYPE = 6


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the tag after its EtherType, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0


cdef inline uint32_t next_type(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the tag."""
    return be16(p + TYPE)
