"""IPv4 (RFC 791 section 3.1).

    version, length in words (1) | type of service (1) | total length (2)
    | identification (2) | flags (3 bits), fragment offset (13) | TTL (1) | protocol (1) | checksum (2)
    | source (4) | destination (4) | options
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cimport slimcap.wire.ah as ah
from slimcap.abi.branch cimport rarely
from slimcap.abi.bytes cimport be16, be32, put_be64
from slimcap.wire.upper cimport UPPER_FOUND, UPPER_FRAGMENT, UPPER_MALFORMED, UPPER_TRUNCATED, UpperLayer

cdef enum:
    ETHERTYPE = 0x0800
    MIN_LEN = 20
    TOS = 1
    LENGTH = 2
    IDENTIFICATION = 4
    FRAGMENT = 6   # flags (3 bits) and fragment offset (13 bits, in units of 8 bytes)
    MORE_FRAGMENTS = 0x2000
    OFFSET_MASK = 0x1fff
    TTL = 8
    PROTOCOL = 9
    SRC = 12
    DST = 16
    ADDRESS_LEN = 4
    MAPPED_OFFSET = 12  # offset of the IPv4 address in an IPv4-mapped IPv6 address


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the fixed header, or 0 if `p[:n]` has no complete one."""
    return MIN_LEN if n >= MIN_LEN and p[0] >> 4 == 4 else 0


cdef inline uint32_t header_len(const uint8_t* p) noexcept nogil:
    """Return the length of the header with its options, by its own field. Below MIN_LEN it is not valid."""
    return (p[0] & 0x0f) * 4


cdef inline uint32_t stated_length(const uint8_t* p) noexcept nogil:
    """Return the length field; 0 if the packet is still to be segmented by the device."""
    return be16(p + LENGTH)


cdef inline uint32_t length(const uint8_t* p) noexcept nogil:
    """Return the length of the packet, header included; 0 if its field is 0 or too small to be valid."""
    return stated_length(p) if stated_length(p) >= MIN_LEN else 0


cdef inline bint has_valid_checksum(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return True if the header with its options is in `p[:n]` and its checksum is correct.

    `check()` must have accepted the header.
    """
    cdef uint32_t header = header_len(p), offset = 0, total = 0
    if header < MIN_LEN or header > n:
        return False
    while offset < header:
        total += be16(p + offset)
        offset += 2
    total = (total & 0xffff) + (total >> 16)
    return (total & 0xffff) + (total >> 16) == 0xffff


cdef inline UpperLayer upper_layer(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return protocol and offset of the upper layer. `check()` must have accepted the header."""
    cdef UpperLayer upper
    cdef uint32_t header = header_len(p), total_length = stated_length(p), fragment = be16(p + FRAGMENT)
    upper.protocol = p[PROTOCOL]
    upper.offset = 0
    upper.fragment = (fragment & OFFSET_MASK) << 3 | (fragment & MORE_FRAGMENTS != 0)
    upper.fragment_id = be16(p + IDENTIFICATION)
    if rarely(fragment & OFFSET_MASK):
        upper.state = UPPER_FRAGMENT
    elif rarely(header > n):
        upper.state = UPPER_TRUNCATED
    else:
        upper.state = UPPER_FOUND
        upper.offset = max(header, <uint32_t> MIN_LEN)
        if rarely(upper.protocol == ah.PROTOCOL):
            skip_authentication(p, n, &upper)
    if rarely(header < MIN_LEN or (total_length and total_length < header)):
        upper.state = UPPER_MALFORMED
    return upper


cdef inline void skip_authentication(const uint8_t* p, Py_ssize_t n, UpperLayer* upper) noexcept nogil:
    """Skip authentication headers; `upper.offset` is that of the first one, within `p[:n]`."""
    cdef Py_ssize_t offset = upper.offset
    cdef uint32_t size
    upper.offset = 0
    upper.state = UPPER_TRUNCATED
    for _ in range(ah.MAX_HEADERS):
        size = ah.check(p + offset, n - offset)
        if size == 0:
            return
        upper.protocol = p[offset + ah.NEXT_HEADER]
        offset += size
        if upper.protocol != ah.PROTOCOL:
            if offset <= n:
                upper.state = UPPER_FOUND
                upper.offset = <uint32_t> offset
            return
        if offset > n:
            return
    upper.state = UPPER_MALFORMED


cdef inline void put_mapped(uint8_t* out, const uint8_t* address) noexcept nogil:
    """Write an address as an IPv4-mapped IPv6 address, ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)."""
    put_be64(out, 0)
    put_be64(out + 8, <uint64_t> 0xffff << 32 | be32(address))


cdef inline bint is_mapped(const uint8_t* address) noexcept nogil:
    """Return True if 16 bytes are an IPv4-mapped IPv6 address."""
    cdef int index
    for index in range(10):
        if address[index]:
            return False
    return address[10] == 0xff and address[11] == 0xff
