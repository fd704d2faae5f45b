"""ARP (RFC 826) for IPv4 over hardware with 6-byte addresses.

    hardware (2) | 0800 (2) | 6 | 4 | operation (2) | sender MAC (6), IP (4) | target MAC (6), IP (4)
"""
from libc.stdint cimport uint8_t

cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.ipv4 as ipv4
from slimcap.abi.bytes cimport be16

cdef enum:
    ETHERTYPE = 0x0806
    LEN = 28
    PROTOCOL = 2
    HARDWARE_LEN = 4
    PROTOCOL_LEN = 5
    SENDER_IP = 14
    TARGET_IP = 24


cdef inline bint check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return True if `p[:n]` is a complete ARP packet with IPv4 and 6-byte hardware addresses."""
    return (n >= LEN and be16(p + PROTOCOL) == ipv4.ETHERTYPE and p[HARDWARE_LEN] == ethernet.ADDRESS_LEN
            and p[PROTOCOL_LEN] == ipv4.ADDRESS_LEN)
