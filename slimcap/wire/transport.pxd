"""Ports: the headers of TCP, UDP, UDP-Lite, SCTP and DCCP all start with them.

    source port (2) | destination port (2) | …
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.bytes cimport be16

cdef enum:
    SOURCE = 0
    DESTINATION = 2
    PORT_LEN = 2
    # IANA protocol numbers
    TCP = 6
    UDP = 17
    DCCP = 33
    SCTP = 132
    UDP_LITE = 136


cdef inline bint has_ports(uint32_t protocol) noexcept nogil:
    return (protocol == TCP or protocol == UDP or protocol == SCTP
            or protocol == DCCP or protocol == UDP_LITE)


cdef inline uint16_t source(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the source port, or 0 if it is not in `p[:n]`."""
    return be16(p + SOURCE) if n >= SOURCE + PORT_LEN else 0


cdef inline uint16_t destination(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the destination port, or 0 if it is not in `p[:n]`."""
    return be16(p + DESTINATION) if n >= DESTINATION + PORT_LEN else 0
