"""Radiotap headers of 802.11 frames (LINKTYPE_IEEE802_11_RADIOTAP), least significant byte first.

    version (1), 0 | 0 (1) | length (2) | presence bits (4), more of them if bit 31 is set | fields

Each bit stands for a field; the fields are aligned to their size. Only the flags are read, bit 1. Before them
comes at most a timestamp of eight bytes, bit 0.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ieee80211 as ieee80211
from slimcap.abi.bytes cimport le16, le32
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    MIN_LEN = 8
    LENGTH = 2
    PRESENT = 4
    PRESENT_LEN = 4
    PRESENT_LAST = 3        # last byte of the presence bits, in which bit 31 is
    HAS_MORE = 0x80
    HAS_TIME = 0x01
    HAS_FLAGS = 0x02
    TIME_LEN = 8
    FLAG_PADDED = 0x20      # between the 802.11 header and its data


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its fields, or 0 if `p[:n]` has no complete one of version 0."""
    cdef uint32_t length
    if n < MIN_LEN or p[0]:
        return 0
    length = le16(p + LENGTH)
    return length if MIN_LEN <= length <= n else 0


cdef inline bint is_padded(const uint8_t* p, uint32_t length) noexcept nogil:
    """Return True if the flags of a header of the length that `check()` returned say that data is padded."""
    cdef uint32_t present = le32(p + PRESENT), offset = PRESENT
    if not present & HAS_FLAGS:
        return False
    while offset + PRESENT_LEN <= length and p[offset + PRESENT_LAST] & HAS_MORE:
        offset += PRESENT_LEN
    offset += PRESENT_LEN
    if present & HAS_TIME:
        offset = (offset + TIME_LEN - 1) // TIME_LEN * TIME_LEN + TIME_LEN
    return offset < length and p[offset] & FLAG_PADDED != 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of an 802.11 frame after a radiotap header."""
    cdef uint32_t header = check(p, n)
    if header:
        ieee80211.walk(p, n, header, is_padded(p, header), info)
