"""BSD loopback (LINKTYPE_NULL, LINKTYPE_LOOP): a 4-byte address family.

NULL has it in the byte order of the machine that wrote it, LOOP in network order. A family fits in 16 bits,
so a larger number must be in the other byte order. The number of AF_INET6 depends on the operating system.
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be32, bswap32
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    NULL_LEN = 4
    FAMILY_INET = 2
    FAMILY_INET6_LINUX = 10
    FAMILY_INET6_WINDOWS = 23
    FAMILY_INET6_BSD = 24
    FAMILY_INET6_FREEBSD = 28
    FAMILY_INET6_DARWIN = 30


cdef inline void walk_null(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header after an address family in either byte order."""
    cdef uint32_t family
    if n <= NULL_LEN:
        return
    family = be32(p)
    if family > 0xffff:
        family = bswap32(family)
    if (family == FAMILY_INET or family == FAMILY_INET6_LINUX or family == FAMILY_INET6_WINDOWS
            or family == FAMILY_INET6_BSD or family == FAMILY_INET6_FREEBSD or family == FAMILY_INET6_DARWIN):
        set_ip(info, NULL_LEN, n)
