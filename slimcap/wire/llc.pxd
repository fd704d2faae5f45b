"""LLC (IEEE 802.2), alone or with a SNAP header that has an EtherType (RFC 1042).

    DSAP (1) | SSAP (1) | control (1)                               IP: 06 06 03
    DSAP (1) | SSAP (1) | control (1) | OUI (3) | EtherType (2)     SNAP: aa aa 03
"""
from libc.stdint cimport uint8_t, uint32_t

cimport slimcap.wire.ipv4 as ipv4
from slimcap.abi.bytes cimport be16, be32

cdef enum:
    # IEEE 802.3 clause 3.2.6: up to this value an EtherType field is a length, and an LLC header follows.
    MAX_LENGTH = 1500
    ETHERTYPE = 0x8870  # in place of a larger length (draft-ietf-isis-ext-eth)
    LEN = 3
    DSAP = 0
    SSAP = 1
    CONTROL = 2
    SAP_IP = 0x06
    SAP_SNAP = 0xaa
    UI = 0x03
    SNAP_LEN = 8        # LLC included
    SNAP_OUI = 3
    SNAP_TYPE = 6
    # OUIs that mean an EtherType
    OUI_RFC1042 = 0x000000
    OUI_BRIDGE_TUNNEL = 0x0000f8  # 802.1H


cdef inline bint has_ethertype(const uint8_t* p) noexcept nogil:
    """Return True if a complete SNAP header has an EtherType.

    A length in its place would mean LLC in LLC. No protocol does that, and it would let a walk continue.
    """
    cdef uint32_t oui = be32(p + SNAP_OUI) >> 8
    return (oui == OUI_RFC1042 or oui == OUI_BRIDGE_TUNNEL) and be16(p + SNAP_TYPE) > MAX_LENGTH


cdef inline uint32_t check(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    """Return the length of the header, or 0 if `p[:n]` has no complete one that leads to an EtherType."""
    if n < LEN or p[CONTROL] != UI or p[DSAP] != p[SSAP]:
        return 0
    if p[DSAP] == SAP_IP:
        return LEN
    return SNAP_LEN if p[DSAP] == SAP_SNAP and n >= SNAP_LEN and has_ethertype(p) else 0


cdef inline uint32_t ethertype(const uint8_t* p) noexcept nogil:
    """Return the EtherType of the data after the header."""
    return ipv4.ETHERTYPE if p[DSAP] == SAP_IP else be16(p + SNAP_TYPE)
