"""GRE, version 0 (RFC 2784, RFC 2890).

    flags and version (2) | EtherType (2) | checksum (4)? | key (4)? | sequence number (4)?
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16, be32

cdef enum:
    GRE = 47
    MIN_LEN = 4
    HAS_CHECKSUM = 0x8000
    HAS_ROUTING = 0x4000   # RFC 1701 only, deprecated; of variable length
    HAS_KEY = 0x2000
    HAS_SEQUENCE = 0x1000
    VERSION = 0x0007
    ETHERTYPE = 2
    ETHERTYPE_BRIDGED = 0x6558  # an Ethernet frame (RFC 1701: transparent Ethernet bridging)


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one of version 0."""
    cdef uint32_t flags, length = MIN_LEN
    if n < MIN_LEN:
        return 0
    flags = be16(p)
    if flags & (VERSION | HAS_ROUTING):
        return 0
    length += 4 * ((flags & HAS_CHECKSUM != 0) + (flags & HAS_KEY != 0) + (flags & HAS_SEQUENCE != 0))
    return length if length <= n else 0


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the header."""
    return be16(p + ETHERTYPE)


cdef inline uint32_t key(const uint8_t* p) noexcept nogil:
    """Return the key of a complete header; 0 if it has none."""
    cdef uint32_t flags = be16(p)
    if not flags & HAS_KEY:
        return 0
    return be32(p + MIN_LEN + (4 if flags & HAS_CHECKSUM else 0))


cdef inline bint has_sequence(const uint8_t* p) noexcept nogil:
    """Return True if the header has a sequence number."""
    return be16(p) & HAS_SEQUENCE != 0
