"""Link types (the registry of draft-ietf-opsawg-pcaplinktype) and the walk for each of them."""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.avs as avs
cimport slimcap.wire.chdlc as chdlc
cimport slimcap.wire.enc as enc
cimport slimcap.wire.ethernet as ethernet
cimport slimcap.wire.frelay as frelay
cimport slimcap.wire.ieee80211 as ieee80211
cimport slimcap.wire.ipnet as ipnet
cimport slimcap.wire.mpls as mpls
cimport slimcap.wire.nflog as nflog
cimport slimcap.wire.null as null
cimport slimcap.wire.pflog as pflog
cimport slimcap.wire.pktap as pktap
cimport slimcap.wire.ppi as ppi
cimport slimcap.wire.ppp as ppp
cimport slimcap.wire.pppoe as pppoe
cimport slimcap.wire.prism as prism
cimport slimcap.wire.radiotap as radiotap
cimport slimcap.wire.sll as sll
cimport slimcap.wire.sll2 as sll2
from slimcap.wire.walk_ethertype cimport walk_frame
from slimcap.wire.walk_result cimport INFO_NO_IP, LinkInfo, clear, set_ip, set_ip_by_version, set_type

cdef enum:
    DIRECTION_LEN = 1   # a byte before the frame: 0 if it was received, else sent

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
    LINKTYPE_IEEE802_11 = 105
    LINKTYPE_FRELAY = 107
    LINKTYPE_LOOP = 108
    LINKTYPE_ENC = 109
    LINKTYPE_LINUX_SLL = 113
    LINKTYPE_PFLOG = 117
    LINKTYPE_IEEE802_11_PRISM = 119
    LINKTYPE_IEEE802_11_RADIOTAP = 127
    LINKTYPE_USER0 = 147
    LINKTYPE_IEEE802_11_AVS = 163
    LINKTYPE_PPP_PPPD = 166
    LINKTYPE_PPI = 192
    LINKTYPE_PPP_WITH_DIR = 204
    LINKTYPE_C_HDLC_WITH_DIR = 205
    LINKTYPE_FRELAY_WITH_DIR = 206
    LINKTYPE_MPLS = 219
    LINKTYPE_IPNET = 226
    LINKTYPE_IPV4 = 228
    LINKTYPE_IPV6 = 229
    LINKTYPE_DBUS = 231
    LINKTYPE_NFLOG = 239
    LINKTYPE_PKTAP = 258
    LINKTYPE_LINUX_SLL2 = 276


cdef inline void walk_wireless(
        uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk 802.11, after one of the headers that drivers add, or none."""
    if linktype == LINKTYPE_IEEE802_11_RADIOTAP:
        radiotap.walk(p, n, info)
    elif linktype == LINKTYPE_IEEE802_11_PRISM:
        prism.walk(p, n, info)
    elif linktype == LINKTYPE_IEEE802_11_AVS:
        avs.walk(p, n, info)
    else:
        ieee80211.walk(p, n, 0, False, info)


cdef inline void walk_hdlc(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header of the PPP or Cisco HDLC frame that starts at `offset`."""
    offset = min(offset, n)
    if chdlc.check(p + offset, n - offset):
        chdlc.walk(p, n, offset, info)
    else:
        ppp.walk(p, n, offset, info)


cdef inline void walk_serial(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk frames of serial lines, with or without a byte for the direction."""
    if linktype == LINKTYPE_PPP:
        ppp.walk(p, n, 0, info)
    elif linktype == LINKTYPE_PPP_HDLC or linktype == LINKTYPE_PPP_WITH_DIR:
        walk_hdlc(p, n, DIRECTION_LEN if linktype == LINKTYPE_PPP_WITH_DIR else 0, info)
    elif linktype == LINKTYPE_C_HDLC:
        chdlc.walk(p, n, 0, info)
    elif linktype == LINKTYPE_FRELAY:
        frelay.walk(p, n, 0, info)
    elif n >= DIRECTION_LEN and linktype == LINKTYPE_C_HDLC_WITH_DIR:
        chdlc.walk(p, n, DIRECTION_LEN, info)
    elif n >= DIRECTION_LEN and linktype == LINKTYPE_FRELAY_WITH_DIR:
        frelay.walk(p, n, DIRECTION_LEN, info)
    elif linktype == LINKTYPE_PPP_PPPD:
        # The direction is in place of the address byte, so that the protocol is where framing has it.
        ppp.walk(p, n, min(n, <uint32_t> ppp.FRAMING_LEN), info)


cdef inline void walk_logged(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk the headers that packet filters and operating systems put before IP."""
    if linktype == LINKTYPE_NFLOG:
        nflog.walk(p, n, info)
    elif linktype == LINKTYPE_PFLOG:
        pflog.walk(p, n, info)
    elif linktype == LINKTYPE_ENC:
        enc.walk(p, n, info)
    elif linktype == LINKTYPE_IPNET:
        ipnet.walk(p, n, info)
    elif linktype == LINKTYPE_MPLS:
        mpls.walk(p, n, 0, info)


cdef inline void walk_plain(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk a link layer other than Ethernet that does not contain another link layer."""
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
    elif linktype == LINKTYPE_PPP_ETHER:
        pppoe.walk(p, n, 0, info)
    elif (linktype == LINKTYPE_IEEE802_11 or linktype == LINKTYPE_IEEE802_11_RADIOTAP
            or linktype == LINKTYPE_IEEE802_11_PRISM or linktype == LINKTYPE_IEEE802_11_AVS):
        walk_wireless(linktype, p, n, info)
    else:
        walk_serial(linktype, p, n, info)
        walk_logged(linktype, p, n, info)


cdef inline void walk_enclosed(
        uint32_t linktype, const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Walk the packet of a link type that starts at `offset`, which is at most `n`."""
    cdef uint32_t ip_offset
    if linktype == LINKTYPE_ETHERNET:
        walk_frame(p + offset, n - offset, info)
    else:
        walk_plain(linktype, p + offset, n - offset, info)
    info.type_offset += offset
    if info.ip_offset != INFO_NO_IP:
        ip_offset = info.ip_offset + offset
        info.ip_offset = INFO_NO_IP
        set_ip(info, ip_offset, n)


cdef inline void walk_other(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Walk a link layer other than Ethernet. An unknown link type leaves `info` unchanged.

    A PPI or PKTAP header is entered once: after another one, nothing is known of the packet.
    """
    cdef uint32_t header
    if linktype == LINKTYPE_PPI:
        header = ppi.check(p, n)
        if header:
            walk_enclosed(ppi.link_type(p), p, n, header, info)
    elif linktype == LINKTYPE_PKTAP:
        header = pktap.check(p, n)
        if header:
            walk_enclosed(pktap.link_type(p), p, n, header, info)
    else:
        walk_plain(linktype, p, n, info)


cdef inline void walk_link(uint32_t linktype, const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Parse the link-layer header of the packet `p[:n]` into `info`. Reads no byte past `n`."""
    # Only a copy is passed to functions that are not inlined, so that `info` can stay in registers.
    cdef LinkInfo found
    clear(info)
    if linktype == LINKTYPE_ETHERNET and ethernet.is_plain_ip(p, n):
        info.ip_offset = ethernet.LEN
        set_type(info, ethernet.ethertype(p), ethernet.LEN)
        return
    clear(&found)
    if linktype == LINKTYPE_ETHERNET:
        walk_frame(p, n, &found)
    else:
        walk_other(linktype, p, n, &found)
    info[0] = found


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
