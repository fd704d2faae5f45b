"""PPP: unframed (RFC 1661), in HDLC-like framing (RFC 1662), over Ethernet (RFC 2516); and Cisco HDLC.

    ff 03 | 00 21 | IP        address and control may be omitted, and so may the
    ff 03 | 21 | IP           protocol's high byte: its low byte is odd, the high one even
                              (RFC 1661 section 6.5)
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be16
from slimcap.wire.mpls cimport walk_mpls
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    PPPOE_ETHERTYPE_SESSION = 0x8864
    PPPOE_LEN = 6  # version and type, code, session id (2), length (2)
    PPP_ADDRESS = 0xff
    PPP_CONTROL = 0x03
    PPP_IPV4 = 0x0021
    PPP_IPV6 = 0x0057
    PPP_MPLS_UNICAST = 0x0281
    PPP_MPLS_MULTICAST = 0x0283
    CHDLC_LEN = 4
    CHDLC_UNICAST = 0x0f
    CHDLC_MULTICAST = 0x8f


cdef inline void walk_ppp(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header of the PPP frame that starts at `offset`."""
    cdef uint32_t protocol
    if n >= offset + 2 and p[offset] == PPP_ADDRESS and p[offset + 1] == PPP_CONTROL:
        offset += 2
    if n < offset + 2:
        return
    if p[offset] & 1:
        protocol = p[offset]
        offset += 1
    else:
        protocol = be16(p + offset)
        offset += 2
    if protocol == PPP_IPV4 or protocol == PPP_IPV6:
        set_ip(info, offset, n)
    elif protocol == PPP_MPLS_UNICAST or protocol == PPP_MPLS_MULTICAST:
        walk_mpls(p, n, offset, info)


cdef inline void walk_pppoe(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header after the PPPoE session header that starts at `offset` (code 0: data)."""
    if n > offset + PPPOE_LEN and p[offset + 1] == 0:
        walk_ppp(p, n, offset + PPPOE_LEN, info)


cdef inline bint is_chdlc(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return True if a serial frame is Cisco HDLC: address (1), control (1, always 0), EtherType (2)."""
    return n >= CHDLC_LEN and p[1] == 0 and (p[0] == CHDLC_UNICAST or p[0] == CHDLC_MULTICAST)
