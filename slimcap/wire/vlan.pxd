"""VLAN tags in a packet's bytes (IEEE 802.1Q clause 9.6).

    TPID (2), in place of the EtherType | TCI (2) | next TPID or EtherType (2)
                                        ^ p

A walk has read the TPID as an EtherType, so `p` points to the TCI. A record has the outermost tag; header
columns also have the second one. A VID of 0 (a priority tag) is not treated differently.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memmove

from slimcap.abi.bytes cimport be16, put_be16
from slimcap.wire.walk_result cimport INFO_VLAN, LinkInfo

cdef enum:
    LEN = 4                 # of TCI and next type, and of a tag: TPID and TCI
    TCI = 0
    TYPE = 2
    TPID_LEN = 2
    TAG_OFFSET = 12         # offset of the outermost tag in an Ethernet frame
    VID_MASK = 0x0fff       # bits of a TCI that are the VLAN ID
    TPID_CUSTOMER = 0x8100
    TPID_SERVICE = 0x88a8
    TPID_QINQ_OLD = 0x9100  # before 802.1ad; libpcap's `vlan` matches it, too


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of TCI and next type, or 0 if `p[:n]` does not have both."""
    return LEN if n >= LEN else 0


cdef inline uint16_t tci(const uint8_t* p) noexcept nogil:
    return be16(p + TCI)


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType, or the TPID of the next tag."""
    return be16(p + TYPE)


cdef inline bint is_tpid(uint32_t ethertype) noexcept nogil:
    return ethertype == TPID_CUSTOMER or ethertype == TPID_SERVICE or ethertype == TPID_QINQ_OLD


cdef inline void add_tag(LinkInfo* info, uint16_t tci, uint16_t tpid) noexcept nogil:
    """Record a tag: TCI and TPID of the first, which is the outermost, and the TCI of the second."""
    if info.tags == 0:
        info.flags |= INFO_VLAN
        info.vlan_tci = tci
        info.vlan_tpid = tpid
    elif info.tags == 1:
        info.inner_tci = tci
    info.tags += 1


cdef inline void put_tag(uint8_t* frame, uint16_t tpid, uint16_t tci) noexcept nogil:
    """Insert a tag into an Ethernet frame, which then starts at `frame - LEN`.

    The LEN bytes before `frame` must be writable.
    """
    memmove(frame - LEN, frame, TAG_OFFSET)
    put_be16(frame - LEN + TAG_OFFSET, tpid)
    put_be16(frame - LEN + TAG_OFFSET + TPID_LEN, tci)
