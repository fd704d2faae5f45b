"""Link types (the registry of draft-ietf-opsawg-pcaplinktype) and the walk for each of them."""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.chdlc as chdlc
cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.null as null
cimport slimcap.wire.ppp as ppp
cimport slimcap.wire.pppoe as pppoe
cimport slimcap.wire.sll as sll
cimport slimcap.wire.sll2 as sll2
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


cdef inline void walk_other(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk a link layer other than Ethernet. An unknown link type leaves `info` unchanged."""
    if linktype == LINKTYPE_LINUX_SLL:
        sll.walk(p, n, info)
    elif linktype == LINKTYPE_LINUX_SLL2:
        sll2.walk(p, n, info)
    elif linktype == LINKTYPE_RAW or linktype == LINKTYPE_RAW_BSD or linktype == LINKTYPE_RAW_OPENBSD:
        set_ip_by_version(info, p, 0, n)
    elif linktype == LINKTYPE_IPV4 or linktype == LINKTYPE_IPV6:
        set_ip(info, 0, n)
    elif linktype == LINKTYPE_NULL or linktype == LINKTYPE_LOOP:
        null.walk(p, n, info)
    elif linktype == LINKTYPE_PPP:
        ppp.walk(p, n, 0, info)
    elif linktype == LINKTYPE_PPP_HDLC:
        if chdlc.check(p, n):
            chdlc.walk(p, n, info)
        else:
            ppp.walk(p, n, 0, info)
    elif linktype == LINKTYPE_PPP_ETHER:
        pppoe.walk(p, n, 0, info)
    elif linktype == LINKTYPE_C_HDLC:
        chdlc.walk(p, n, info)


cdef inline void walk_link(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Parse the link-layer header of the packet `p[:n]` into `info`. Reads no byte past `n`."""
    clear(info)
    if linktype == LINKTYPE_ETHERNET:
        ethernet.walk(p, n, info)
    else:
        walk_other(linktype, p, n, info)


cdef inline const uint8_t* source_mac(uint32_t linktype, const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the sender's MAC address, or NULL if the link layer has none or it is truncated."""
    if linktype == LINKTYPE_ETHERNET:
        return ethernet.source(p, n)
    if linktype == LINKTYPE_LINUX_SLL:
        return sll.source(p, n)
    if linktype == LINKTYPE_LINUX_SLL2:
        return sll2.source(p, n)
    return NULL


cdef inline const uint8_t* destination_mac(uint32_t linktype, const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the receiver's MAC address, or NULL if the link layer has none or it is truncated."""
    return ethernet.destination(p, n) if linktype == LINKTYPE_ETHERNET else NULL
