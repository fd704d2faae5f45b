"""`FlowPacket`, what a flow table needs of a packet: the key of its flow, and what is counted.

The hash of a key is the same for both directions. It is keyed with random numbers, so that no sender can
choose packets whose flows collide.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cimport slimcap.wire.icmp as icmp
cimport slimcap.wire.tcp as tcp
cimport slimcap.wire.transport as transport
from slimcap.abi.branch cimport rarely
from slimcap.abi.wide cimport fold
from slimcap.flow.flow_record cimport (
    BY_FIRST_PACKET, BY_ICMP_TYPE, BY_PORT, BY_SYN, BY_SYN_ACK, FlowRecord)

cdef enum:
    SECRET_WORDS = 4
    LAST_SYSTEM_PORT = 1023     # RFC 6335 section 6

cdef struct FlowPacket:
    uint64_t address[2][2]      # of source and destination: the bytes, as in a Header
    const uint8_t* l7           # the data of TCP, UDP, …, as in the header columns: in the batch
    uint32_t l7_len             # length of it, and
    uint32_t l7_captured        # how much of it was captured
    uint32_t tcp_seq
    uint32_t hash
    uint32_t tunnel_id
    uint64_t outer[2][2]        # addresses of the outermost IP header, if the packet is in a tunnel
    uint32_t flow               # its number, probably: it may have ended, or be another one
    uint32_t interface
    uint32_t ip_bytes
    uint16_t port[2]            # of source and destination
    uint16_t vlan_id
    uint16_t tcp_flags
    uint8_t protocol
    uint8_t ip_version          # 0: the packet belongs to no flow
    uint8_t icmp_type
    uint8_t icmp_code

cdef struct TunnelColumns:  # of a flow, if the tunnel is a part of the key; zeros without one
    uint64_t outer[2][2]    # addresses on the side of `src` and of `dst`
    uint32_t tunnel_id

cdef struct KeyRules:
    uint64_t secret[SECRET_WORDS]
    uint32_t interface_mask     # all bits if flows of two interfaces differ, else none
    uint16_t vlan_mask          # the same for VLANs
    bint has_tunnel             # flows in different tunnels differ


cdef inline uint64_t hash_of_endpoint(
        const uint64_t* secret, const uint64_t* address, uint32_t port) noexcept nogil:
    return fold(fold(address[0] ^ secret[0], address[1] ^ secret[1]) ^ port, secret[2])


cdef inline uint64_t hash_of_tunnel(const KeyRules* rules, const FlowPacket* packet) noexcept nogil:
    """Return a hash of the tunnel that a packet is in, the same for both directions."""
    cdef uint64_t sides = (
        hash_of_endpoint(&rules.secret[0], packet.outer[0], packet.tunnel_id)
        + hash_of_endpoint(&rules.secret[0], packet.outer[1], packet.tunnel_id))
    return fold(sides, rules.secret[3])


cdef inline uint32_t hash_of_key(const KeyRules* rules, const FlowPacket* packet) noexcept nogil:
    """Return the hash of a packet's key."""
    cdef uint64_t sides = (
        hash_of_endpoint(&rules.secret[0], packet.address[0], packet.port[0])
        + hash_of_endpoint(&rules.secret[0], packet.address[1], packet.port[1]))
    cdef uint64_t rest = (
        packet.protocol | <uint64_t> (packet.vlan_id & rules.vlan_mask) << 8
        | <uint64_t> (packet.interface & rules.interface_mask) << 32)
    if rarely(rules.has_tunnel):
        sides += hash_of_tunnel(rules, packet)
    return <uint32_t> (fold(sides ^ rest, rules.secret[3]) >> 32)


cdef inline uint32_t hash_of_flow(
        const KeyRules* rules, const FlowRecord* flow, const TunnelColumns* tunnel) noexcept nogil:
    """Return the hash of a flow's key; `tunnel` is read if that is a part of it."""
    cdef FlowPacket packet
    memcpy(packet.address, flow.address, sizeof(packet.address))
    memcpy(packet.port, flow.port, sizeof(packet.port))
    packet.protocol, packet.vlan_id, packet.interface = flow.protocol, flow.vlan_id, flow.interface
    if rules.has_tunnel:
        memcpy(packet.outer, tunnel.outer, sizeof(packet.outer))
        packet.tunnel_id = tunnel.tunnel_id
    return hash_of_key(rules, &packet)


cdef inline uint64_t differs(
        const FlowRecord* flow, uint32_t end, const FlowPacket* packet, uint32_t side) noexcept nogil:
    """Return 0 if an endpoint of a flow is that of a packet: its source (`side` 0) or destination (1)."""
    return (
        flow.address[end][0] ^ packet.address[side][0] | flow.address[end][1] ^ packet.address[side][1]
        | <uint64_t> (flow.port[end] ^ packet.port[side]))


cdef inline bint has_key(
        const FlowRecord* flow, const FlowPacket* packet, const KeyRules* rules,
        uint32_t* reverse) noexcept nogil:
    """Return True if a packet belongs to a flow; set `reverse` to 1 if it was sent by the flow's `dst`.

    There is no branch on the direction, which cannot be predicted.
    """
    reverse[0] = differs(flow, 0, packet, 0) != 0
    return (
        differs(flow, 0, packet, reverse[0]) | differs(flow, 1, packet, 1 - reverse[0])
        | <uint64_t> (flow.protocol ^ packet.protocol | flow.ip_version ^ packet.ip_version)
        | <uint64_t> ((flow.vlan_id ^ packet.vlan_id) & rules.vlan_mask)
        | <uint64_t> ((flow.interface ^ packet.interface) & rules.interface_mask)) == 0


cdef inline bint is_in_tunnel(
        const TunnelColumns* tunnel, const FlowPacket* packet, uint32_t reverse) noexcept nogil:
    """Return True if a packet is in the tunnel of a flow; `reverse` is that of `has_key`."""
    return (
        tunnel.outer[0][0] ^ packet.outer[reverse][0] | tunnel.outer[0][1] ^ packet.outer[reverse][1]
        | tunnel.outer[1][0] ^ packet.outer[1 - reverse][0]
        | tunnel.outer[1][1] ^ packet.outer[1 - reverse][1]
        | <uint64_t> (tunnel.tunnel_id ^ packet.tunnel_id)) == 0


cdef inline uint8_t find_initiator(const FlowPacket* packet, uint32_t* reverse) noexcept nogil:
    """Return how the initiator is found from a flow's first packet; set `reverse` to 1 if it is the receiver.
    """
    reverse[0] = False
    if packet.protocol == transport.TCP and packet.tcp_flags & tcp.SYN:
        reverse[0] = packet.tcp_flags & tcp.ACK != 0
        return BY_SYN_ACK if reverse[0] else BY_SYN
    if packet.protocol == icmp.ICMP or packet.protocol == icmp.ICMPV6:
        reverse[0] = icmp.is_reply(packet.protocol, packet.icmp_type)
        if reverse[0] or icmp.is_request(packet.protocol, packet.icmp_type):
            return BY_ICMP_TYPE
        return BY_FIRST_PACKET
    if (packet.port[0] > LAST_SYSTEM_PORT) != (packet.port[1] > LAST_SYSTEM_PORT):
        reverse[0] = packet.port[0] <= LAST_SYSTEM_PORT
        return BY_PORT
    return BY_FIRST_PACKET
