"""Ports of fragmented packets, which only the first fragment has; those of the last MAX_FRAGMENTED packets.

The fragments of a packet have the same addresses and identification, and in IPv4 the same protocol (RFC 791
section 3.2, RFC 8200 section 4.5). A keyed hash of 64 bits stands for these. Fragments are rare, so that a
search through all of them is fast enough.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from slimcap.abi.wide cimport fold
from slimcap.flow.flow_key cimport FlowPacket, KeyRules, hash_of_tunnel

cdef enum:
    MAX_FRAGMENTED = 512

cdef struct Fragmented:
    uint64_t hash
    uint16_t port[2]
    uint8_t protocol        # after the extension headers, which are in the first fragment

cdef struct Fragments:
    Fragmented packets[MAX_FRAGMENTED]
    uint64_t count          # of all that were ever remembered: the next one replaces the oldest


cdef inline uint64_t hash_of_datagram(
        const KeyRules* rules, const FlowPacket* packet, uint32_t ip_id) noexcept nogil:
    cdef const uint64_t* secret = &rules.secret[0]
    cdef uint64_t rest = (
        ip_id | <uint64_t> (packet.vlan_id & rules.vlan_mask) << 32
        | <uint64_t> (packet.protocol if packet.ip_version == 4 else 0) << 48)
    cdef uint64_t hash = fold(packet.address[0][0] ^ secret[0], packet.address[0][1] ^ secret[1])
    if rules.has_tunnel:
        rest += hash_of_tunnel(rules, packet)
    hash = fold(hash ^ packet.address[1][0] ^ secret[2], packet.address[1][1] ^ secret[3])
    return fold(
        fold(hash ^ rest, secret[2]) ^ (packet.interface & rules.interface_mask), secret[3])


cdef inline void add_first_fragment(
        Fragments* fragments, const KeyRules* rules, const FlowPacket* packet, uint32_t ip_id) noexcept nogil:
    """Remember the ports of a first fragment."""
    cdef Fragmented* new = &fragments.packets[fragments.count % MAX_FRAGMENTED]
    new.hash = hash_of_datagram(rules, packet, ip_id)
    new.port[0], new.port[1], new.protocol = packet.port[0], packet.port[1], packet.protocol
    fragments.count += 1


cdef inline void fill_later_fragment(
        const Fragments* fragments, const KeyRules* rules, FlowPacket* packet, uint32_t ip_id) noexcept nogil:
    """Fill in the ports of a later fragment, if its first one is remembered; the last of several counts."""
    cdef uint64_t hash = hash_of_datagram(rules, packet, ip_id), index = fragments.count
    cdef uint64_t oldest = index - min(index, <uint64_t> MAX_FRAGMENTED)
    cdef const Fragmented* found
    while index > oldest:
        index -= 1
        found = &fragments.packets[index % MAX_FRAGMENTED]
        if found.hash == hash:
            packet.port[0], packet.port[1], packet.protocol = found.port[0], found.port[1], found.protocol
            return
