"""Ethernet (IEEE 802.3 clause 3).

    destination (6) | source (6) | EtherType, or length up to 1500 (2)
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
from slimcap.abi.bytes cimport be16

cdef enum:
    LEN = 14
    DST = 0
    SRC = 6
    TYPE = 12
    ADDRESS_LEN = 6


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType or the length."""
    return be16(p + TYPE)


cdef inline const uint8_t* source(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the sender's MAC address, or NULL if it is not in `p[:n]`."""
    return p + SRC if n >= SRC + ADDRESS_LEN else NULL


cdef inline const uint8_t* destination(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the receiver's MAC address, or NULL if it is not in `p[:n]`."""
    return p + DST if n >= DST + ADDRESS_LEN else NULL


cdef inline bint is_plain_ip(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return True if IP follows without a tag, as in nearly all frames, and a byte of it was captured."""
    cdef uint32_t kind
    if n <= LEN:
        return False
    kind = ethertype(p)
    return kind == ipv4.ETHERTYPE or kind == ipv6.ETHERTYPE
