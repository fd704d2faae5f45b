"""Packets of netfilter's log (LINKTYPE_NFLOG): fields, one of which is an IP packet.

    address family (1) | version (1), 0 | group (2) | fields, each:
    length (2) | type (2) | value | padding to a multiple of four

Length and type are in the byte order of the machine that wrote the file: nearly always least significant
byte first.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.null as null
from slimcap.abi.bytes cimport le16
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    LEN = 4
    VERSION = 1
    FIELD_LEN = 4       # length and type
    FIELD_TYPE = 2
    FIELD_PACKET = 9    # NFULA_PAYLOAD
    ALIGNMENT = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header before the fields, or 0 if `p[:n]` has no complete one for IP."""
    return LEN if n >= LEN and p[VERSION] == 0 and null.is_ip(p[0]) else 0


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP packet among the fields. Each iteration advances by at least four bytes."""
    cdef uint32_t offset = check(p, n), length
    if not offset:
        return
    while n - offset >= FIELD_LEN:
        length = le16(p + offset)
        if length < FIELD_LEN:
            return
        if le16(p + offset + FIELD_TYPE) == FIELD_PACKET:
            set_ip(info, offset + FIELD_LEN, n)
            return
        length = (length + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        if length > n - offset:
            return
        offset += length
