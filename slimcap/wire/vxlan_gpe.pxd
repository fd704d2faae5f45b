"""VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe): several protocols in UDP.

    flags (1) | 0 (2) | next protocol (1) | network identifier (3) | 0 (1)
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.gre as gre
cimport slimcap.wire.nsh as nsh
from slimcap.abi.bytes cimport be32

cdef enum:
    PORT = 4790
    LEN = 8
    NETWORK = 4
    VERSION_AND_O = 0x31    # must be 0; O: operations and management
    HAS_NEXT = 0x04
    NEXT = 3


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one of version 0 that carries data."""
    return LEN if n >= LEN and not p[0] & VERSION_AND_O else 0


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the header; 0 if it has none."""
    return nsh.ethertype_of(p[NEXT]) if p[0] & HAS_NEXT else <uint32_t> gre.ETHERTYPE_BRIDGED


cdef inline uint32_t network(const uint8_t* p) noexcept nogil:
    """Return the network identifier of a complete header."""
    return be32(p + NETWORK) >> 8
