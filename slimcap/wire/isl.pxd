"""Cisco's inter-switch link: an Ethernet frame with another header, and a checksum after both.

    destination (5), 01 00 0c 00 00 or 03 00 0c 00 00 | type (4 bits), user (4) | source (6) | length (2)
    | aa aa 03 | vendor (3) | VLAN (15 bits), BPDU (1) | index (2) | 0 (2) | Ethernet frame
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be32

cdef enum:
    LEN = 26
    DESTINATION = 0x01000c00    # first four bytes, without the bit that may be set
    DESTINATION_MASK = 0xfdffffff
    DESTINATION_LAST = 4
    SNAP = 14
    SNAP_SHIFT = 8
    SNAP_UI = 0xaaaa03


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete and valid one."""
    if n < LEN or be32(p) & DESTINATION_MASK != DESTINATION or p[DESTINATION_LAST]:
        return 0
    return LEN if be32(p + SNAP) >> SNAP_SHIFT == SNAP_UI else 0
