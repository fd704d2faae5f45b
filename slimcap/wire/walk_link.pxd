"""Link types (the registry of draft-ietf-opsawg-pcaplinktype) and the walk for each of them."""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16
from slimcap.wire.ethernet cimport ETHERNET_DST, ETHERNET_SRC, ETHERNET_TYPE, walk_ethernet
from slimcap.wire.null cimport walk_null
from slimcap.wire.ppp cimport CHDLC_LEN, is_chdlc, walk_ppp, walk_pppoe
from slimcap.wire.sll cimport sll2_source, sll_source, walk_sll, walk_sll2
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo, clear, set_ip, set_ip_by_version

cdef enum LinkType:
    # slimcap.packet.enums.LinkType in C; headers/columns.pyx compares them at import.
    LINKTYPE_NULL = 0
    LINKTYPE_ETHERNET = 1
    LINKTYPE_PPP = 9
    LINKTYPE_RAW_BSD = 12
    LINKTYPE_RAW_OPENBSD = 14
    LINKTYPE_PPP_HDLC = 50
    LINKTYPE_PPP_ETHER = 51
    LINKTYPE_RAW = 101
    LINKTYPE_C_HDLC = 104
    LINKTYPE_LOOP = 108
    LINKTYPE_LINUX_SLL = 113
    LINKTYPE_USER0 = 147
    LINKTYPE_IPV4 = 228
    LINKTYPE_IPV6 = 229
    LINKTYPE_DBUS = 231
    LINKTYPE_LINUX_SLL2 = 276


cdef inline void walk_chdlc(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    if is_chdlc(p, n):
        walk_ethertype(p, n, CHDLC_LEN, be16(p + 2), info)


cdef inline void walk_other(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk a link layer other than Ethernet. An unknown link type leaves `info` unchanged."""
    if linktype == LINKTYPE_LINUX_SLL:
        walk_sll(p, n, info)
    elif linktype == LINKTYPE_LINUX_SLL2:
        walk_sll2(p, n, info)
    elif linktype == LINKTYPE_RAW or linktype == LINKTYPE_RAW_BSD or linktype == LINKTYPE_RAW_OPENBSD:
        set_ip_by_version(info, p, 0, n)
    elif linktype == LINKTYPE_IPV4 or linktype == LINKTYPE_IPV6:
        set_ip(info, 0, n)
    elif linktype == LINKTYPE_NULL or linktype == LINKTYPE_LOOP:
        walk_null(p, n, info)
    elif linktype == LINKTYPE_PPP:
        walk_ppp(p, n, 0, info)
    elif linktype == LINKTYPE_PPP_HDLC:
        if is_chdlc(p, n):
            walk_chdlc(p, n, info)
        else:
            walk_ppp(p, n, 0, info)
    elif linktype == LINKTYPE_PPP_ETHER:
        walk_pppoe(p, n, 0, info)
    elif linktype == LINKTYPE_C_HDLC:
        walk_chdlc(p, n, info)


cdef inline void walk_link(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Parse the link-layer header of the packet `p[:n]` into `info`. Reads no byte past `n`."""
    clear(info)
    if linktype == LINKTYPE_ETHERNET:
        walk_ethernet(p, n, info)
    else:
        walk_other(linktype, p, n, info)


cdef inline const uint8_t* source_mac(uint32_t linktype, const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the sender's MAC address, or NULL if the link layer has none or it is truncated."""
    if linktype == LINKTYPE_ETHERNET:
        return p + ETHERNET_SRC if n >= ETHERNET_TYPE else NULL
    if linktype == LINKTYPE_LINUX_SLL:
        return sll_source(p, n)
    if linktype == LINKTYPE_LINUX_SLL2:
        return sll2_source(p, n)
    return NULL


cdef inline const uint8_t* destination_mac(uint32_t linktype, const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the receiver's MAC address, or NULL if the link layer has none or it is truncated."""
    return p + ETHERNET_DST if linktype == LINKTYPE_ETHERNET and n >= ETHERNET_SRC else NULL
