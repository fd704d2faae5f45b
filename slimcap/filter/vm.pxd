from libc.stdint cimport uint8_t, uint16_t, uint32_t

from slimcap.abi.linux cimport sock_filter

cdef struct PacketMeta:
    # What the kernel knows of a packet beside its bytes (struct sk_buff); what is not here counts as 0.
    uint32_t ifindex
    uint32_t network        # where the network header starts in the packet
    uint16_t protocol       # EtherType
    uint16_t hatype         # ARPHRD_ of the interface
    uint16_t vlan_tci       # of the tag that the kernel took out
    uint16_t vlan_tpid
    uint8_t pkt_type
    bint vlan_present       # it took one out

cdef class Machine:
    cdef sock_filter* _steps    # checked; `code` of an ancillary load is one of its own
    cdef Py_ssize_t _length
    cdef uint32_t _run(
        self, const uint8_t* data, uint32_t cap_len, uint32_t wire_len, const PacketMeta* meta) noexcept nogil

cdef uint32_t execute(
    const sock_filter* step, const uint8_t* data, uint32_t cap_len, uint32_t wire_len,
    const PacketMeta* meta) noexcept nogil
