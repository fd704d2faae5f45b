"""Cisco Meta Data, which carries a security group tag (draft-smith-kandula-sxp, appendix).

    version (1), 1 | length (1), 1 option | option (2) | security group tag (2) | EtherType (2)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x8909
    LEN = 8
    VERSION_AND_LENGTH = 0x0101
    TYPE = 6


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the tag after its EtherType, or 0 if `p[:n]` has no complete one of version 1."""
    return LEN if n >= LEN and be16(p) == VERSION_AND_LENGTH else 0


cdef inline uint32_t next_type(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the tag."""
    return be16(p + TYPE)
