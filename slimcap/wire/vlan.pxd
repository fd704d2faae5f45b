"""VLAN tags in a packet's bytes (IEEE 802.1Q clause 9.6).

    TPID (2), in place of the EtherType | TCI (2) | next TPID or EtherType (2)

A record has the outermost tag; header columns also have the second one. A VID of 0 (a priority tag) is not
treated differently.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memmove

from slimcap.abi.bytes cimport put_be16
from slimcap.wire.walk_result cimport INFO_VLAN, LinkInfo

cdef enum:
    VLAN_LEN = 4
    VLAN_AT = 12            # offset of the outermost tag in an Ethernet frame
    VID_MASK = 0x0fff       # bits of a TCI that are the VLAN ID
    TPID_CUSTOMER = 0x8100
    TPID_SERVICE = 0x88a8
    TPID_QINQ_OLD = 0x9100  # before 802.1ad; libpcap's `vlan` matches it, too


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
    """Insert a tag into an Ethernet frame, which then starts at `frame - VLAN_LEN`.

    The VLAN_LEN bytes before `frame` must be writable.
    """
    memmove(frame - VLAN_LEN, frame, VLAN_AT)
    put_be16(frame + VLAN_AT - VLAN_LEN, tpid)
    put_be16(frame + VLAN_AT - VLAN_LEN + 2, tci)
