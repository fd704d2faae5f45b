"""Linux cooked captures, version 2 (LINKTYPE_LINUX_SLL2), with the index of each packet's interface.

    protocol (2) | 0 (2) | ifindex (4) | ARPHRD (2) | packet type (1) | address length (1) | address (8)
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ethernet as ethernet
from slimcap.abi.bytes cimport be16
from slimcap.wire.walk_cooked cimport walk_cooked
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    LEN = 20
    PROTOCOL = 0
    ARPHRD = 8
    TYPE = 10
    ADDRESS_LEN = 11
    ADDRESS = 12


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0


cdef inline uint32_t pkt_type(const uint8_t* p) noexcept nogil:
    """Return the packet type: one of PACKET_HOST to PACKET_OUTGOING in a valid header."""
    return p[TYPE]


cdef inline const uint8_t* source(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the sender's MAC address, or NULL if `p[:n]` has no complete header with one."""
    return p + ADDRESS if check(p, n) and p[ADDRESS_LEN] == ethernet.ADDRESS_LEN else NULL


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find packet type and IP header of an SLL2 packet."""
    if check(p, n):
        walk_cooked(p, n, LEN, pkt_type(p), be16(p + ARPHRD), be16(p + PROTOCOL), info)
