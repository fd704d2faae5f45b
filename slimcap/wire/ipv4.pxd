"""IPv4 (RFC 791 section 3.1)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x0800
    MIN_LEN = 20
    FRAGMENT = 6   # flags (3 bits) and fragment offset (13 bits, in units of 8 bytes)
    PROTOCOL = 9
    SRC = 12
    DST = 16


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Length of the fixed header, or 0 if `p[:n]` does not hold a whole one."""
    return MIN_LEN if n >= MIN_LEN and p[0] >> 4 == 4 else 0


cdef inline uint32_t header_len(const uint8_t* p) noexcept nogil:
    """Length of the header with its options; a length field below the minimum counts as the minimum."""
    cdef uint32_t length = (p[0] & 0x0f) * 4
    return length if length >= MIN_LEN else MIN_LEN


cdef inline bint is_later_fragment(const uint8_t* p) noexcept nogil:
    """Whether what follows the header is not the start of the transport layer."""
    return be16(p + FRAGMENT) & 0x1fff != 0
