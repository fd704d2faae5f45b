"""IPv6 (RFC 8200) and its extension headers (section 4).

    version (4 bits), traffic class (8), flow label (20)
    | payload length (2) | next header (1) | hop limit (1) | source (16) | destination (16)

An extension header begins with the number of the next header and, except for the fragment header, its own
length:

    next (1) | length in 8 bytes, less the first (1) | …              hop-by-hop, routing, destination
    next (1) | 0 (1) | offset (13 bits), 0 (2), more (1) | id (4)     fragment (section 4.5)
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cimport slimcap.wire.ah as ah
from slimcap.abi.bytes cimport be16, be32
from slimcap.wire.upper cimport UPPER_FOUND, UPPER_FRAGMENT, UPPER_MALFORMED, UPPER_TRUNCATED, UpperLayer

cdef enum:
    ETHERTYPE = 0x86dd
    LEN = 40
    FLOW_LABEL_MASK = 0xfffff   # in the first four bytes
    PAYLOAD_LENGTH = 4
    NEXT_HEADER = 6
    HOP_LIMIT = 7
    SRC = 8
    DST = 24
    ADDRESS_LEN = 16
    # IANA protocol numbers that are extension headers
    HOP_BY_HOP = 0
    ROUTING = 43
    FRAGMENT = 44
    DESTINATION = 60
    NO_NEXT_HEADER = 59
    MIN_EXTENSION = 8
    EXTENSION_LENGTH = 1
    FRAGMENT_OFFSET = 2
    FRAGMENT_MASK = 0xfff9  # offset and more, without the reserved bits
    FRAGMENT_ID = 4
    MAX_EXTENSIONS = 32  # more than real packets have; bounds the time that a crafted packet costs
    # Options of a hop-by-hop header (section 4.2, RFC 2675 section 2)
    OPTIONS = 2         # offset of the first one in the header
    OPTION_LENGTH = 1   # of the data
    OPTION_DATA = 2
    OPTION_PAD1 = 0
    OPTION_JUMBO = 0xc2
    JUMBO_LEN = 4


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the fixed header, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN and p[0] >> 4 == 6 else 0


cdef inline uint8_t traffic_class(const uint8_t* p) noexcept nogil:
    return <uint8_t> (be16(p) >> 4)


cdef inline uint32_t flow_label(const uint8_t* p) noexcept nogil:
    return be32(p) & FLOW_LABEL_MASK


cdef inline uint64_t jumbo_length(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the payload length in a jumbogram's hop-by-hop header; 0 if this is not a jumbogram."""
    cdef Py_ssize_t offset = LEN + OPTIONS, end
    if n < offset or p[NEXT_HEADER] != HOP_BY_HOP:
        return 0
    end = min(n, LEN + (<Py_ssize_t> p[LEN + EXTENSION_LENGTH] + 1) * 8)
    while offset + OPTION_DATA + JUMBO_LEN <= end:
        if p[offset] == OPTION_PAD1:
            offset += 1
        elif p[offset] == OPTION_JUMBO:
            return be32(p + offset + OPTION_DATA) if p[offset + OPTION_LENGTH] == JUMBO_LEN else 0
        else:
            offset += OPTION_DATA + p[offset + OPTION_LENGTH]
    return 0


cdef inline uint64_t length(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the packet, header included; 0 if it is still to be segmented by the device."""
    cdef uint64_t payload = be16(p + PAYLOAD_LENGTH)
    if payload == 0:
        payload = jumbo_length(p, n)
    return LEN + payload if payload or p[NEXT_HEADER] == NO_NEXT_HEADER else 0


cdef inline bint is_extension(uint32_t protocol) noexcept nogil:
    return (protocol == HOP_BY_HOP or protocol == ROUTING or protocol == FRAGMENT
            or protocol == ah.PROTOCOL or protocol == DESTINATION)


cdef inline UpperLayer upper_layer(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return protocol and offset of the upper layer, or the protocol of the first truncated header.

    `check()` must have accepted the header.
    """
    cdef UpperLayer upper
    upper.protocol = p[NEXT_HEADER]
    upper.offset = LEN
    upper.state = UPPER_FOUND
    upper.fragment = upper.fragment_id = 0
    if is_extension(upper.protocol):
        skip_extensions(p, n, &upper)
    return upper


cdef inline void skip_extensions(const uint8_t* p, Py_ssize_t n, UpperLayer* upper) noexcept nogil:
    """Skip the extension headers, and set `upper`. Each iteration advances by at least eight bytes."""
    cdef Py_ssize_t offset = LEN
    cdef uint32_t kind
    upper.offset = 0
    upper.state = UPPER_TRUNCATED
    for _ in range(MAX_EXTENSIONS):
        if n < offset + MIN_EXTENSION:
            return
        kind = upper.protocol
        upper.protocol = p[offset]
        if kind == FRAGMENT:
            upper.fragment = be16(p + offset + FRAGMENT_OFFSET) & FRAGMENT_MASK
            upper.fragment_id = be32(p + offset + FRAGMENT_ID)
            offset += MIN_EXTENSION
            if upper.fragment >> 3:
                upper.state = UPPER_FRAGMENT
                return
        elif kind == ah.PROTOCOL:
            offset += ah.check(p + offset, n - offset)
        else:
            offset += (<Py_ssize_t> p[offset + EXTENSION_LENGTH] + 1) * 8
        if not is_extension(upper.protocol):
            if offset <= n:
                upper.state = UPPER_FOUND
                upper.offset = <uint32_t> offset
            return
    upper.state = UPPER_MALFORMED
