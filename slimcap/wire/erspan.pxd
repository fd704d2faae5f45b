"""ERSPAN (draft-foschiano-erspan): a mirrored Ethernet frame in GRE.

    version 1 (4 bits), VLAN (12) | COS, encapsulation, T (6 bits), session (10) | index (4)        type II
    version 2 (4 bits), VLAN (12) | COS, errors, T (6 bits), session (10) | time (4) | group tag (2)
    | P (1 bit), frame type (5), hardware (6), direction (1), granularity (2), O (1) | (8)?         type III

Type I has no header at all: it is what has GRE's EtherType of type II, and no sequence number.
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x88be      # of types I and II
    ETHERTYPE_III = 0x22eb
    MIN_LEN = 8
    VERSION_II = 1
    VERSION_III = 2
    LEN_III = 12
    FRAME_TYPE = 10
    FRAME_TYPE_SHIFT = 10
    FRAME_TYPE_MASK = 0x1f
    FRAME_ETHERNET = 0
    FRAME_IP = 2
    LAST = 11
    HAS_SUBHEADER = 0x01    # O, in the last byte
    SUBHEADER_LEN = 8


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one of type II or III."""
    cdef uint32_t length = MIN_LEN
    if n < MIN_LEN:
        return 0
    if p[0] >> 4 == VERSION_II:
        return length
    if p[0] >> 4 != VERSION_III or n < LEN_III:
        return 0
    length = LEN_III + (SUBHEADER_LEN if p[LAST] & HAS_SUBHEADER else 0)
    return length if length <= n else 0


cdef inline uint32_t frame_type(const uint8_t* p) noexcept nogil:
    """Return FRAME_ETHERNET, FRAME_IP, or another number if the data is neither."""
    if p[0] >> 4 == VERSION_II:
        return FRAME_ETHERNET
    return be16(p + FRAME_TYPE) >> FRAME_TYPE_SHIFT & FRAME_TYPE_MASK
