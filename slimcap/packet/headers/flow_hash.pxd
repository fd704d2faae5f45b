"""Flow hashes: XXH64 with seed 0 of the 5-tuple, in network byte order.

    src (16) | dst (16) | src_port (2) | dst_port (2) | protocol (1)

For flow_hash_symmetric the smaller endpoint, compared by address and then by port, comes first, so that both
directions have the same value.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from slimcap.abi.bytes cimport be64, bswap32, bswap64, put_be16, put_be64
from slimcap.packet.headers.row cimport PART_HASH, PART_SYMMETRIC_HASH, Header, HeaderRow
from slimcap.packet.headers.xxh64 cimport xxh64_of_key

cdef enum:
    KEY_LEN = 16 + 16 + 2 + 2 + 1

cdef struct Flow:
    uint64_t src[2]     # the address as a number: upper and lower half
    uint64_t dst[2]
    uint16_t src_port
    uint16_t dst_port
    uint8_t protocol


cdef inline void set_flow(Flow* flow, const Header* header) noexcept nogil:
    """Set a flow to that of a header."""
    flow.src[0], flow.src[1] = be64(header.src), be64(header.src + 8)
    flow.dst[0], flow.dst[1] = be64(header.dst), be64(header.dst + 8)
    flow.src_port, flow.dst_port = header.src_port, header.dst_port
    flow.protocol = header.protocol


cdef inline void order(Flow* flow) noexcept nogil:
    """Put the smaller endpoint first, without branches: which it is cannot be predicted."""
    cdef bint swapped = (flow.src[0] > flow.dst[0]) | (flow.src[0] == flow.dst[0]) & (
        (flow.src[1] > flow.dst[1])
        | (flow.src[1] == flow.dst[1]) & (flow.src_port > flow.dst_port))
    cdef uint64_t mask = 0 - <uint64_t> swapped
    cdef uint64_t upper = (flow.src[0] ^ flow.dst[0]) & mask, lower = (flow.src[1] ^ flow.dst[1]) & mask
    cdef uint16_t port = (flow.src_port ^ flow.dst_port) & <uint16_t> mask
    flow.src[0], flow.src[1], flow.src_port = flow.src[0] ^ upper, flow.src[1] ^ lower, flow.src_port ^ port
    flow.dst[0], flow.dst[1], flow.dst_port = flow.dst[0] ^ upper, flow.dst[1] ^ lower, flow.dst_port ^ port


cdef inline void put_key(const Flow* flow, uint8_t* out) noexcept nogil:
    """Write the bytes that a flow hash is computed from, KEY_LEN of them."""
    put_be64(out, flow.src[0])
    put_be64(out + 8, flow.src[1])
    put_be64(out + 16, flow.dst[0])
    put_be64(out + 24, flow.dst[1])
    put_be16(out + 32, flow.src_port)
    put_be16(out + 34, flow.dst_port)
    out[36] = flow.protocol


cdef inline uint64_t flow_hash(const Flow* flow) noexcept nogil:
    """Return the hash of the bytes that `put_key` writes."""
    cdef uint32_t ports = bswap32(<uint32_t> flow.src_port << 16 | flow.dst_port)
    # With 0 as a constant the compiler leaves out a third of the multiplications, for IPv4.
    if flow.src[0] | flow.dst[0]:
        return xxh64_of_key(
            bswap64(flow.src[0]), bswap64(flow.src[1]), bswap64(flow.dst[0]), bswap64(flow.dst[1]),
            ports, flow.protocol)
    return xxh64_of_key(0, bswap64(flow.src[1]), 0, bswap64(flow.dst[1]), ports, flow.protocol)


cdef inline void fill_hashes(HeaderRow* row, uint32_t parts) noexcept nogil:
    """Fill in the flow hashes of a packet."""
    cdef Flow flow
    set_flow(&flow, &row.header)
    if parts & PART_HASH:
        row.keys.flow_hash = flow_hash(&flow)
    if parts & PART_SYMMETRIC_HASH:
        order(&flow)
        row.keys.flow_hash_symmetric = flow_hash(&flow)
