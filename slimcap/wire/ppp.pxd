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


cdef inline void walk_ppp(const uint8_t* p, uint32_t n, uint32_t at, LinkInfo* info) noexcept nogil:
    """Find the IP header of the PPP frame that starts at `at`."""
    cdef uint32_t protocol
    if n >= at + 2 and p[at] == PPP_ADDRESS and p[at + 1] == PPP_CONTROL:
        at += 2
    if n < at + 2:
        return
    if p[at] & 1:
        protocol = p[at]
        at += 1
    else:
        protocol = be16(p + at)
        at += 2
    if protocol == PPP_IPV4 or protocol == PPP_IPV6:
        set_ip(info, at, n)
    elif protocol == PPP_MPLS_UNICAST or protocol == PPP_MPLS_MULTICAST:
        walk_mpls(p, n, at, info)


cdef inline void walk_pppoe(const uint8_t* p, uint32_t n, uint32_t at, LinkInfo* info) noexcept nogil:
    """Find the IP header after the PPPoE session header that starts at `at` (code 0: data)."""
    if n > at + PPPOE_LEN and p[at + 1] == 0:
        walk_ppp(p, n, at + PPPOE_LEN, info)


cdef inline bint is_chdlc(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return True if a serial frame is Cisco HDLC: address (1), control (1, always 0), EtherType (2)."""
    return n >= CHDLC_LEN and p[1] == 0 and (p[0] == CHDLC_UNICAST or p[0] == CHDLC_MULTICAST)
