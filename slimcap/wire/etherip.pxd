"""EtherIP (RFC 3378): an Ethernet frame in IP.

    version (4 bits), 3 | 0 (12 bits) | Ethernet frame
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    PROTOCOL = 97           # IANA number
    LEN = 2
    VERSION = 0x3000


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete and valid one."""
    return LEN if n >= LEN and be16(p) == VERSION else 0
