"""L2TP, version 3 (RFC 3931 section 4.1), data messages: an Ethernet frame in IP, or in UDP after a word.

    flags and version (2) | 0 (2)                                       in UDP only
    session (4), not 0 | cookie (0, 4 or 8) | sublayer (0 or 4) | Ethernet frame

The lengths of cookie and sublayer, and what follows, are known to the control connection only. A frame is
accepted if its EtherType is that of the complete and valid IP header after it.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.pseudowire as pseudowire
from slimcap.abi.bytes cimport be16, be32

cdef enum:
    PROTOCOL = 115          # IANA number
    MIN_LEN = 4
    MAX_OPTIONAL = 12       # cookie and sublayer
    STEP = 4
    WORD_LEN = 4            # flags, version and two reserved bytes
    CONTROL_AND_VERSION = 0x800f
    VERSION_3 = 3


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header in IP, or 0 if no Ethernet frame with an IP header follows one."""
    cdef uint32_t length = MIN_LEN
    if n < MIN_LEN or be32(p) == 0:
        return 0
    while length <= MIN_LEN + MAX_OPTIONAL and length < n:
        if pseudowire.has_ip(p + length, n - length):
            return length
        length += STEP
    return 0


cdef inline uint32_t word(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the word before a data header in UDP, or 0 if `p[:n]` has no valid one."""
    return WORD_LEN if n >= WORD_LEN and be16(p) & CONTROL_AND_VERSION == VERSION_3 else 0
