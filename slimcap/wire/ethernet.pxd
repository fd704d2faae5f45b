"""Ethernet (IEEE 802.3 clause 3).

    destination (6) | source (6) | EtherType, or length up to 1500 (2)
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
from slimcap.abi.bytes cimport be16
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo, set_type

cdef enum:
    ETHERNET_LEN = 14
    ETHERNET_DST = 0
    ETHERNET_SRC = 6
    ETHERNET_TYPE = 12


cdef inline bint is_plain_ip(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return True if IP follows without a tag, as in nearly all frames, and a byte of it was captured."""
    cdef uint32_t ethertype
    if n <= ETHERNET_LEN:
        return False
    ethertype = be16(p + ETHERNET_TYPE)
    return ethertype == ipv4.ETHERTYPE or ethertype == ipv6.ETHERTYPE


cdef inline void walk_ethernet(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of an Ethernet frame; for a plain IP frame without a function call."""
    if is_plain_ip(p, n):
        info.ip_offset = ETHERNET_LEN
        set_type(info, be16(p + ETHERNET_TYPE), ETHERNET_LEN)
    elif n >= ETHERNET_LEN:
        walk_ethertype(p, n, ETHERNET_LEN, be16(p + ETHERNET_TYPE), info)
