"""Headers of the Prism driver before 802.11 frames (LINKTYPE_IEEE802_11_PRISM), in either byte order.

    message code (4) | length (4) | device, fields

Some drivers write an AVS header under this link type (`avs`).
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.avs as avs
cimport slimcap.wire.ieee80211 as ieee80211
from slimcap.abi.bytes cimport be32, le32
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    MIN_LEN = 8
    CODE_MONITOR = 0x44
    CODE_OTHER = 0x41       # of another driver
    LENGTH = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its fields, or 0 if `p[:n]` has no complete and valid one."""
    cdef uint32_t length
    if n < MIN_LEN:
        return 0
    if le32(p) == CODE_MONITOR or le32(p) == CODE_OTHER:
        length = le32(p + LENGTH)
    elif be32(p) == CODE_MONITOR or be32(p) == CODE_OTHER:
        length = be32(p + LENGTH)
    else:
        return 0
    return length if MIN_LEN <= length <= n else 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of an 802.11 frame after a header of Prism or AVS."""
    cdef uint32_t header = check(p, n)
    if not header:
        header = avs.check(p, n)
    if header:
        ieee80211.walk(p, n, header, False, info)
