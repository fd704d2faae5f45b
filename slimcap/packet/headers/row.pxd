"""`HeaderRow`: the parsed headers of one packet, the same for all sources and link types."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef struct Header:
    uint8_t src[16]
    uint8_t dst[16]
    uint32_t flow_label
    uint32_t ip_len
    uint32_t ip_id
    uint32_t tcp_seq
    uint32_t tcp_ack
    uint32_t l4_offset
    uint32_t l7_offset
    uint32_t l7_len
    uint16_t ethertype
    uint16_t vlan_id
    uint16_t inner_vlan_id
    uint16_t frag_offset
    uint16_t src_port
    uint16_t dst_port
    uint16_t tcp_flags
    uint16_t tcp_window
    uint8_t src_mac[6]
    uint8_t dst_mac[6]
    uint8_t status
    uint8_t ip_version
    uint8_t protocol
    uint8_t ttl
    uint8_t tos
    uint8_t more_fragments
    uint8_t icmp_type
    uint8_t icmp_code
    uint8_t tunnels
    uint8_t unused[3]       # up to a multiple of 4

cdef struct Keys:
    uint64_t flow_hash
    uint64_t flow_hash_symmetric
    uint8_t community_id[30]

cdef struct HeaderRow:
    Header header
    Keys keys

cdef enum:
    # HeaderStatus in C; columns.pyx compares the two at import.
    STATUS_OK = 0
    STATUS_NO_IP = 1
    STATUS_ARP = 2
    STATUS_FRAGMENT = 3
    STATUS_TRUNCATED = 4
    STATUS_MALFORMED = 5
    # Parts of a packet that are parsed only if a wanted column needs them. Fields of a Header that belong to
    # none of these parts are always filled in.
    PART_LINK = 1
    PART_NETWORK = 2
    PART_TRANSPORT = 4
    PART_HASH = 8
    PART_SYMMETRIC_HASH = 16
    PART_COMMUNITY_ID = 32
    PARTS_OF_HEADER = PART_LINK | PART_NETWORK | PART_TRANSPORT
    PARTS_OF_HASHES = PART_HASH | PART_SYMMETRIC_HASH
    PARTS_OF_KEYS = PARTS_OF_HASHES | PART_COMMUNITY_ID
