"""What an IP header and what extends it say of the layer above: the answer of the walks in ipv4 and ipv6."""
from libc.stdint cimport uint32_t

cdef enum:
    UPPER_HERE = 0      # it starts at `offset`
    UPPER_CUT = 1       # the headers before it go on past the bytes there are
    UPPER_FRAGMENT = 2  # this is not the first fragment: it started in another packet
    UPPER_BAD = 3       # a header contradicts itself

cdef struct UpperLayer:
    uint32_t protocol       # IANA's number; of the extension header that is cut, if one is
    uint32_t offset         # from the IP header on, at the least if the state is UPPER_BAD; 0: not there
    uint32_t state
    uint32_t fragment       # as IPv6 has it: offset in bytes, a multiple of 8; bit 0: more follow
    uint32_t fragment_id
