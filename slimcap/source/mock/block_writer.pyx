# cython: nonecheck=False
# With nonecheck, `self.x += 1` needs the GIL.
"""Write TPACKET_V3 blocks as the kernel does, for a ring that is not filled by the kernel.

    | block_desc | tpacket3_hdr  sockaddr_ll … packet … | tpacket3_hdr … |
    0            48              + 48          + tp_mac   8-aligned, tp_next_offset after the one before

It follows prb_open_block(), tpacket_rcv(), __packet_lookup_frame_in_block(), prb_fill_curr_block() and
prb_close_block(), net/packet/af_packet.c. Only the two sides of the ring access a block's status.
"""
cimport cython
from libc.string cimport memcpy, memset

from slimcap.abi.atomic cimport load_u32, store_u32
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    TP_STATUS_KERNEL,
    TP_STATUS_LOSING,
    TP_STATUS_USER,
    TPACKET_V3,
    sockaddr_ll,
)
from slimcap.io.event cimport monotonic_ns

cdef enum:
    FIRST_OFFSET = 48   # BLK_PLUS_PRIV(0)
    HEADER_LEN = 48     # TPACKET_ALIGN(sizeof(struct tpacket3_hdr))
    NETWORK = 96        # TPACKET_ALIGN(HEADER_LEN + sizeof(struct sockaddr_ll) + 16)


@cython.final
@cython.no_gc
cdef class BlockWriter:
    """The kernel's side of a ring. Calls of two threads must not overlap.

    Parameters
    ----------
    ring : Ring
        The ring to write to; its memory must be mapped.
    """

    def __cinit__(self, Ring ring):
        self.ring = ring

    cdef tpacket_block_desc* _block(self) noexcept nogil:
        return self._block_at(self.index)

    cdef tpacket_block_desc* _block_at(self, Py_ssize_t index) noexcept nogil:
        return <tpacket_block_desc*> (self.ring.memory + index * self.ring.block_size)

    cdef bint has_space(self) noexcept nogil:
        """Return True if a packet that is no longer than those before would be accepted."""
        if not self.open:
            return self._is_free(self.index)
        if self._offset + self._max_size < self.ring.block_size:
            return True
        return self.ring.num_blocks > 1 and self._is_free((self.index + 1) % self.ring.num_blocks)

    cdef bint _is_free(self, Py_ssize_t index) noexcept nogil:
        return load_u32(&self._block_at(index).hdr.bh1.block_status) == TP_STATUS_KERNEL

    cdef bint add(self, const Arrival* packet, int ifindex, uint16_t hatype, bint losing) noexcept nogil:
        """Write a packet; return False if every block is full."""
        cdef int64_t max_len = self.ring.block_size - FIRST_OFFSET - (NETWORK - packet.maclen)
        cdef uint32_t snaplen = <uint32_t> min(<int64_t> packet.cap_len, max(max_len, <int64_t> 0))
        cdef int64_t size = _aligned(NETWORK - packet.maclen + <int64_t> snaplen)
        self._max_size = max(self._max_size, size)
        if self.open and self._offset + size >= self.ring.block_size:
            self.retire(losing)
        if not self.open and not self._open_block():
            return False
        self._write(packet, snaplen, ifindex, hatype)
        return True

    cdef bint _open_block(self) noexcept nogil:
        cdef tpacket_block_desc* block = self._block()
        if not self._is_free(self.index):
            if not self.frozen:
                self.frozen = True
                self.freezes += 1
            return False
        self._sequence += 1
        block.version = TPACKET_V3
        block.offset_to_priv = FIRST_OFFSET
        block.hdr.bh1.num_pkts = 0
        block.hdr.bh1.offset_to_first_pkt = FIRST_OFFSET
        block.hdr.bh1.blk_len = FIRST_OFFSET
        block.hdr.bh1.seq_num = self._sequence
        self.opened_at = monotonic_ns()
        self.open, self.frozen = True, False
        self._offset = FIRST_OFFSET
        self._last = NULL
        return True

    cdef void retire(self, bint losing) noexcept nogil:
        """Hand over the open block."""
        cdef tpacket_block_desc* block = self._block()
        if self.open:
            self.open = False
            self.index = (self.index + 1) % self.ring.num_blocks
            store_u32(&block.hdr.bh1.block_status, TP_STATUS_USER | (TP_STATUS_LOSING if losing else 0))

    cdef bint add_empty(self) noexcept nogil:
        """Hand over a block without packets; return False if every block is full.

        Current kernels never do that.
        """
        self.retire(False)
        if not self._open_block():
            return False
        self.retire(False)
        return True

    cdef Py_ssize_t filled(self) noexcept nogil:
        """Return the number of blocks to be read, from the ring's first one on; 0 if none has a packet."""
        cdef Py_ssize_t count = 0
        cdef bint found = False
        while count < self.ring.num_blocks and self.ring.is_ready(count):
            found |= self._block_at(count).hdr.bh1.num_pkts > 0
            count += 1
        return count if found else 0

    cdef void _write(
            self, const Arrival* packet, uint32_t snaplen, int ifindex, uint16_t hatype) noexcept nogil:
        cdef tpacket_block_desc* block = self._block()
        cdef uint8_t* p = <uint8_t*> block + self._offset
        cdef tpacket3_hdr* header = <tpacket3_hdr*> p
        cdef uint32_t mac = NETWORK - packet.maclen
        memset(p, 0, mac)
        header.tp_sec = <uint32_t> (packet.timestamp // NANOSECONDS)
        header.tp_nsec = <uint32_t> (packet.timestamp % NANOSECONDS)
        header.tp_snaplen, header.tp_len = snaplen, packet.total_len
        header.tp_status = TP_STATUS_USER | packet.status
        header.tp_mac, header.tp_net = <uint16_t> mac, NETWORK
        header.hv1.tp_vlan_tci, header.hv1.tp_vlan_tpid = packet.vlan_tci, packet.vlan_tpid
        write_address(<sockaddr_ll*> (p + HEADER_LEN), packet, ifindex, hatype)
        memcpy(p + mac, packet.data, snaplen)
        if self._last is not NULL:
            self._last.tp_next_offset = <uint32_t> (p - <uint8_t*> self._last)
        self._last = header
        self._offset += <uint32_t> _aligned(mac + <int64_t> snaplen)
        block.hdr.bh1.num_pkts += 1
        block.hdr.bh1.blk_len = self._offset


cdef inline int64_t _aligned(int64_t size) noexcept nogil:
    return (size + 7) & ~<int64_t> 7
