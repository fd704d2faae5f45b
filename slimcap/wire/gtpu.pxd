"""GTP-U, version 1 (3GPP TS 29.281 section 5.1): a mobile user's IP packet in UDP.

    flags (1) | message type (1) | length (2) | tunnel (4)
    | sequence number (2), N-PDU number (1), next extension's type (1)?

The last four bytes are present if any of the flags E, S, PN is set. The first byte of an extension header
(section 5.2.1) is its length in words, its last byte the type of the next one; type 0 ends the list.
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    PORT = 2152
    MIN_LEN = 8
    LONG_LEN = 12
    MESSAGE_TYPE = 1
    VERSION_AND_TYPE = 0xf0
    VERSION_1_GTP = 0x30
    HAS_EXTENSION = 0x04
    HAS_LONG = 0x07     # E, S, PN
    USER_PACKET = 255   # message type G-PDU
    MAX_EXTENSIONS = 16


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header with its extensions, or 0 if `p[:n]` has none that carries a packet."""
    cdef Py_ssize_t offset = LONG_LEN
    if n < MIN_LEN or p[0] & VERSION_AND_TYPE != VERSION_1_GTP or p[MESSAGE_TYPE] != USER_PACKET:
        return 0
    if not p[0] & HAS_LONG:
        return MIN_LEN
    if n < LONG_LEN or not p[0] & HAS_EXTENSION:
        return LONG_LEN if n >= LONG_LEN else 0
    for _ in range(MAX_EXTENSIONS):
        if p[offset - 1] == 0:
            return <uint32_t> offset
        if n <= offset or p[offset] == 0:
            return 0
        offset += p[offset] * 4
        if n < offset:
            return 0
    return 0
