from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.linux cimport sock_filter

cdef struct PacketMeta:
    # Metadata that the kernel keeps with a packet (struct sk_buff); fields that are missing here count as 0.
    uint32_t ifindex
    uint32_t network        # offset of the network header in the packet
    uint16_t protocol       # EtherType
    uint16_t hatype         # ARPHRD_ of the interface
    uint16_t vlan_tci       # of the VLAN tag that the kernel removed
    uint16_t vlan_tpid
    uint8_t pkt_type
    bint vlan_present       # the kernel removed a tag

cdef class Machine:
    cdef sock_filter* _steps    # checked; ancillary loads have codes of our own
    cdef Py_ssize_t _length
    cdef uint32_t _run(
        self, const uint8_t* data, uint32_t cap_len, uint32_t wire_len, const PacketMeta* meta) noexcept nogil

cdef uint32_t execute(
    const sock_filter* step, const uint8_t* data, uint32_t cap_len, uint32_t wire_len,
    const PacketMeta* meta) noexcept nogil
