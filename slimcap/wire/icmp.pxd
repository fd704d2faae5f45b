"""ICMP (RFC 792) and ICMPv6 (RFC 4443 section 2.1), whose headers have the same layout.

    type (1) | code (1) | checksum (2) | depends on the type (4) | …
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.branch cimport rarely

cdef enum:
    ICMP = 1
    ICMPV6 = 58
    LEN = 8
    # Offsets of fields. They may be read from a truncated header that is longer than the offset.
    TYPE = 0
    CODE = 1
    NO_COUNTERPART = -1


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return 0 if rarely(n < LEN) else LEN


cdef inline int counterpart(uint32_t protocol, uint32_t kind) noexcept nogil:
    """Return the type that answers this type, or that it answers; NO_COUNTERPART if none does.

    ICMP (RFC 792): also routers (RFC 1256) and address masks (RFC 950). ICMPv6 (RFC 4443): also multicast
    listeners (RFC 2710), routers and neighbours (RFC 4861), node information (RFC 4620) and home agents
    (RFC 6275).
    """
    if protocol == ICMP:
        if kind == 0 or kind == 8:          # echo
            return 8 - kind
        if kind == 9 or kind == 10:         # router advertisement, solicitation
            return 19 - kind
        if 13 <= kind <= 18:                # timestamp, information, address mask
            return ((kind - 1) ^ 1) + 1
    else:
        if 128 <= kind <= 131 or kind == 144 or kind == 145:
            return kind ^ 1
        if 133 <= kind <= 136 or kind == 139 or kind == 140:
            return ((kind - 1) ^ 1) + 1
    return NO_COUNTERPART


cdef inline bint is_request(uint32_t protocol, uint32_t kind) noexcept nogil:
    """Return True for the types that one host answers: echo, timestamp, information, address mask."""
    if protocol == ICMP:
        return kind == 8 or kind == 13 or kind == 15 or kind == 17
    return kind == 128 or kind == 139       # echo, node information


cdef inline bint is_reply(uint32_t protocol, uint32_t kind) noexcept nogil:
    """Return True for the types that answer a request."""
    return is_request(protocol, <uint32_t> counterpart(protocol, kind))
