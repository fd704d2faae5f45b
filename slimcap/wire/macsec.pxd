"""MACsec (IEEE 802.1AE clause 9) without encryption: data that is only authenticated.

    TCI and AN (1) | short length (1) | packet number (4) | SCI (8)? | EtherType (2) | data | ICV
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x88e5
    MIN_LEN = 8             # the EtherType after the tag included
    TYPE_LEN = 2
    SCI_LEN = 8
    VERSION = 0x80
    HAS_SCI = 0x20
    CHANGED = 0x0c          # E and C: the data is encrypted, or changed in another way


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of tag and EtherType, or 0 if `p[:n]` has no complete one with readable data."""
    cdef uint32_t length
    if n < MIN_LEN or p[0] & (VERSION | CHANGED):
        return 0
    length = MIN_LEN + (SCI_LEN if p[0] & HAS_SCI else 0)
    return length if length <= n else 0


cdef inline uint32_t next_type(const uint8_t* p, uint32_t length) noexcept nogil:
    """Return the EtherType of the data after a tag of the length that `check()` returned."""
    return be16(p + length - TYPE_LEN)
