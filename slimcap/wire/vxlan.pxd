"""VXLAN (RFC 7348 section 5): an Ethernet frame in UDP.

    flags (1) | 0 (3) | network identifier (3) | 0 (1)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be32

cdef enum:
    PORT = 4789
    LEN = 8
    NETWORK = 4
    HAS_NETWORK = 0x08  # the flag that must be set


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no valid one."""
    return LEN if n >= LEN and p[0] & HAS_NETWORK else 0


cdef inline uint32_t network(const uint8_t* p) noexcept nogil:
    """Return the network identifier of a complete header."""
    return be32(p + NETWORK) >> 8
