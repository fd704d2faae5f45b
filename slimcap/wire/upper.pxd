"""`UpperLayer`: protocol and offset of the layer above IP, the result of `ipv4` and `ipv6`."""
from libc.stdint cimport uint32_t

cdef enum:
    UPPER_FOUND = 0       # the upper layer starts at `offset`
    UPPER_TRUNCATED = 1   # the headers before it extend past the captured bytes
    UPPER_FRAGMENT = 2    # not the first fragment: the upper layer's header is in another packet
    UPPER_MALFORMED = 3   # a header contradicts itself

cdef struct UpperLayer:
    uint32_t protocol       # IANA number; that of the truncated extension header, if there is one
    uint32_t offset         # from the start of the IP header; 0: unknown; if UPPER_MALFORMED, a minimum
    uint32_t state
    uint32_t fragment       # as in IPv6: offset in bytes, a multiple of 8; bit 0: more fragments follow
    uint32_t fragment_id
