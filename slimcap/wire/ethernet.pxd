"""Ethernet (IEEE 802.3 clause 3): destination (6), source (6), EtherType or length (2)."""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16
cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
from slimcap.wire.ethertype cimport walk_ethertype
from slimcap.wire.link cimport LinkInfo

cdef enum:
    ETHERNET_LEN = 14
    ETHERNET_TYPE = 12


cdef inline void walk_ethernet(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header of an Ethernet frame; the untagged one, nearly all of them, without a call."""
    cdef uint32_t ethertype
    if n <= ETHERNET_LEN:
        return
    ethertype = be16(p + ETHERNET_TYPE)
    if ethertype == ipv4.ETHERTYPE or ethertype == ipv6.ETHERTYPE:
        info.ip_offset = ETHERNET_LEN
    else:
        walk_ethertype(p, n, ETHERNET_LEN, ethertype, info)
