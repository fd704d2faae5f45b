"""Teredo (RFC 4380 section 5.1.1): an IPv6 packet in UDP, after one or both of two indications.

    0001 | length of id (1), of value (1) | id | value | nonce (8) | confirmation (1)      authentication
    0000 | port (2) | IPv4 address (4)                                                     origin
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ipv6 as ipv6
from slimcap.abi.bytes cimport be16

cdef enum:
    PORT = 3544
    INDICATOR_LEN = 2
    AUTHENTICATION = 0x0001
    AUTHENTICATION_LEN = 13     # without id and value
    ID_LENGTH = 2
    VALUE_LENGTH = 3
    ORIGIN = 0x0000
    ORIGIN_LEN = 8


cdef inline bint check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return True if `p[:n]` has an IPv6 header after its indications, at the offset `ipv6_offset()`."""
    cdef uint32_t offset = ipv6_offset(p, n)
    return ipv6.check(p + offset, n - offset) != 0


cdef inline uint32_t ipv6_offset(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the indications, at most `n`."""
    cdef Py_ssize_t offset = 0
    if n >= AUTHENTICATION_LEN and be16(p) == AUTHENTICATION:
        offset = AUTHENTICATION_LEN + p[ID_LENGTH] + p[VALUE_LENGTH]
    if n >= offset + ORIGIN_LEN and be16(p + offset) == ORIGIN:
        offset += ORIGIN_LEN
    return <uint32_t> min(offset, n)
