"""The walk from an EtherType to the IP header, shared by all link layers that have EtherTypes.

    14: 88a8 | tci | 8100 | tci | 8864 | PPPoE(6) | 0021 | IPv4 header
        tag        tag        session              PPP    ^ ip_offset

Each iteration advances by at least three bytes, so the length of the packet bounds the walk.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.llc as llc
cimport slimcap.wire.mpls as mpls
cimport slimcap.wire.pppoe as pppoe
cimport slimcap.wire.vlan as vlan
from slimcap.wire.walk_result cimport LinkInfo, set_ip, set_type


cdef inline void walk_ethertype(
        const uint8_t* p, uint32_t n, uint32_t offset, uint32_t ethertype, LinkInfo* info) noexcept nogil:
    """Find the IP header of the packet `p[:n]`, whose bytes from `offset` on have the type `ethertype`.

    `offset` is at most `n`.
    """
    cdef uint32_t header
    while True:
        set_type(info, ethertype if ethertype > llc.MAX_LENGTH else 0, offset)
        if ethertype == ipv4.ETHERTYPE or ethertype == ipv6.ETHERTYPE:
            set_ip(info, offset, n)
            return
        if vlan.is_tpid(ethertype):
            header = vlan.check(p + offset, n - offset)
            if not header:
                return
            vlan.add_tag(info, vlan.tci(p + offset), <uint16_t> ethertype)
            ethertype = vlan.ethertype(p + offset)
            offset += header
        elif ethertype <= llc.MAX_LENGTH:
            header = llc.check(p + offset, n - offset)
            if not header:
                return
            ethertype = llc.ethertype(p + offset)
            offset += header
        elif ethertype == pppoe.ETHERTYPE_SESSION:
            pppoe.walk(p, n, offset, info)
            return
        elif ethertype == mpls.ETHERTYPE_UNICAST or ethertype == mpls.ETHERTYPE_MULTICAST:
            mpls.walk(p, n, offset, info)
            return
        else:
            return
