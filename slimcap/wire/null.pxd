"""BSD loopback (LINKTYPE_NULL, LINKTYPE_LOOP).

    address family (4) | IP

NULL has the family in the byte order of the machine that wrote it, LOOP in network order. A family fits in
16 bits, so a larger number must be in the other byte order. The number of AF_INET6 depends on the operating
system.
"""
from libc.stdint cimport uint8_t, uint32_t

from slimcap.abi.bytes cimport be32, bswap32
from slimcap.wire.walk_result cimport LinkInfo, set_ip

cdef enum:
    LEN = 4
    MAX_FAMILY = 0xffff
    FAMILY_INET = 2
    FAMILY_INET6_LINUX = 10
    FAMILY_INET6_WINDOWS = 23
    FAMILY_INET6_BSD = 24
    FAMILY_INET6_FREEBSD = 28
    FAMILY_INET6_DARWIN = 30


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one."""
    return LEN if n >= LEN else 0


cdef inline uint32_t family(const uint8_t* p) noexcept nogil:
    """Return the address family, which is in either byte order."""
    cdef uint32_t number = be32(p)
    return bswap32(number) if number > MAX_FAMILY else number


cdef inline bint is_ip(uint32_t number) noexcept nogil:
    """Return True if the address family is that of IP on any operating system."""
    return (number == FAMILY_INET or number == FAMILY_INET6_LINUX or number == FAMILY_INET6_WINDOWS
            or number == FAMILY_INET6_BSD or number == FAMILY_INET6_FREEBSD
            or number == FAMILY_INET6_DARWIN)


cdef inline void walk(const uint8_t* p, uint32_t n, LinkInfo* info) noexcept nogil:
    """Find the IP header after an address family."""
    if check(p, n) and is_ip(family(p)):
        set_ip(info, LEN, n)
