"""ICMP (RFC 792) and ICMPv6 (RFC 4443 section 2.1), whose headers have the same layout.

    type (1) | code (1) | checksum (2) | depends on the type (4) | …
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.branch cimport rarely

cdef enum:
    ICMP = 1
    ICMPV6 = 58
    LEN = 8
    # Offsets of fields. They may be read from a truncated header that is longer than the offset.
    TYPE = 0
    CODE = 1


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return 0 if rarely(n < LEN) else LEN
