"""Flow keys: hashes of the 5-tuple, and Community ID version 1.

The hashed bytes, in network byte order:

    flow_hash       src (16) | dst (16) | src_port (2) | dst_port (2) | protocol (1)         XXH64, seed 0
    community_id    seed 0 (2) | src (4 or 16) | dst | protocol (1) | 0 (1) | port (2) | port (2)     SHA-1

For flow_hash_symmetric and community_id the smaller endpoint, compared by address and then by port, comes
first, so that both directions have the same value. Community ID (github.com/corelight/community-id-spec)
uses the type of an ICMP message and the type of its answer as ports; if a message has no answer, its type and
code, in this order. For protocols whose ports it does not define, the ports are omitted.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cimport slimcap.wire.icmp as icmp
cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.transport as transport
from slimcap.abi.bytes cimport put_be16
from slimcap.packet.headers.row cimport PART_COMMUNITY_ID, PART_HASH, Header, HeaderRow
from slimcap.packet.headers.sha1 cimport SHA1_LEN, sha1
from slimcap.packet.headers.xxh64 cimport xxh64

cdef enum:
    KEY_LEN = 16 + 16 + 2 + 2 + 1
    PORTS_LEN = 4   # bytes of the upper layer needed for its ports, or its ICMP type and code
    NO_REPLY = -1

cdef struct Flow:
    const uint8_t* src
    const uint8_t* dst
    uint16_t src_port
    uint16_t dst_port
    uint8_t protocol


cdef inline Flow flow_of(const Header* header) noexcept nogil:
    cdef Flow flow
    flow.src, flow.dst = <const uint8_t*> header.src, <const uint8_t*> header.dst
    flow.src_port, flow.dst_port = header.src_port, header.dst_port
    flow.protocol = header.protocol
    return flow


cdef inline Flow ordered(Flow flow) noexcept nogil:
    """Return the flow with its smaller endpoint first."""
    cdef int order = memcmp(flow.src, flow.dst, 16)
    if order > 0 or (order == 0 and flow.src_port > flow.dst_port):
        flow.src, flow.dst = flow.dst, flow.src
        flow.src_port, flow.dst_port = flow.dst_port, flow.src_port
    return flow


cdef inline void put_key(Flow flow, uint8_t* out) noexcept nogil:
    """Write the bytes that a flow hash is computed from, KEY_LEN of them."""
    memcpy(out, flow.src, 16)
    memcpy(out + 16, flow.dst, 16)
    put_be16(out + 32, flow.src_port)
    put_be16(out + 34, flow.dst_port)
    out[36] = flow.protocol


cdef inline uint64_t flow_hash(Flow flow) noexcept nogil:
    cdef uint8_t key[KEY_LEN]
    put_key(flow, key)
    return xxh64(key, KEY_LEN)


cdef inline int icmp_reply(uint32_t kind) noexcept nogil:
    """Return the ICMP type that answers this type, or that it answers; NO_REPLY if none does (RFC 792)."""
    if kind == 0 or kind == 8:          # echo
        return 8 - kind
    if kind == 9 or kind == 10:         # router advertisement, solicitation (RFC 1256)
        return 19 - kind
    if 13 <= kind <= 18:                # timestamp, information, address mask (RFC 950)
        return ((kind - 1) ^ 1) + 1
    return NO_REPLY


cdef inline int icmpv6_reply(uint32_t kind) noexcept nogil:
    """Return the same as `icmp_reply`, for ICMPv6.

    Echo (RFC 4443), multicast listeners (RFC 2710), routers and neighbours (RFC 4861), node information
    (RFC 4620), home agents (RFC 6275).
    """
    if kind == 128 or kind == 129 or kind == 130 or kind == 131 or kind == 144 or kind == 145:
        return kind ^ 1
    if 133 <= kind <= 136 or kind == 139 or kind == 140:
        return ((kind - 1) ^ 1) + 1
    return NO_REPLY


cdef inline Flow community_flow(const Header* header) noexcept nogil:
    """Return the flow with the ports that Community ID uses, and in its order."""
    cdef Flow flow = flow_of(header)
    cdef int reply
    if flow.protocol == icmp.ICMP or flow.protocol == icmp.ICMPV6:
        reply = (icmp_reply(header.icmp_type) if flow.protocol == icmp.ICMP
                 else icmpv6_reply(header.icmp_type))
        flow.src_port = header.icmp_type
        flow.dst_port = header.icmp_code if reply == NO_REPLY else <uint16_t> reply
        return flow if reply == NO_REPLY else ordered(flow)
    if not community_ports(flow.protocol):
        flow.src_port = flow.dst_port = 0
    return ordered(flow)


cdef inline bint community_ports(uint32_t protocol) noexcept nogil:
    return (protocol == transport.TCP or protocol == transport.UDP or protocol == transport.SCTP
            or protocol == icmp.ICMP or protocol == icmp.ICMPV6)


cdef inline uint32_t community_message(const Header* header, uint8_t* message) noexcept nogil:
    """Write the bytes that Community ID hashes; return their length."""
    cdef Flow flow = community_flow(header)
    cdef uint32_t skip = ipv4.MAPPED_OFFSET if header.ip_version == 4 else 0
    cdef uint32_t offset = 2, size = 16 - skip
    put_be16(message, 0)
    memcpy(message + offset, flow.src + skip, size)
    memcpy(message + offset + size, flow.dst + skip, size)
    offset += 2 * size
    message[offset] = flow.protocol
    message[offset + 1] = 0
    offset += 2
    if community_ports(flow.protocol):
        put_be16(message + offset, flow.src_port)
        put_be16(message + offset + 2, flow.dst_port)
        offset += 4
    return offset


cdef inline void base64(const uint8_t* p, uint32_t n, uint8_t* out) noexcept nogil:
    """Write `p[:n]` in base64 with padding (RFC 4648 section 4)."""
    cdef const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cdef uint32_t offset = 0, bits, available
    while offset < n:
        available = min(n - offset, 3)
        bits = <uint32_t> p[offset] << 16
        bits |= <uint32_t> p[offset + 1] << 8 if available > 1 else 0
        bits |= p[offset + 2] if available > 2 else 0
        out[0] = digits[bits >> 18]
        out[1] = digits[bits >> 12 & 63]
        out[2] = digits[bits >> 6 & 63] if available > 1 else 61  # =
        out[3] = digits[bits & 63] if available > 2 else 61
        offset += 3
        out += 4


cdef inline void put_community_id(const Header* header, uint8_t* out) noexcept nogil:
    """Write the Community ID: `1:` and the digest in base64, 30 characters."""
    cdef uint8_t message[2 + 32 + 2 + 4]
    cdef uint8_t digest[SHA1_LEN]
    sha1(message, community_message(header, message), digest)
    out[0], out[1] = 49, 58
    base64(digest, SHA1_LEN, out + 2)


cdef inline void fill_keys(HeaderRow* row, int64_t upper_len, uint32_t parts) noexcept nogil:
    """Fill in the flow keys of a packet.

    `upper_len` is the number of captured bytes of the upper layer, 0 in a fragment other than the first, and
    negative if its protocol is not known. A Community ID is written only if the ports were captured, for a
    protocol that has ports.
    """
    cdef Flow flow
    if parts & PART_HASH:
        flow = flow_of(&row.header)
        row.keys.flow_hash = flow_hash(flow)
        row.keys.flow_hash_symmetric = flow_hash(ordered(flow))
    if parts & PART_COMMUNITY_ID and upper_len >= (PORTS_LEN if community_ports(row.header.protocol) else 0):
        put_community_id(&row.header, row.keys.community_id)
