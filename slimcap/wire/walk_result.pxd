"""`LinkInfo`: the parsed link-layer header, filled in by the walks of this folder."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    INFO_NO_IP = 0xffff
    INFO_UNKNOWN_TYPE = 255
    INFO_VLAN = 1

cdef struct LinkInfo:
    uint32_t flags     # INFO_VLAN
    uint16_t ip_offset
    uint16_t vlan_tci
    uint16_t vlan_tpid
    uint32_t tags          # number of VLAN tags in the bytes
    uint16_t inner_tci     # TCI of the second tag, if there is one
    uint16_t ethertype     # EtherType after all tags; 0 if the link layer has none
    uint32_t type_offset   # offset of the data that this EtherType describes
    uint8_t pkt_type


cdef inline void clear(LinkInfo* info) noexcept nogil:
    """Reset to the state in which nothing is known of the packet."""
    info.flags = 0
    info.ip_offset = INFO_NO_IP
    info.vlan_tci = 0
    info.vlan_tpid = 0
    info.tags = 0
    info.inner_tci = 0
    info.ethertype = 0
    info.type_offset = 0
    info.pkt_type = INFO_UNKNOWN_TYPE


cdef inline void set_type(LinkInfo* info, uint32_t ethertype, uint32_t offset) noexcept nogil:
    """Record the EtherType of the data that starts at `offset`."""
    info.ethertype = <uint16_t> ethertype
    info.type_offset = offset


cdef inline void set_ip(LinkInfo* info, uint32_t offset, uint32_t n) noexcept nogil:
    """Record that IP starts at `offset`, as the link layer says, if at least one byte of it was captured."""
    if offset < n and offset < INFO_NO_IP:
        info.ip_offset = <uint16_t> offset


cdef inline void set_ip_by_version(
        LinkInfo* info, const uint8_t* p, uint32_t offset, uint32_t n) noexcept nogil:
    """Record that IP starts at `offset` if its first nibble is 4 or 6; the link layer does not say."""
    if offset < n and (p[offset] >> 4 == 4 or p[offset] >> 4 == 6):
        set_ip(info, offset, n)
