"""Ethernet pseudowires after a label stack (RFC 4448 section 4.1), with or without a control word.

    0 (4 bits), flags and length (12) | sequence number (2) | Ethernet frame
    | Ethernet frame

The packet does not say which of the two it is, or that the pseudowire carries Ethernet at all. A frame is
accepted if its EtherType, after any VLAN tags, is that of the complete and valid IP header after it.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.ip as ip
cimport slimcap.wire.vlan as vlan

cdef enum:
    CONTROL_LEN = 4
    CONTROL_NIBBLE = 0      # in the first four bits (RFC 4385 section 3)
    MAX_TAGS = 4            # more than real frames have


cdef inline bint has_ip(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return True if `p[:n]` is an Ethernet frame with a complete and valid IP header."""
    cdef Py_ssize_t offset = ethernet.check(p, n)
    cdef uint32_t ethertype
    if not offset:
        return False
    ethertype = ethernet.ethertype(p)
    for _ in range(MAX_TAGS):
        if not vlan.is_tpid(ethertype) or not vlan.check(p + offset, n - offset):
            break
        ethertype = vlan.ethertype(p + offset)
        offset += vlan.LEN
    return ip.is_valid(ethertype, p + offset, n - offset)


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the control word, if there is one, and of the Ethernet header after it.

    0 if `p[:n]` has no Ethernet frame with an IP header.
    """
    if n >= CONTROL_LEN and p[0] >> 4 == CONTROL_NIBBLE and has_ip(p + CONTROL_LEN, n - CONTROL_LEN):
        return CONTROL_LEN + ethernet.LEN
    return ethernet.LEN if has_ip(p, n) else 0


cdef inline uint32_t next_type(const uint8_t* p, uint32_t length) noexcept nogil:
    """Return the EtherType or TPID after headers of the length that `check()` returned."""
    return ethernet.ethertype(p + length - ethernet.LEN)
