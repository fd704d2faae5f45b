"""The walk from a header of a Linux cooked capture to the IP header, the same for SLL and SLL2."""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.llc as llc
from slimcap.abi.linux cimport PACKET_OUTGOING
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    PROTOCOL_802_2 = 0x0004  # LLC; other numbers up to llc.MAX_LENGTH are the kernel's (linux/if_ether.h)
    # For these hardware types the protocol field is not an EtherType.
    ARPHRD_FRAD = 770
    ARPHRD_IEEE80211_PRISM = 802
    ARPHRD_IEEE80211_RADIOTAP = 803
    ARPHRD_NETLINK = 824


cdef inline void walk_cooked(
        const uint8_t* p, uint32_t n, uint32_t header, uint32_t pkt_type, uint32_t arphrd, uint32_t protocol,
        LinkInfo* info) noexcept nogil:
    """Set the packet type, and find the IP header of a packet whose cooked header has `header` bytes."""
    if pkt_type <= PACKET_OUTGOING:
        info.pkt_type = <uint8_t> pkt_type
    if (arphrd == ARPHRD_NETLINK or arphrd == ARPHRD_FRAD
            or arphrd == ARPHRD_IEEE80211_PRISM or arphrd == ARPHRD_IEEE80211_RADIOTAP):
        return
    if protocol > llc.MAX_LENGTH or protocol == PROTOCOL_802_2:
        walk_ethertype(p, n, header, protocol, info)
