"""AVS headers of 802.11 frames (LINKTYPE_IEEE802_11_AVS).

    magic number and version (4) | length (4) | fields
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ieee80211 as ieee80211
from slimcap.abi.bytes cimport be32
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    MIN_LEN = 8
    MAGIC_SHIFT = 12
    MAGIC = 0x80211         # the version follows
    LENGTH = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its fields, or 0 if `p[:n]` has no complete and valid one."""
    cdef uint32_t length
    if n < MIN_LEN or be32(p) >> MAGIC_SHIFT != MAGIC:
        return 0
    length = be32(p + LENGTH)
    return length if MIN_LEN <= length <= n else 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of an 802.11 frame after an AVS header."""
    cdef uint32_t header = check(p, n)
    if header:
        ieee80211.walk(p, n, header, False, info)
