"""PPP, unframed (RFC 1661) or in HDLC-like framing (RFC 1662).

    ff 03 | 00 21 | IP        address and control may be omitted, and so may the
    ff 03 | 21 | IP           protocol's high byte: its low byte is odd, the high one even
                              (RFC 1661 section 6.5)
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.mpls as mpls
from slimcap.abi.bytes cimport be16
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    FRAMING_LEN = 2
    CONTROL_OFFSET = 1
    ADDRESS = 0xff
    CONTROL = 0x03
    PROTOCOL_LEN = 2
    COMPRESSED_LEN = 1
    COMPRESSED = 0x01       # in the first byte of a protocol that has only one
    IPV4 = 0x0021
    IPV6 = 0x0057
    MPLS_UNICAST = 0x0281
    MPLS_MULTICAST = 0x0283


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, protocol included, or 0 if `p[:n]` has no complete one."""
    cdef uint32_t length = 0
    if n >= FRAMING_LEN and p[0] == ADDRESS and p[CONTROL_OFFSET] == CONTROL:
        length = FRAMING_LEN
    if n <= length:
        return 0
    length += COMPRESSED_LEN if p[length] & COMPRESSED else PROTOCOL_LEN
    return length if length <= n else 0


cdef inline uint32_t protocol(const uint8_t* p, uint32_t header) noexcept nogil:
    """Return the protocol of a header of the length that `check()` returned; odd if it is compressed."""
    return p[header - COMPRESSED_LEN] if header & 1 else be16(p + header - PROTOCOL_LEN)


cdef inline void walk(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header of the PPP frame that starts at `offset`, which is at most `n`."""
    cdef uint32_t header = check(p + offset, n - offset), kind
    if not header:
        return
    kind = protocol(p + offset, header)
    offset += header
    if kind == IPV4 or kind == IPV6:
        set_ip(info, offset, n)
    elif kind == MPLS_UNICAST or kind == MPLS_MULTICAST:
        mpls.walk(p, n, offset, info)
