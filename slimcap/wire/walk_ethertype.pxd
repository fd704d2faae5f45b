"""The walk from an EtherType to the IP header, shared by all link layers that have EtherTypes.

    14: 88a8 | tci | 8100 | tci | 8864 | PPPoE(6) | 0021 | IPv4 header
        tag        tag        session              PPP    ^ ip_offset

Each iteration advances by at least three bytes, so the length of the packet bounds the walk.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
from slimcap.abi.bytes cimport be16
from slimcap.wire.mpls cimport MPLS_ETHERTYPE_MULTICAST, MPLS_ETHERTYPE_UNICAST, walk_mpls
from slimcap.wire.ppp cimport PPPOE_ETHERTYPE_SESSION, walk_pppoe
from slimcap.wire.vlan cimport VLAN_LEN, add_tag, is_tpid
from slimcap.wire.walk_result cimport LinkInfo, set_ip, set_type

cdef enum:
    # IEEE 802.3 clause 3.2.6: up to this value the field is a length, and an LLC header follows.
    LLC_MAX_LENGTH = 1500
    LLC_LEN = 3
    LLC_SAP_IP = 0x06
    LLC_SAP_SNAP = 0xaa
    LLC_UI = 0x03
    SNAP_LEN = 8  # LLC, OUI, EtherType: RFC 1042


cdef inline uint32_t walk_llc(
        const uint8_t* p, uint32_t n, uint32_t offset, uint32_t* ethertype) noexcept nogil:
    """Return the offset of the data after an LLC header, and set its EtherType; 0 if it has no EtherType."""
    if n < offset + LLC_LEN or p[offset + 2] != LLC_UI or p[offset] != p[offset + 1]:
        return 0
    if p[offset] == LLC_SAP_IP:
        ethertype[0] = ipv4.ETHERTYPE
        return offset + LLC_LEN
    # OUI 00-00-00 means an EtherType (RFC 1042); so does 00-00-f8 (802.1H bridge tunnel).
    if (p[offset] != LLC_SAP_SNAP or n < offset + SNAP_LEN or p[offset + 3] or p[offset + 4]
            or (p[offset + 5] != 0x00 and p[offset + 5] != 0xf8)):
        return 0
    ethertype[0] = be16(p + offset + 6)
    # A length inside SNAP would mean LLC in LLC. No protocol does that, and it would let the loop continue.
    return offset + SNAP_LEN if ethertype[0] > LLC_MAX_LENGTH else 0


cdef inline void walk_ethertype(
        const uint8_t* p, uint32_t n, uint32_t offset, uint32_t ethertype, LinkInfo* info) noexcept nogil:
    """Find the IP header of the packet `p[:n]`, whose bytes from `offset` on have the type `ethertype`."""
    while True:
        set_type(info, ethertype if ethertype > LLC_MAX_LENGTH else 0, offset)
        if ethertype == ipv4.ETHERTYPE or ethertype == ipv6.ETHERTYPE:
            set_ip(info, offset, n)
            return
        if is_tpid(ethertype):
            if n < offset + VLAN_LEN:
                return
            add_tag(info, be16(p + offset), <uint16_t> ethertype)
            ethertype = be16(p + offset + 2)
            offset += VLAN_LEN
        elif ethertype <= LLC_MAX_LENGTH:
            offset = walk_llc(p, n, offset, &ethertype)
            if offset == 0:
                return
        elif ethertype == PPPOE_ETHERTYPE_SESSION:
            walk_pppoe(p, n, offset, info)
            return
        elif ethertype == MPLS_ETHERTYPE_UNICAST or ethertype == MPLS_ETHERTYPE_MULTICAST:
            walk_mpls(p, n, offset, info)
            return
        else:
            return
