from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from slimcap.abi.bytes cimport network16
from slimcap.abi.linux cimport AF_PACKET, sockaddr_ll, tpacket3_hdr, tpacket_block_desc
from slimcap.source.live.ring cimport Ring

cdef struct Arrival:
    # A packet as the kernel has it when it reaches a socket: without the VLAN tag, which was removed.
    const uint8_t* data
    uint32_t cap_len            # bytes that the filter accepts
    uint32_t total_len
    int64_t timestamp
    uint32_t status             # TP_STATUS_ bits
    uint16_t vlan_tci, vlan_tpid
    uint16_t maclen             # offset of the network header
    uint16_t protocol           # EtherType
    uint8_t pkt_type

cdef inline void write_address(
        sockaddr_ll* address, const Arrival* packet, int ifindex, uint16_t hatype) noexcept nogil:
    """Write the kernel's description of a packet's interface and type, to zeroed memory."""
    address.sll_family, address.sll_ifindex, address.sll_hatype = AF_PACKET, ifindex, hatype
    address.sll_protocol, address.sll_pkttype = network16(packet.protocol), packet.pkt_type

cdef class BlockWriter:
    cdef Ring ring
    cdef Py_ssize_t index               # of the open block or, if none is open, the next one
    cdef uint64_t freezes
    cdef bint open
    cdef bint frozen                    # there was no free block
    cdef int64_t opened_at              # monotonic ns
    cdef uint64_t _sequence
    cdef uint32_t _offset               # offset in the block of the next packet's header
    cdef int64_t _max_size              # maximum bytes of a packet so far
    cdef tpacket3_hdr* _last            # the previous packet in the block, or NULL
    cdef tpacket_block_desc* _block(self) noexcept nogil
    cdef tpacket_block_desc* _block_at(self, Py_ssize_t index) noexcept nogil
    cdef bint has_space(self) noexcept nogil
    cdef bint _is_free(self, Py_ssize_t index) noexcept nogil
    cdef bint add(self, const Arrival* packet, int ifindex, uint16_t hatype, bint losing) noexcept nogil
    cdef bint _open_block(self) noexcept nogil
    cdef void retire(self, bint losing) noexcept nogil
    cdef bint add_empty(self) noexcept nogil
    cdef Py_ssize_t filled(self) noexcept nogil
    cdef void _write(
        self, const Arrival* packet, uint32_t snaplen, int ifindex, uint16_t hatype) noexcept nogil
