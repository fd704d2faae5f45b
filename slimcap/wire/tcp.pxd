"""TCP (RFC 9293 section 3.1).

    source port (2) | destination port (2) | sequence (4) | acknowledgement (4)
    | data offset (4 bits), flags (12) | window (2) | checksum (2) | urgent pointer (2) | options
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport be16

cdef enum:
    MIN_LEN = 20
    # Flags.
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16
    # Offsets of fields, which are also the lengths needed to read all fields before them.
    SEQUENCE = 4
    ACKNOWLEDGEMENT = 8
    OFFSET_AND_FLAGS = 12
    WINDOW = 14
    CHECKSUM = 16
    FLAGS_MASK = 0x0fff  # nine flags and three reserved bits


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header without options, or 0 if `p[:n]` has no complete one."""
    return 0 if rarely(n < MIN_LEN) else MIN_LEN


cdef inline uint32_t header_len(const uint8_t* p) noexcept nogil:
    """Return the length of the header with its options, by its own field. Below MIN_LEN it is not valid."""
    return (p[OFFSET_AND_FLAGS] >> 4) * 4


cdef inline uint16_t flags(const uint8_t* p) noexcept nogil:
    """Return the flags and the reserved bits.

    FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256 (RFC 9768).
    """
    return be16(p + OFFSET_AND_FLAGS) & FLAGS_MASK
