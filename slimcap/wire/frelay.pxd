"""Frame relay (LINKTYPE_FRELAY; RFC 2427), and Cisco's older encapsulation.

    address (2 to 4) | 03 | 0? | NLPID: cc IPv4, 8e IPv6                RFC 2427
    address (2 to 4) | 03 | 0? | 80 | OUI (3) | EtherType (2)           with SNAP
    address (2 to 4) | EtherType (2)                                    Cisco

The last byte of the address has its lowest bit set. A control byte of 03 is not the start of an EtherType
that leads to IP.
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
cimport slimcap.wire.ipv6 as ipv6
cimport slimcap.wire.llc as llc
from slimcap.abi.bytes cimport be16, be32
from slimcap.wire.walk_ethertype cimport walk_ethertype
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    MIN_ADDRESS = 2
    MAX_ADDRESS = 4
    IS_LAST = 0x01
    TYPE_LEN = 2
    CONTROL_UI = 0x03
    PAD = 0
    NLPID_SNAP = 0x80
    NLPID_IPV4 = 0xcc
    NLPID_IPV6 = 0x8e
    OUI_LEN = 3
    OUI_SHIFT = 8


cdef inline uint32_t address_len(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the address, or 0 if `p[:n]` has no complete one of 2 to 4 bytes."""
    cdef Py_ssize_t length = 1
    if n < MIN_ADDRESS or p[0] & IS_LAST:
        return 0
    while length < min(n, <Py_ssize_t> MAX_ADDRESS):
        length += 1
        if p[length - 1] & IS_LAST:
            return <uint32_t> length
    return 0


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header up to the NLPID or EtherType, or 0 if `p[:n]` has no complete one."""
    cdef uint32_t length = address_len(p, n)
    if length == 0 or n < length + TYPE_LEN:
        return 0
    if p[length] != CONTROL_UI:
        return length + TYPE_LEN
    length += 1
    if p[length] == PAD:
        length += 1
    length += 1
    if length <= n and p[length - 1] == NLPID_SNAP:
        length += OUI_LEN + TYPE_LEN
    return length if length <= n else 0


cdef inline uint32_t ethertype(const uint8_t* p, uint32_t length) noexcept nogil:
    """Return the EtherType after a header of the length that `check()` returned; 0 if it has none."""
    cdef uint32_t control = address_len(p, length)
    if p[control] != CONTROL_UI:
        return be16(p + length - TYPE_LEN)
    control += 1
    if p[control] == PAD:
        control += 1
    if p[control] == NLPID_SNAP:
        return be16(p + length - TYPE_LEN) if be32(p + control + 1) >> OUI_SHIFT == llc.OUI_RFC1042 else 0
    if p[control] == NLPID_IPV4:
        return ipv4.ETHERTYPE
    return ipv6.ETHERTYPE if p[control] == NLPID_IPV6 else 0


cdef inline void walk(const uint8_t* p, uint32_t n, uint32_t offset, LinkInfo* info) noexcept nogil:
    """Find the IP header of the frame that starts at `offset`, which is at most `n`."""
    cdef uint32_t header = check(p + offset, n - offset), kind
    if not header:
        return
    kind = ethertype(p + offset, header)
    if kind > llc.MAX_LENGTH:
        walk_ethertype(p, n, offset + header, kind, info)
