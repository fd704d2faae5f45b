"""Linux cooked captures, as `tcpdump -i any` writes them (LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2).

    SLL  (16): packet type (2) | ARPHRD (2) | address length (2) | address (8) | protocol (2)
    SLL2 (20): protocol (2) | 0 (2) | ifindex (4) | ARPHRD (2) | packet type (1) | address length (1)
               | address (8)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16
from slimcap.wire.walk_ethertype cimport LLC_MAX_LENGTH, walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    SLL_LEN = 16
    SLL_TYPE = 0
    SLL_ARPHRD = 2
    SLL_ADDRESS_LEN = 4
    SLL_ADDRESS = 6
    SLL_PROTOCOL = 14
    SLL2_LEN = 20
    SLL2_PROTOCOL = 0
    SLL2_ARPHRD = 8
    SLL2_TYPE = 10
    SLL2_ADDRESS_LEN = 11
    SLL2_ADDRESS = 12
    MAC_LEN = 6
    PROTOCOL_802_2 = 0x0004  # LLC; other numbers up to LLC_MAX_LENGTH are the kernel's (linux/if_ether.h)
    PACKET_OUTGOING = 4
    # For these hardware types the protocol field is not an EtherType.
    ARPHRD_FRAD = 770
    ARPHRD_IEEE80211_PRISM = 802
    ARPHRD_IEEE80211_RADIOTAP = 803
    ARPHRD_NETLINK = 824


cdef inline void walk_cooked(
        const uint8_t* p, uint32_t n, uint32_t header, uint32_t pkt_type, uint32_t arphrd, uint32_t protocol,
        LinkInfo* info) noexcept nogil:
    if pkt_type <= PACKET_OUTGOING:
        info.pkt_type = <uint8_t> pkt_type
    if (arphrd == ARPHRD_NETLINK or arphrd == ARPHRD_FRAD
            or arphrd == ARPHRD_IEEE80211_PRISM or arphrd == ARPHRD_IEEE80211_RADIOTAP):
        return
    if protocol > LLC_MAX_LENGTH or protocol == PROTOCOL_802_2:
        walk_ethertype(p, n, header, protocol, info)


cdef inline void walk_sll(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find packet type and IP header of an SLL packet."""
    if n >= SLL_LEN:
        walk_cooked(p, n, SLL_LEN, be16(p + SLL_TYPE), be16(p + SLL_ARPHRD), be16(p + SLL_PROTOCOL), info)


cdef inline void walk_sll2(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find packet type and IP header of an SLL2 packet."""
    if n >= SLL2_LEN:
        walk_cooked(p, n, SLL2_LEN, p[SLL2_TYPE], be16(p + SLL2_ARPHRD), be16(p + SLL2_PROTOCOL), info)


cdef inline const uint8_t* sll_source(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the sender's MAC address in an SLL packet, or NULL if there is none."""
    return p + SLL_ADDRESS if n >= SLL_LEN and be16(p + SLL_ADDRESS_LEN) == MAC_LEN else NULL


cdef inline const uint8_t* sll2_source(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the sender's MAC address in an SLL2 packet, or NULL if there is none."""
    return p + SLL2_ADDRESS if n >= SLL2_LEN and p[SLL2_ADDRESS_LEN] == MAC_LEN else NULL
