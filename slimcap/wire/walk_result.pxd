"""What a link-layer header tells: the state that the walks of this folder fill in."""
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
    uint32_t tags          # how many VLAN tags there are in line
    uint16_t inner_tci     # of the tag behind the outermost, if there is one
    uint16_t ethertype     # of what is behind all tags; 0 if the link layer names none
    uint32_t type_offset   # where that starts
    uint8_t pkt_type


cdef inline void clear(LinkInfo* info) noexcept nogil:
    """Nothing is known of the packet."""
    info.flags = 0
    info.ip_offset = INFO_NO_IP
    info.vlan_tci = 0
    info.vlan_tpid = 0
    info.tags = 0
    info.inner_tci = 0
    info.ethertype = 0
    info.type_offset = 0
    info.pkt_type = INFO_UNKNOWN_TYPE


cdef inline void set_type(LinkInfo* info, uint32_t ethertype, uint32_t at) noexcept nogil:
    """What starts at `at` is of that EtherType."""
    info.ethertype = <uint16_t> ethertype
    info.type_offset = at


cdef inline void set_ip(LinkInfo* info, uint32_t at, uint32_t n) noexcept nogil:
    """The link layer says that IP starts at `at`; so it does if a byte of it was captured."""
    if at < n and at < INFO_NO_IP:
        info.ip_offset = <uint16_t> at


cdef inline void set_ip_by_version(LinkInfo* info, const uint8_t* p, uint32_t at, uint32_t n) noexcept nogil:
    """The link layer does not say what starts at `at`: IP's first nibble, its version, does."""
    if at < n and (p[at] >> 4 == 4 or p[at] >> 4 == 6):
        set_ip(info, at, n)
