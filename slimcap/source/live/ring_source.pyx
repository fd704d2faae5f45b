"""`RingSource`: zero-copy live capture through the TPACKET_V3 ring, one or several blocks per batch."""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport TP_STATUS_LOSING
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport FLAG_LOSING, Record
from slimcap.packet.rows cimport Rows, new_rows
from slimcap.source.live.block_walker cimport reinsert_vlan_tags
from slimcap.source.live.packet_socket cimport PacketSocket

import errno

from slimcap.errors import RingExhausted, SlimcapError
from slimcap.option_set import parse
from slimcap.source.live.host.free_memory import require_memory
from slimcap.source.live.live_options import RingOptions

cdef enum:
    MIN_PACKET_SIZE = 72        # minimum in a block: header, address, one byte, padding (BlockWalker)
    TARGET_BATCH_SIZE = 1 << 18     # target for small blocks: a batch costs as much as some hundred packets
    RING_FRACTION = 8           # at most 1/8 of the ring, so that the kernel can fill the rest meanwhile


cdef class RingSource(LiveSource):
    """Capture packets from a network interface through a memory-mapped ring (TPACKET_V3), without copies.

    By default only IP packets are captured; ARP and all others require `auto_filter=False` or a `filter`.

    A batch is one block of the ring or, if blocks are small, all that are ready, up to 256 KiB and an eighth
    of the ring. Its blocks return to the kernel when the last view of the batch dies. The kernel uses blocks
    strictly in order, so a single view that is kept for long stops the ring when its block's turn comes: the
    next read then raises RingExhausted. Keep copies (`batch.copy()`), not views. A ring of one block is an
    exception: its packets are copied, because the kernel has no other block to fill meanwhile.

    Parameters
    ----------
    link : str or Link
        The interface.
    **options
        Those of `RingOptions`.

    Raises
    ------
    LinkNotFound, LinkGone
        The interface does not exist, or was removed; or the Link is that of another network namespace, was
        replaced by another interface since, or describes an interface of a capture file.
    FilterError
        The filter cannot be compiled, or is not a program that the kernel accepts.
    PermissionError
        Capturing requires CAP_NET_RAW; the message tells how to grant it.
    RingExhausted
        From calls that read: views still use the next block.
    ValueError
        An option is out of range.
    OSError
        Any other error of the kernel.

    Examples
    --------
    >>> with slimcap.RingSource("eth0", num_blocks=64) as source:
    ...     for batch in source.batches():
    ...         print(len(batch))
    """

    def __init__(self, link, **options: Unpack[RingOptions]):
        options = parse(RingOptions, options)
        block_size, num_blocks = options["block_size"], options["num_blocks"]
        if num_blocks * block_size > 1 << 40:
            raise ValueError(
                f"num_blocks must be at most {(1 << 40) // block_size} blocks of {block_size} bytes, 1 TiB, "
                f"not {num_blocks}")
        self._begin_opening()
        try:
            self._block_timeout = <int64_t> (options["block_timeout"] * 1e9)
            self._ring_options = <tuple> (block_size, num_blocks, bool(options["smaller_ring"]))
            self._open(link, options)
        finally:
            self._leave()

    cdef int _set_up(self) except -1:
        self._ring = self._open_ring()
        self._copies = Pool(self._ring.block_size) if self._ring.num_blocks == 1 else None
        self._walker = BlockWalker(self.link.type)
        self._blocks_per_batch = max(
            1, min(TARGET_BATCH_SIZE // self._ring.block_size, self._ring.num_blocks // RING_FRACTION))
        self._row_blocks = Pool(
            self._blocks_per_batch * (self._ring.block_size // MIN_PACKET_SIZE + 1) * sizeof(Record))
        return 0

    cdef Ring _open_ring(self):
        """Open the ring, with fewer blocks if allowed and necessary."""
        block_size, num_blocks, smaller = self._ring_options
        milliseconds = max(1, (self._block_timeout + 500_000) // 1_000_000)
        while True:
            try:
                require_memory(block_size * num_blocks, charged=not isinstance(self._socket, PacketSocket))
                return self._socket.open_ring(block_size, num_blocks, milliseconds)
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                if not smaller or num_blocks == 1:
                    raise OSError(
                        errno.ENOMEM,
                        f"not enough memory for a ring of {num_blocks} blocks of {block_size} bytes: "
                        f"{error.strerror}. Reduce num_blocks or block_size, or set smaller_ring=True",
                        self.link.name) from error
            num_blocks = (num_blocks + 1) // 2

    @property
    def block_size(self):
        """Size of a block of the ring in bytes; 0 once the source is closed."""
        return 0 if self._ring is None else self._ring.block_size

    @property
    def num_blocks(self):
        """Number of blocks of the ring; 0 once the source is closed."""
        return 0 if self._ring is None else self._ring.num_blocks

    cdef Rows _next_rows(self):
        cdef Rows rows
        cdef Py_ssize_t ready
        if self._walker.bad:
            raise SlimcapError("the ring contains a malformed block: close this source and open a new one")
        while ready := self._ring.count_ready(self._index, self._blocks_per_batch):
            rows = self._read_blocks(ready)
            if rows is not None:
                return rows
        if self._ring.is_lent(self._index) and not self._draining:
            raise RingExhausted(
                f"{self._ring.lent} of {self._ring.num_blocks} blocks are held by views, the next one for "
                f"{self._ring.held_for(self._index):.3f} s: delete the views of its packets, "
                "or keep batch.copy() instead")
        return None

    cdef Rows _read_blocks(self, Py_ssize_t ready):
        """Return the rows of the next `ready` blocks; None if these have no packets."""
        cdef Block records = self._row_blocks.take()
        cdef Block block = self._ring.lend(self._index, ready)
        cdef Rows rows
        cdef Py_ssize_t count
        cdef int64_t total_bytes = 0
        with nogil:
            count = self._walk_blocks(
                block.ptr, ready, <Record*> records.ptr, records.size // sizeof(Record), &total_bytes)
        self._index = (self._index + ready) % self._ring.num_blocks
        if count == 0:
            return None
        if self._copies is not None:
            block = self._copied(block)
        rows = new_rows(records, count, block, block.size, self._links)
        rows.total_bytes = total_bytes
        return rows

    cdef Block _copied(self, Block block):
        """Return a copy of a block of the ring."""
        cdef Block copy = self._copies.take()
        with nogil:
            memcpy(copy.ptr, block.ptr, block.size)
        return copy

    cdef Py_ssize_t _walk_blocks(
            self, uint8_t* p, Py_ssize_t blocks, Record* rows, Py_ssize_t capacity,
            int64_t* total_bytes) noexcept nogil:
        """Write the rows of `blocks` blocks, up to the first that is not valid; return their number.

        The sum of total_len is computed here, too, since later the rows may be out of the cache.
        """
        # Pointers, not the memoryviews of `walk`, which cost more than walking a few hundred packets.
        cdef Py_ssize_t size = self._ring.block_size
        cdef Py_ssize_t index, added, count = 0
        for index in range(blocks):
            if self.reinsert_vlan:
                reinsert_vlan_tags(p + index * size, size, self._max_len)
            self._walker.start_at(p + index * size, size)
            added = self._walker.walk_at(p + index * size, size, index * size, &rows[count], capacity - count)
            if added and self._walker.status & TP_STATUS_LOSING:
                rows[count].flags |= FLAG_LOSING
            count += added
            total_bytes[0] += <int64_t> self._walker.total_bytes
            if self._walker.bad:
                break
        return count

    cdef int64_t _delay(self) noexcept:
        # The block timer may have started just before the last packet, and be late on a busy machine.
        return 2 * self._block_timeout + NANOSECONDS

    cdef void _tear_down(self) noexcept:
        LiveSource._tear_down(self)
        self._ring = None
