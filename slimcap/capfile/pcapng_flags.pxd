"""Flags of packets in pcapng (epb_flags, draft-ietf-opsawg-pcapng, section 4.3.1) and packet types.

    bit 0, 1   direction: 1 inbound, 2 outbound
    bit 2–4    reception: 1 unicast, 2 multicast, 3 broadcast, 4 promiscuous
    bit 5–8    length of the FCS; 16–31: errors
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.sll as sll
cimport slimcap.wire.sll2 as sll2
from slimcap.abi.linux cimport (
    PACKET_BROADCAST,
    PACKET_HOST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    PACKET_OUTGOING,
)
from slimcap.packet.record cimport Record, set_pkt_type
from slimcap.wire.walk_link cimport LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2
from slimcap.wire.walk_result cimport INFO_UNKNOWN_TYPE

cdef enum:
    INBOUND = 1
    OUTBOUND = 2
    UNICAST = 1 << 2
    MULTICAST = 2 << 2
    BROADCAST = 3 << 2
    PROMISCUOUS = 4 << 2
    DIRECTION = 3
    RECEPTION = 7 << 2


cdef inline void apply_flags(Record* row, uint32_t flags) noexcept nogil:
    """Set the packet type from flags; keep it if they have none."""
    cdef uint32_t reception = flags & RECEPTION
    if flags & DIRECTION == OUTBOUND:
        set_pkt_type(row, PACKET_OUTGOING)
    elif reception == UNICAST:
        set_pkt_type(row, PACKET_HOST)
    elif reception == MULTICAST:
        set_pkt_type(row, PACKET_MULTICAST)
    elif reception == BROADCAST:
        set_pkt_type(row, PACKET_BROADCAST)
    elif reception == PROMISCUOUS:
        set_pkt_type(row, PACKET_OTHERHOST)
    elif flags & DIRECTION == INBOUND:
        set_pkt_type(row, PACKET_HOST)


cdef inline uint32_t flags_of(
        uint8_t pkt_type, uint32_t link_type, const uint8_t* payload, uint32_t cap_len) noexcept nogil:
    """Return the flags of a packet; 0 if its type is not known or equals that in its link-layer header."""
    if pkt_type == INFO_UNKNOWN_TYPE:  # as in most files
        return 0
    if link_type == LINKTYPE_LINUX_SLL and sll.check(payload, cap_len):
        if sll.pkt_type(payload) == pkt_type:
            return 0
    elif link_type == LINKTYPE_LINUX_SLL2 and sll2.check(payload, cap_len):
        if sll2.pkt_type(payload) == pkt_type:
            return 0
    if pkt_type == PACKET_HOST:
        return INBOUND | UNICAST
    if pkt_type == PACKET_MULTICAST:
        return INBOUND | MULTICAST
    if pkt_type == PACKET_BROADCAST:
        return INBOUND | BROADCAST
    if pkt_type == PACKET_OTHERHOST:
        return INBOUND | PROMISCUOUS
    return OUTBOUND if pkt_type == PACKET_OUTGOING else 0
