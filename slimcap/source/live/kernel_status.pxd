"""The kernel's metadata of a packet, the same in a ring's header and in PACKET_AUXDATA.

They are TP_STATUS_ bits, and the VLAN tag that the kernel removed, the outermost one.
"""
from libc.stdint cimport uint16_t, uint32_t

from slimcap.abi.linux cimport (
    TP_STATUS_CSUMNOTREADY,
    TP_STATUS_CSUM_VALID,
    TP_STATUS_GSO_TCP,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
)
from slimcap.packet.record cimport (
    FLAG_CHECKSUM_NOT_READY,
    FLAG_CHECKSUM_VALID,
    FLAG_GSO,
    FLAG_VLAN,
    FLAG_VLAN_STRIPPED,
    Record,
)
from slimcap.wire.vlan cimport TPID_CUSTOMER


cdef inline uint16_t stripped_tpid(uint32_t status, uint16_t tpid) noexcept nogil:
    return tpid if status & TP_STATUS_VLAN_TPID_VALID else TPID_CUSTOMER


cdef inline void add_status(Record* row, uint32_t status, uint32_t tci, uint16_t tpid) noexcept nogil:
    """Add the metadata to a row that is filled from the packet's bytes."""
    if not status & (
            TP_STATUS_VLAN_VALID | TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID | TP_STATUS_GSO_TCP):
        return
    if status & TP_STATUS_VLAN_VALID:
        row.flags |= FLAG_VLAN | FLAG_VLAN_STRIPPED
        row.vlan_tci = <uint16_t> tci
        row.vlan_tpid = stripped_tpid(status, tpid)
    if status & TP_STATUS_CSUMNOTREADY:
        row.flags |= FLAG_CHECKSUM_NOT_READY
    if status & TP_STATUS_CSUM_VALID:
        row.flags |= FLAG_CHECKSUM_VALID
    if status & TP_STATUS_GSO_TCP:
        row.flags |= FLAG_GSO
