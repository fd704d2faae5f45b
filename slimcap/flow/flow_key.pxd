"""`FlowPacket`, what a flow table needs of a packet: the key of its flow, and what is counted.

The hash of a key is the same for both directions. It is keyed with random numbers, so that no sender can
choose packets whose flows collide.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cimport slimcap.wire.icmp as icmp
cimport slimcap.wire.transport as transport
from slimcap.abi.hashing cimport fold
from slimcap.flow.flow_record cimport (
    BY_FIRST_PACKET, BY_ICMP_TYPE, BY_PORT, BY_SYN, BY_SYN_ACK, FlowRecord)

cdef enum:
    SECRET_WORDS = 4
    SYN = 2
    ACK = 16
    LAST_SYSTEM_PORT = 1023     # RFC 6335 section 6

cdef struct FlowPacket:
    uint64_t src[2]             # the bytes of an address, as in a Header
    uint64_t dst[2]
    uint32_t hash
    uint32_t interface
    uint32_t ip_bytes
    uint16_t src_port
    uint16_t dst_port
    uint16_t vlan_id
    uint16_t tcp_flags
    uint8_t protocol
    uint8_t ip_version          # 0: the packet belongs to no flow
    uint8_t icmp_type
    uint8_t icmp_code

cdef struct KeyRules:
    uint64_t secret[SECRET_WORDS]
    uint32_t interface_mask     # all bits if flows of two interfaces differ, else none
    uint16_t vlan_mask          # the same for VLANs


cdef inline uint64_t hash_of_endpoint(
        const uint64_t* secret, const uint64_t* address, uint32_t port) noexcept nogil:
    return fold(fold(address[0] ^ secret[0], address[1] ^ secret[1]) ^ port, secret[2])


cdef inline uint32_t hash_of_key(const KeyRules* rules, const FlowPacket* packet) noexcept nogil:
    """Return the hash of a packet's key."""
    cdef uint64_t sides = (
        hash_of_endpoint(&rules.secret[0], packet.src, packet.src_port)
        + hash_of_endpoint(&rules.secret[0], packet.dst, packet.dst_port))
    cdef uint64_t rest = (
        packet.protocol | <uint64_t> (packet.vlan_id & rules.vlan_mask) << 8
        | <uint64_t> (packet.interface & rules.interface_mask) << 32)
    return <uint32_t> (fold(sides ^ rest, rules.secret[3]) >> 32)


cdef inline uint32_t hash_of_flow(const KeyRules* rules, const FlowRecord* flow) noexcept nogil:
    """Return the hash of a flow's key."""
    cdef FlowPacket packet
    packet.src[0], packet.src[1], packet.src_port = flow.src[0], flow.src[1], flow.src_port
    packet.dst[0], packet.dst[1], packet.dst_port = flow.dst[0], flow.dst[1], flow.dst_port
    packet.protocol, packet.vlan_id, packet.interface = flow.protocol, flow.vlan_id, flow.interface
    return hash_of_key(rules, &packet)


cdef inline bint has_key(
        const FlowRecord* flow, const FlowPacket* packet, const KeyRules* rules,
        bint* reverse) noexcept nogil:
    """Return True if a packet belongs to a flow; set `reverse` if it was sent by the flow's `dst`.

    There are no branches between the fields: which direction a packet has cannot be predicted.
    """
    cdef uint64_t same = (
        flow.src[0] ^ packet.src[0] | flow.src[1] ^ packet.src[1] | flow.dst[0] ^ packet.dst[0]
        | flow.dst[1] ^ packet.dst[1] | <uint64_t> (flow.src_port ^ packet.src_port)
        | <uint64_t> (flow.dst_port ^ packet.dst_port))
    cdef uint64_t swapped = (
        flow.src[0] ^ packet.dst[0] | flow.src[1] ^ packet.dst[1] | flow.dst[0] ^ packet.src[0]
        | flow.dst[1] ^ packet.src[1] | <uint64_t> (flow.src_port ^ packet.dst_port)
        | <uint64_t> (flow.dst_port ^ packet.src_port))
    cdef uint32_t rest = (
        <uint32_t> (flow.protocol ^ packet.protocol)
        | <uint32_t> ((flow.vlan_id ^ packet.vlan_id) & rules.vlan_mask)
        | (flow.interface ^ packet.interface) & rules.interface_mask)
    reverse[0] = same != 0
    return (rest == 0) & ((same == 0) | (swapped == 0))


cdef inline bint is_icmp_request(const FlowPacket* packet) noexcept nogil:
    """Return True for the types that are answered by a reply: echo, timestamp, information, address mask."""
    cdef uint32_t kind = packet.icmp_type
    if packet.protocol == icmp.ICMP:
        return kind == 8 or kind == 13 or kind == 15 or kind == 17
    return kind == 128 or kind == 139   # echo; node information, RFC 4620


cdef inline bint is_icmp_reply(const FlowPacket* packet) noexcept nogil:
    """Return True for the types that answer a request."""
    cdef uint32_t kind = packet.icmp_type
    if packet.protocol == icmp.ICMP:
        return kind == 0 or kind == 14 or kind == 16 or kind == 18
    return kind == 129 or kind == 140


cdef inline uint8_t find_initiator(const FlowPacket* packet, bint* reverse) noexcept nogil:
    """Return how the initiator is found from a flow's first packet; set `reverse` if it is the receiver."""
    reverse[0] = False
    if packet.protocol == transport.TCP and packet.tcp_flags & SYN:
        reverse[0] = packet.tcp_flags & ACK != 0
        return BY_SYN_ACK if reverse[0] else BY_SYN
    if packet.protocol == icmp.ICMP or packet.protocol == icmp.ICMPV6:
        reverse[0] = is_icmp_reply(packet)
        return BY_ICMP_TYPE if reverse[0] or is_icmp_request(packet) else BY_FIRST_PACKET
    if (packet.src_port > LAST_SYSTEM_PORT) != (packet.dst_port > LAST_SYSTEM_PORT):
        reverse[0] = packet.src_port <= LAST_SYSTEM_PORT
        return BY_PORT
    return BY_FIRST_PACKET
