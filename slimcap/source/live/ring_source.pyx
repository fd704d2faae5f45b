"""`RingSource`: live capture through the TPACKET_V3 ring, a block or some small ones a batch, not copied."""
from libc.stdint cimport int64_t, uint8_t

from slimcap.abi.linux cimport TP_STATUS_LOSING
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport FLAG_LOSING, Record
from slimcap.source.live.block_walker cimport put_tags_back

import errno
import os

from slimcap.errors import RingExhausted, SlimcapError

cdef enum:
    NANOSECONDS = 1_000_000_000
    BYTES_A_PACKET = 72         # of a block, at least: header, address, a byte, padding (BlockWalker)
    BYTES_A_BATCH = 1 << 18     # of small blocks: a batch itself costs as much as a few hundred packets
    PART_OF_RING = 8            # and one part in so many: the rest is for the kernel to fill meanwhile


cdef class RingSource(LiveSource):
    """Packets from a network interface, through a ring of memory that the kernel fills.

    A batch is one block of the ring, or, of many small ones, those that are ready, up to 256 KiB and an
    eighth of the ring. They go back to the kernel when the last view of the batch dies; the kernel takes
    blocks strictly in order, so one view that is kept for long stops the ring when its block's turn comes
    round: the next read then raises RingExhausted. Keep copies (`batch.copy()`), not views.

    Parameters
    ----------
    link : str or Link
        The interface.
    snaplen : int or strategy
        Most bytes to capture of a packet, or a strategy of `slimcap.filter`.
    promiscuous : bool
        Receive what is for other hosts, too.
    filter : str or sequence of (code, jt, jf, k), optional
        A tcpdump expression or a classic BPF program: what passes is captured.
    auto_filter : bool
        Without a filter, capture IP packets only. False: everything.
    ignore_vlans : bool
        Leave out packets with a VLAN tag.
    reinsert_vlan : bool
        Put back the tag that the kernel took out, so that bytes and lengths are those of the wire.
    direction : {"both", "in", "out"}
        Which packets: all, those that this host received, or those that it sent.
    block_size, num_blocks : int
        The ring: bytes of a block, a multiple of the page size, and number of blocks. Every `block_timeout`
        uses up a block, however few packets it holds: many blocks are patience, large ones are not.
    block_timeout : float
        Seconds after which the kernel hands over a block that is not full: the longest delay of a packet.
    smaller_ring : bool
        Halve `num_blocks` until there is memory for the ring, instead of raising OSError (ENOMEM).
    timeout : float, optional
        Seconds that a read waits at most.
    link_down : {"wait", "raise"}
        What a read does while the interface is down: wait until it is up again, or raise LinkDown.

    Raises
    ------
    LinkNotFound, LinkGone
        There is no such interface, or it vanished.
    FilterError
        The filter cannot be compiled, or is no program the kernel takes.
    PermissionError
        Capturing needs CAP_NET_RAW; the message says how to get it.
    RingExhausted
        From reads: the next block is still on loan.
    ValueError, OSError
        An option that cannot be, and whatever else the kernel refuses.
    """

    def __init__(
            self, link, *, snaplen=262144, promiscuous=False, filter=None, auto_filter=True,
            ignore_vlans=False, reinsert_vlan=False, direction="both", block_size=1 << 20, num_blocks=16,
            block_timeout=0.01, smaller_ring=False, timeout=None, link_down="wait"):
        _check_options(block_size, num_blocks, block_timeout)
        self._block_timeout = <int64_t> (block_timeout * 1e9)
        self._ring_options = <tuple> (block_size, num_blocks, bool(smaller_ring))
        self._open(link, {
            "snaplen": snaplen, "promiscuous": promiscuous, "filter": filter, "auto_filter": auto_filter,
            "ignore_vlans": ignore_vlans, "reinsert_vlan": reinsert_vlan, "direction": direction,
            "timeout": timeout, "link_down": link_down})

    cdef int _set_up(self) except -1:
        self._ring = self._open_ring()
        self._walker = BlockWalker(self.link.type)
        self._blocks_a_batch = max(
            1, min(BYTES_A_BATCH // self._ring.block_size, self._ring.num_blocks // PART_OF_RING))
        self._row_blocks = Pool(
            self._blocks_a_batch * (self._ring.block_size // BYTES_A_PACKET + 1) * sizeof(Record))
        return 0

    cdef Ring _open_ring(self):
        """The ring that was asked for, or one of half as many blocks until there is memory for it."""
        block_size, num_blocks, smaller = self._ring_options
        milliseconds = max(1, (self._block_timeout + 500_000) // 1_000_000)
        while True:
            try:
                return self._socket.open_ring(block_size, num_blocks, milliseconds)
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                if not smaller or num_blocks == 1:
                    raise OSError(
                        errno.ENOMEM,
                        f"no memory for a ring of {num_blocks} blocks of {block_size} bytes: give a smaller "
                        "num_blocks or block_size, or smaller_ring=True", self.link.name) from error
            num_blocks = (num_blocks + 1) // 2

    @property
    def block_size(self):
        """Bytes of a block of the ring; 0 once it is closed."""
        return 0 if self._ring is None else self._ring.block_size

    @property
    def num_blocks(self):
        """Number of blocks of the ring; 0 once it is closed."""
        return 0 if self._ring is None else self._ring.num_blocks

    cdef bint _next_rows(self) except -1:
        cdef Py_ssize_t ready
        if self._walker.bad:
            raise SlimcapError("the ring holds a block that makes no sense: close this source, open another")
        while ready := self._ring.count_ready(self._index, self._blocks_a_batch):
            if self._take(ready):
                return True
        if self._ring._lent[self._index] and not self._draining:
            raise RingExhausted(
                f"{self._ring.lent} of {self._ring.num_blocks} blocks are on loan, the next one for "
                f"{self._ring.held_for(self._index):.3f} s: drop the views of its packets, "
                "or keep batch.copy() instead")
        return False

    cdef bint _take(self, Py_ssize_t ready) except -1:
        """Make the next blocks, which are ready, the current ones; False if there is no packet in them."""
        cdef Block rows = self._row_blocks.take()
        cdef Block block = self._ring.lend(self._index, ready)
        cdef Py_ssize_t count
        cdef int64_t total_bytes = 0
        with nogil:
            count = self._walk_blocks(
                block.ptr, ready, <Record*> rows.ptr, rows.size // sizeof(Record), &total_bytes)
        self._index = (self._index + ready) % self._ring.num_blocks
        if count == 0:
            return False
        self._show(rows, count, block, block.size)
        self._total_bytes = total_bytes
        return True

    cdef Py_ssize_t _walk_blocks(
            self, uint8_t* p, Py_ssize_t blocks, Record* rows, Py_ssize_t room,
            int64_t* total_bytes) noexcept nogil:
        """Write the rows of so many blocks, up to the first that makes no sense; how many rows that are.

        Adds up the packets' bytes, too, since later the rows may be out of the cache.
        """
        # Pointers where `walk` has memoryviews, which would cost more than the walk of a few hundred packets.
        cdef Py_ssize_t size = self._ring.block_size
        cdef Py_ssize_t index, more, count = 0
        for index in range(blocks):
            if self.reinsert_vlan:
                put_tags_back(p + index * size, size, self._most)
            self._walker._start(p + index * size, size)
            more = self._walker._walk(p + index * size, size, index * size, &rows[count], room - count)
            if more and self._walker.status & TP_STATUS_LOSING:
                rows[count].flags |= FLAG_LOSING
            count += more
            total_bytes[0] += <int64_t> self._walker.total_bytes
            if self._walker.bad:
                break
        return count

    cdef int64_t _delay(self) noexcept:
        # The timer may just have begun when the last packet came; and a busy machine may be late with it.
        return 2 * self._block_timeout + NANOSECONDS

    cdef void _tear_down(self) noexcept:
        LiveSource._tear_down(self)
        self._ring = None


cdef int _check_options(object block_size, object num_blocks, object block_timeout) except -1:
    """Raise ValueError for what cannot be, before the kernel says no more than EINVAL."""
    page = os.sysconf("SC_PAGESIZE")
    if block_size <= 0 or block_size % page or block_size >= 1 << 31:
        raise ValueError(f"block_size is a multiple of the page size, {page}, below 2 GiB: not {block_size}")
    if num_blocks <= 0 or num_blocks * block_size > 1 << 40:
        raise ValueError(f"num_blocks is from 1 on, and the ring below 1 TiB: not {num_blocks}")
    if not 0 < block_timeout <= 3600:
        raise ValueError(f"block_timeout is from above 0 to 3600 seconds, not {block_timeout}")
    return 0
