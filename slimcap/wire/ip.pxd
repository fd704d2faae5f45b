"""IP of either version: the length of a packet and its upper layer."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
from slimcap.wire.upper cimport UPPER_MALFORMED, UPPER_TRUNCATED, UpperLayer


cdef inline uint64_t length(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the IP packet `p[:n]` by its header; 0 if it is not known or not valid.

    Bytes after it are not part of the packet: padding, or a checksum of the link layer.
    """
    if ipv6.check(p, n):
        return ipv6.length(p, n)
    return ipv4.length(p) if ipv4.check(p, n) else 0


cdef inline Py_ssize_t bounded(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return how many of the bytes `p[:n]` belong to the IP packet at `p`."""
    cdef uint64_t total_length = length(p, n)
    return <Py_ssize_t> total_length if total_length and total_length < <uint64_t> n else n


cdef inline bint is_valid(uint32_t ethertype, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return True if `p[:n]` has the complete and valid IP header that an EtherType announces."""
    if ethertype == ipv4.ETHERTYPE:
        return ipv4.check(p, n) and ipv4.has_valid_checksum(p, n)
    return ethertype == ipv6.ETHERTYPE and ipv6.check(p, n)


cdef inline UpperLayer truncated_header(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the result for a truncated fixed header: only the protocol, if that was captured."""
    cdef UpperLayer upper
    upper.protocol = upper.offset = upper.fragment = upper.fragment_id = 0
    upper.state = UPPER_TRUNCATED
    if n and p[0] >> 4 == 4:
        upper.protocol = p[ipv4.PROTOCOL] if n > ipv4.PROTOCOL else 0
    elif n and p[0] >> 4 == 6:
        upper.protocol = p[ipv6.NEXT_HEADER] if n > ipv6.NEXT_HEADER else 0
    elif n:
        upper.state = UPPER_MALFORMED
    return upper


cdef inline UpperLayer upper_layer(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return protocol and offset of the upper layer of the IP packet `p[:n]`; 0 if not in these bytes."""
    if ipv4.check(p, n):
        return ipv4.upper_layer(p, n)
    if ipv6.check(p, n):
        return ipv6.upper_layer(p, n)
    return truncated_header(p, n)
