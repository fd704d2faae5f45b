"""Cisco HDLC, on serial links (LINKTYPE_C_HDLC).

    address (1) | control (1), always 0 | EtherType (2)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    LEN = 4
    CONTROL = 1
    TYPE = 2
    UNICAST = 0x0f
    MULTICAST = 0x8f


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no valid one."""
    return LEN if n >= LEN and p[CONTROL] == 0 and (p[0] == UNICAST or p[0] == MULTICAST) else 0


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the header."""
    return be16(p + TYPE)


cdef inline void walk(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header of the Cisco HDLC frame that starts at `offset`, which is at most `n`."""
    if check(p + offset, n - offset):
        walk_ethertype(p, n, offset + LEN, ethertype(p + offset), info)
