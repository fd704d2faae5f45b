"""Decode TPACKET_V3 blocks to rows. No system calls, no sockets.

    block_desc                    tpacket3_hdr           sockaddr_ll    packet
    | version | priv | hdr_v1 | … | next | … | mac … |48 | pkttype … | … |  tp_mac bytes after the header
                       num_pkts     └───────────────────────────────────────► next tpacket3_hdr

Blocks are written by the kernel (net/packet/af_packet.c: prb_open_block, prb_fill_curr_block, tpacket_rcv) or
by a mock. So no length is trusted: whatever points outside the block ends the walk.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport (
    TP_STATUS_VLAN_VALID,
    sockaddr_ll,
    tpacket3_hdr,
    tpacket_block_desc,
)
from slimcap.packet.record cimport FLAG_TRUNCATED, Record, set_pkt_type
from slimcap.source.live.kernel_status cimport add_status, stripped_tpid
from slimcap.wire.ethernet cimport LEN as ETHERNET_LEN, is_plain_ip
from slimcap.wire.vlan cimport LEN as VLAN_LEN, TAG_OFFSET, put_tag
from slimcap.wire.walk_link cimport LINKTYPE_ETHERNET, walk_link
from slimcap.wire.walk_result cimport LinkInfo

cdef enum:
    HEADER_LEN = 48                 # TPACKET_ALIGN(sizeof(struct tpacket3_hdr)): asserted in abi/linux.pxd
    PACKET_MIN = HEADER_LEN + 20    # with the sockaddr_ll after it


@cython.final
cdef class BlockWalker:
    """Walks over the packets of a block, and writes a row for each. One walker serves many blocks.

    Parameters
    ----------
    linktype : int
        LINKTYPE_ number of the interface, by which the IP header is found.
    """

    def __init__(self, uint32_t linktype):
        self.linktype = linktype

    def start(self, const uint8_t[::1] block):
        """Start with a block.

        Parameters
        ----------
        block : buffer of uint8, shape (block_size,)

        Raises
        ------
        RuntimeError
            Another thread is walking with this.
        """
        self._check_idle()
        self.start_at(&block[0] if block.shape[0] else NULL, block.shape[0])

    def walk(self, const uint8_t[::1] block, Record[::1] rows, uint64_t base=0):
        """Write a row for each packet of the block from `position` on, until `rows` is full.

        Parameters
        ----------
        block : buffer of uint8, shape (block_size,)
            The block that `start` was called with.
        rows : array of RECORD_DTYPE, shape (m,)
            Written to.
        base : int, default 0
            Offset of the block in the data that the rows' `offset` refers to.

        Returns
        -------
        int
            Number of rows written.

        Raises
        ------
        RuntimeError
            Another thread is walking with this.
        """
        return self._write(block, rows, base)

    cdef int _check_idle(self) except -1:
        if self._busy:
            raise RuntimeError("another thread is walking with this: one at a time")
        return 0

    cdef Py_ssize_t _write(self, const uint8_t[::1] block, Record[::1] rows, uint64_t base) except -1:
        cdef Py_ssize_t count = 0
        self._check_idle()
        if block.shape[0] and rows.shape[0]:
            self._busy = True
            with nogil:
                count = self.walk_at(&block[0], block.shape[0], base, &rows[0], rows.shape[0])
            self._busy = False
        return count

    cdef void start_at(self, const uint8_t* block, uint64_t size) noexcept nogil:
        cdef tpacket_block_desc desc
        self.position = self.remaining = self.status = 0
        self.total_bytes = 0
        self.bad = False
        if size < sizeof(desc):
            self.bad = True
            return
        memcpy(&desc, block, sizeof(desc))
        self.status = desc.hdr.bh1.block_status
        self.remaining = desc.hdr.bh1.num_pkts
        self.position = desc.hdr.bh1.offset_to_first_pkt

    cdef Py_ssize_t walk_at(
            self, const uint8_t* block, uint64_t size, uint64_t base,
            Record* rows, Py_ssize_t capacity) noexcept nogil:
        cdef const uint8_t* p = block + self.position
        cdef uint64_t remaining = size - self.position
        cdef Py_ssize_t max_count = min(capacity, <Py_ssize_t> self.remaining)
        cdef Py_ssize_t count = 0
        cdef uint32_t linktype = self.linktype
        cdef uint32_t interface = self.interface
        cdef uint64_t step, total_bytes = 0
        cdef const tpacket3_hdr* header
        if max_count and not _may_start(self.position, size):
            self.bad = True
            max_count = 0
        while count < max_count:
            header = <const tpacket3_hdr*> p
            if not _fits(header, remaining):
                self.bad = True
                break
            total_bytes += _packet(header, base + (p - block), linktype, interface, &rows[count])
            count += 1
            step = header.tp_next_offset
            # No packet follows, or at an invalid offset; a step of 0 would lead to the same packet again.
            # One comparison is enough: 0 - 1 wraps to more than any `remaining`.
            if step - 1 >= remaining - PACKET_MIN or step % 8:
                self.bad = count < self.remaining
                break
            p += step
            remaining -= step
        self.total_bytes = self.total_bytes + total_bytes
        self.remaining = 0 if self.bad else self.remaining - <uint32_t> count
        self.position = p - block if self.remaining else 0
        return count


def reinsert_tags(uint8_t[::1] block, uint32_t snaplen):
    """Put the VLAN tags that the kernel removed back into a block's packets, in place.

    The kernel leaves 14 bytes free before an Ethernet header (tpacket_rcv: tp_net is at least 16 bytes after
    the sockaddr_ll), so the two addresses can move to the left by the length of a tag. Packets that point
    outside the block are left to the walk, which comes after.

    Parameters
    ----------
    block : writable buffer of uint8, shape (block_size,)
    snaplen : int
        Maximum number of bytes of a packet, the tag included.
    """
    if block.shape[0]:
        with nogil:
            reinsert_vlan_tags(&block[0], block.shape[0], snaplen)


cdef void reinsert_vlan_tags(uint8_t* block, uint64_t size, uint32_t snaplen) noexcept nogil:
    cdef const tpacket_block_desc* desc = <const tpacket_block_desc*> block
    cdef tpacket3_hdr* header
    cdef uint64_t offset
    cdef uint32_t remaining
    if size < sizeof(tpacket_block_desc):
        return
    offset, remaining = desc.hdr.bh1.offset_to_first_pkt, desc.hdr.bh1.num_pkts
    while remaining and _in_block(block, size, offset):
        header = <tpacket3_hdr*> (block + offset)
        if (header.tp_status & TP_STATUS_VLAN_VALID and header.tp_mac >= PACKET_MIN + VLAN_LEN
                and header.tp_snaplen >= TAG_OFFSET):
            _reinsert_tag(header, snaplen)
        remaining -= 1
        if header.tp_next_offset == 0:
            break
        offset += header.tp_next_offset


cdef inline void _reinsert_tag(tpacket3_hdr* header, uint32_t snaplen) noexcept nogil:
    put_tag(<uint8_t*> header + header.tp_mac, stripped_tpid(header.tp_status, header.hv1.tp_vlan_tpid),
            <uint16_t> header.hv1.tp_vlan_tci)
    header.tp_mac -= VLAN_LEN
    header.tp_len = max(header.tp_len, header.tp_len + VLAN_LEN)
    header.tp_snaplen = max(header.tp_snaplen, min(header.tp_snaplen + VLAN_LEN, snaplen))
    header.tp_status &= ~(<uint32_t> TP_STATUS_VLAN_VALID)


cdef inline bint _in_block(const uint8_t* block, uint64_t size, uint64_t offset) noexcept nogil:
    """Return True if header, address and captured bytes of a packet are inside the block."""
    return _may_start(offset, size) and _fits(<const tpacket3_hdr*> (block + offset), size - offset)


cdef inline bint _may_start(uint64_t offset, uint64_t size) noexcept nogil:
    """Return True if a packet header can be at this offset.

    It must be 8-aligned, as the kernel aligns it; otherwise it could not be read in place.
    """
    return (sizeof(tpacket_block_desc) <= offset and offset % 8 == 0
            and offset <= size and size - offset >= PACKET_MIN)


cdef inline bint _fits(const tpacket3_hdr* header, uint64_t size) noexcept nogil:
    """Return True if the captured bytes are after the header, and end within `size` bytes from its start."""
    return header.tp_mac >= PACKET_MIN and <uint64_t> header.tp_mac + header.tp_snaplen <= size


cdef inline uint32_t _packet(
        const tpacket3_hdr* header, uint64_t offset, uint32_t linktype, uint32_t interface,
        Record* row) noexcept nogil:
    """Write the row of one packet, which must be inside its block; return its total_len."""
    # Read the whole header before writing the row: the compiler cannot know that they do not overlap.
    cdef const uint8_t* p = <const uint8_t*> header
    cdef uint64_t mac = header.tp_mac
    cdef uint32_t snaplen = header.tp_snaplen
    cdef uint32_t total_len = max(header.tp_len, snaplen)
    cdef uint32_t status = header.tp_status
    cdef int64_t timestamp = <int64_t> header.tp_sec * NANOSECONDS + header.tp_nsec
    cdef uint8_t pkt_type = (<const sockaddr_ll*> (p + HEADER_LEN)).sll_pkttype
    row.timestamp = timestamp
    row.offset = offset + mac
    row.total_len = total_len
    row.cap_len = snaplen
    set_pkt_type(row, pkt_type)
    row.flags = FLAG_TRUNCATED if snaplen < total_len else 0
    row.interface = interface
    if linktype == LINKTYPE_ETHERNET and is_plain_ip(p + mac, snaplen):
        row.ip_offset = ETHERNET_LEN
        row.vlan_tci = row.vlan_tpid = 0
    else:
        _link(linktype, p + mac, snaplen, row)
    add_status(row, status, header.hv1.tp_vlan_tci, header.hv1.tp_vlan_tpid)
    return total_len


cdef void _link(uint32_t linktype, const uint8_t* p, uint32_t n, Record* row) noexcept nogil:
    """Fill the row from a link-layer header that is not plain IP over Ethernet."""
    cdef LinkInfo info
    walk_link(linktype, p, n, &info)
    row.ip_offset = info.ip_offset
    row.vlan_tci = info.vlan_tci
    row.vlan_tpid = info.vlan_tpid
    row.flags |= info.flags
