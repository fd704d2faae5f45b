"""Community ID version 1 (github.com/corelight/community-id-spec) with seed 0: SHA-1 of a flow, in base64.

    seed (2) | src (4 or 16) | dst | protocol (1) | 0 (1) | port (2) | port (2)

The smaller endpoint, compared by address and then by port, comes first, so that both directions have the same
ID. The type of an ICMP message and the type of its answer are its ports; if a message has no answer, its type
and code, in this order. For protocols whose ports are not defined, the ports are omitted.

Many packets have the same few flows, so that a cache keeps the IDs of messages that were hashed before.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcmp, memcpy

cimport slimcap.wire.icmp as icmp
cimport slimcap.wire.transport as transport
from slimcap.abi.bytes cimport load64, put_be16, put_be32, put_be64
from slimcap.abi.wide cimport prime
from slimcap.packet.headers.flow_hash cimport Flow, order, set_flow
from slimcap.packet.headers.row cimport Header, HeaderRow
from slimcap.packet.headers.sha1 cimport SHA1_LEN, sha1

cdef enum:
    PORTS_LEN = 4   # bytes of the upper layer needed for its ports, or its ICMP type and code
    COMMUNITY_ID_LEN = 2 + 28
    MESSAGE_LEN = 2 + 32 + 2 + 4
    BLOCK_WORDS = 8  # of the block of SHA-1
    CACHE_BITS = 8      # 18 KiB, which stay in the L1 cache

cdef struct CommunityEntry:
    uint8_t message[MESSAGE_LEN]    # 0 after its end
    uint8_t community_id[30]
    uint8_t length                  # of the message; 0: the entry is free
    uint8_t unused


cdef inline CommunityEntry* new_cache() noexcept nogil:
    """Return a cache, for one caller at a time, which passes it to free(3).

    It is NULL if there is no memory: then every message is hashed.
    """
    return <CommunityEntry*> calloc(1 << CACHE_BITS, sizeof(CommunityEntry))


cdef inline void set_community_flow(Flow* flow, const Header* header) noexcept nogil:
    """Set a flow to that of a header with the ports that Community ID uses, and in its order."""
    cdef int reply = 0
    set_flow(flow, header)
    if flow.protocol == icmp.ICMP or flow.protocol == icmp.ICMPV6:
        reply = icmp.counterpart(flow.protocol, header.icmp_type)
        flow.src_port = header.icmp_type
        flow.dst_port = header.icmp_code if reply == icmp.NO_COUNTERPART else <uint16_t> reply
    elif not community_ports(flow.protocol):
        flow.src_port = flow.dst_port = 0
    if reply != icmp.NO_COUNTERPART:
        order(flow)


cdef inline bint community_ports(uint32_t protocol) noexcept nogil:
    return (protocol == transport.TCP or protocol == transport.UDP or protocol == transport.SCTP
            or protocol == icmp.ICMP or protocol == icmp.ICMPV6)


cdef inline uint32_t put_message(const Header* header, uint8_t* message) noexcept nogil:
    """Write the bytes that are hashed into zeroed memory; return their length, at most MESSAGE_LEN."""
    cdef Flow flow
    cdef uint32_t offset = 2
    set_community_flow(&flow, header)
    if header.ip_version == 4:
        put_be32(message + offset, <uint32_t> flow.src[1])
        put_be32(message + offset + 4, <uint32_t> flow.dst[1])
        offset += 8
    else:
        put_be64(message + offset, flow.src[0])
        put_be64(message + offset + 8, flow.src[1])
        put_be64(message + offset + 16, flow.dst[0])
        put_be64(message + offset + 24, flow.dst[1])
        offset += 32
    message[offset] = flow.protocol
    offset += 2
    if community_ports(flow.protocol):
        put_be16(message + offset, flow.src_port)
        put_be16(message + offset + 2, flow.dst_port)
        offset += 4
    return offset


cdef inline void put_base64(const uint8_t* digest, uint8_t* out) noexcept nogil:
    """Write a digest of SHA1_LEN bytes in base64 with padding (RFC 4648 section 4), 28 characters."""
    cdef const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cdef uint32_t bits, group
    for group in range(SHA1_LEN // 3):
        bits = <uint32_t> digest[3 * group] << 16
        bits |= <uint32_t> digest[3 * group + 1] << 8 | digest[3 * group + 2]
        out[4 * group] = digits[bits >> 18]
        out[4 * group + 1] = digits[bits >> 12 & 63]
        out[4 * group + 2] = digits[bits >> 6 & 63]
        out[4 * group + 3] = digits[bits & 63]
    bits = <uint32_t> digest[SHA1_LEN - 2] << 16 | <uint32_t> digest[SHA1_LEN - 1] << 8
    out[24] = digits[bits >> 18]
    out[25] = digits[bits >> 12 & 63]
    out[26] = digits[bits >> 6 & 63]
    out[27] = 61  # =


cdef inline void put_id_of(uint8_t* block, uint32_t n, uint8_t* out) noexcept nogil:
    """Write the Community ID of the message `block[:n]`: `1:` and the digest in base64."""
    cdef uint8_t digest[SHA1_LEN]
    sha1(block, n, digest)
    out[0], out[1] = 49, 58
    put_base64(digest, out + 2)


cdef inline CommunityEntry* entry_of(CommunityEntry* cache, const uint8_t* message) noexcept nogil:
    """Return the only entry of a cache that the ID of a message may be in."""
    cdef uint64_t hash = (
        load64(message) * prime[0] ^ load64(message + 8) * prime[1] ^ load64(message + 16) * prime[2]
        ^ load64(message + 24) * prime[3] ^ load64(message + 32) * prime[4])
    return cache + ((hash ^ hash >> 32) * prime[0] >> (64 - CACHE_BITS))


cdef inline void put_community_id(
        const Header* header, CommunityEntry* cache, uint8_t* out) noexcept nogil:
    """Write the Community ID of a packet whose ports were captured, for a protocol that has ports."""
    cdef uint64_t block[BLOCK_WORDS]
    cdef uint8_t* message = <uint8_t*> block
    cdef uint32_t n
    cdef int index
    cdef CommunityEntry* entry
    for index in range(BLOCK_WORDS):
        block[index] = 0
    n = put_message(header, message)
    if cache is NULL:
        put_id_of(message, n, out)
        return
    entry = entry_of(cache, message)
    if entry.length != n or memcmp(entry.message, message, MESSAGE_LEN):
        memcpy(entry.message, message, MESSAGE_LEN)
        entry.length = <uint8_t> n
        put_id_of(message, n, entry.community_id)
    memcpy(out, entry.community_id, COMMUNITY_ID_LEN)


cdef inline void fill_community_id(
        HeaderRow* row, int64_t upper_len, CommunityEntry* cache) noexcept nogil:
    """Fill in the Community ID of a packet if its ports were captured, for a protocol that has ports.

    `upper_len` is the number of captured bytes of the upper layer, 0 in a fragment other than the first, and
    negative if its protocol is not known.
    """
    if upper_len >= (PORTS_LEN if community_ports(row.header.protocol) else 0):
        put_community_id(&row.header, cache, row.keys.community_id)
