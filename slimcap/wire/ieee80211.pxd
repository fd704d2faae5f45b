"""IEEE 802.11 data frames (LINKTYPE_IEEE802_11), least significant byte first.

    frame control (2) | duration (2) | addresses (18) | sequence (2) | address (6)? | QoS (2)? | HT (4)?
    | LLC

The fourth address is present between access points, QoS in frames of these subtypes, HT if the order flag is
set too. An aggregate starts with the header of its first frame: destination (6) | source (6) | length (2).
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    MIN_LEN = 24
    VERSION_AND_TYPE = 0x0f
    TYPE_DATA = 0x08
    SUBTYPE_NO_DATA = 0x40
    SUBTYPE_QOS = 0x80
    FLAGS = 1
    BOTH_WAYS = 0x03        # to and from the distribution system: four addresses
    PROTECTED = 0x40
    ORDER = 0x80
    SEQUENCE = 22
    FRAGMENT_MASK = 0x0f
    ADDRESS_LEN = 6
    QOS_LEN = 2
    IS_AGGREGATE = 0x80     # in the first byte of QoS
    SUBFRAME_LEN = 14
    HT_LEN = 4
    ALIGNMENT = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one before readable data.

    Data is not readable if it is encrypted, or in a fragment other than the first.
    """
    cdef uint32_t length = MIN_LEN
    if n < MIN_LEN or p[0] & (VERSION_AND_TYPE | SUBTYPE_NO_DATA) != TYPE_DATA or p[FLAGS] & PROTECTED:
        return 0
    if p[SEQUENCE] & FRAGMENT_MASK:
        return 0
    if p[FLAGS] & BOTH_WAYS == BOTH_WAYS:
        length += ADDRESS_LEN
    if p[0] & SUBTYPE_QOS:
        length += QOS_LEN + (HT_LEN if p[FLAGS] & ORDER else 0)
    return length if length <= n else 0


cdef inline bint is_aggregate(const uint8_t* p) noexcept nogil:
    """Return True if several frames, each with a header, follow the header."""
    if not p[0] & SUBTYPE_QOS:
        return False
    return p[MIN_LEN + (ADDRESS_LEN if p[FLAGS] & BOTH_WAYS == BOTH_WAYS else 0)] & IS_AGGREGATE != 0


cdef inline void walk(
        const uint8_t* p, uint32_t n, uint32_t offset, bint is_padded, LinkInfo* info) noexcept nogil:
    """Find the IP header of the frame that starts at `offset`, which is at most `n`.

    In a padded frame the header is followed by padding to a multiple of four bytes.
    """
    cdef uint32_t header = check(p + offset, n - offset), start = offset
    if not header:
        return
    offset += (header + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT if is_padded else header
    if is_aggregate(p + start):
        offset += SUBFRAME_LEN
    if offset < n:
        walk_ethertype(p, n, offset, 0, info)
