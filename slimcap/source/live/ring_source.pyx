"""`RingSource`: zero-copy live capture through the TPACKET_V3 ring, one or several blocks per batch."""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from slimcap.abi.atomic cimport clear_bits, load_bits, load_i64
from slimcap.abi.clock cimport NANOSECONDS
from slimcap.abi.linux cimport TP_STATUS_LOSING
from slimcap.io.event cimport NEVER, SIGNAL_RETURNED, monotonic_ns
from slimcap.packet.lease cimport Block
from slimcap.packet.record cimport FLAG_LOSING, Record
from slimcap.packet.rows cimport Rows, new_rows
from slimcap.source.live.block_walker cimport reinsert_vlan_tags
from slimcap.source.live.packet_socket cimport PacketSocket

import errno

from slimcap.errors import RingExhausted, SlimcapError
from slimcap.option_set import parse
from slimcap.source.live.host.free_memory import require_memory
from slimcap.source.live.live_options import RingOptions, ring_shape

cdef enum:
    MIN_PACKET_SIZE = 72        # minimum in a block: header, address, one byte, padding (BlockWalker)
    TARGET_BATCH_SIZE = 1 << 18     # target for small blocks: a batch costs as much as some hundred packets
    RING_FRACTION = 8           # at most 1/8 of the ring, so that the kernel can fill the rest meanwhile
    HELD_LIMIT = 2 * NANOSECONDS    # how long a read waits if no block comes back


cdef class RingSource(LiveSource):
    """Capture packets from a network interface through a memory-mapped ring (TPACKET_V3), without copies.

    By default only IP packets are captured; ARP and all others require `auto_filter=False` or a `filter`.

    While the program does something else, packets wait in the ring; once it is full, they are dropped and
    counted. It is full after `buffer` bytes of packets, with 90 bytes of headers each, and also after
    `buffer` / 512 KiB periods of `latency`, as each period uses up at least one block. So the default ring
    lasts for a pause of 2.5 s at low rates, and of 1 s at 100,000 packets per second of 350 bytes.

    A batch is one block of the ring or, if blocks are small, all that are ready, up to 256 KiB and an eighth
    of the ring. Its blocks return to the kernel when the last view of the batch dies. The kernel uses blocks
    strictly in order, so a single view that is kept for long stops the ring when its block's turn comes. A
    read then waits for that block, which another thread may release, and raises TimeoutError after its
    `timeout`. If no block came back for 2 seconds since the first such read, it raises RingExhausted: a
    thread that waits for its own views would wait forever. Keep copies (`batch.copy()`), not views. A ring of
    one block is an exception: its packets are copied, because the kernel has no other block to fill.

    Parameters
    ----------
    link : str or Link
        The interface. A Link with `netns` is opened in that network namespace.
    **options
        Those of `RingOptions`.

    Raises
    ------
    LinkNotFound, LinkGone
        The interface or the network namespace does not exist, or was removed; or the Link is that of another
        network namespace, was replaced by another interface since, or describes an interface of a capture
        file.
    LinkError
        `netns` is not a network namespace.
    FilterError
        The filter cannot be compiled, or is not a program that the kernel accepts.
    PermissionError
        Capturing requires CAP_NET_RAW, and entering a network namespace CAP_SYS_ADMIN; the message tells how
        to grant it.
    RingExhausted
        From calls that read: views hold the next block, and no block came back for 2 seconds; with
        `ring_exhausted="raise"`, at once.
    ValueError
        An option is out of range, or two options exclude each other.
    OSError
        Any other error of the kernel.

    Examples
    --------
    >>> with slimcap.RingSource("eth0", buffer="256MiB") as source:
    ...     for batch in source.batches():
    ...         print(len(batch))
    """

    def __init__(self, link, **options: Unpack[RingOptions]):
        options = parse(RingOptions, options)
        shape = ring_shape(options)
        self._begin_opening()
        try:
            self._shape, self._block_timeout = shape, shape.timeout_ms * <int64_t> 1_000_000
            self._smaller = options["smaller_ring"]
            self._raise_exhausted = options["ring_exhausted"] == "raise"
            self._open(link, options)
        finally:
            self._leave()

    cdef int _set_up(self) except -1:
        self._ring = self._open_ring()
        self._ring.reader = self._event
        self._copies = Pool(self._ring.block_size) if self._ring.num_blocks == 1 else None
        self.walker = BlockWalker(self.link.type)
        self._blocks_per_batch = max(
            1, min(TARGET_BATCH_SIZE // self._ring.block_size, self._ring.num_blocks // RING_FRACTION))
        self._row_blocks = Pool(
            self._blocks_per_batch * (self._ring.block_size // MIN_PACKET_SIZE + 1) * sizeof(Record))
        return 0

    cdef Ring _open_ring(self):
        """Open the ring, with fewer blocks if allowed and necessary."""
        block_size, num_blocks, timeout_ms = self._shape
        while True:
            try:
                require_memory(block_size * num_blocks, charged=not isinstance(self.socket, PacketSocket))
                return self.socket.open_ring(block_size, num_blocks, timeout_ms)
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                if not self._smaller or num_blocks == 1:
                    raise OSError(
                        errno.ENOMEM,
                        f"not enough memory for a ring of {num_blocks} blocks of {block_size} bytes: "
                        f"{error.strerror}. Give a smaller buffer or fewer blocks, or set smaller_ring=True",
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

    @property
    def latency(self):
        """Maximum delay of a packet in seconds, while the reader waits for it."""
        return self._block_timeout / 1e9

    cdef Rows _next_rows(self):
        cdef Rows rows
        cdef Py_ssize_t ready
        if self.walker.bad:
            raise SlimcapError("the ring contains a malformed block: close this source and open a new one")
        if self._ring is None:  # closed, but still in a group
            return None
        while not self.is_held():
            ready = self._ring.count_ready(self._index, self._blocks_per_batch)
            if ready == 0:
                return None
            rows = self._read_blocks(ready)
            if rows is not None:
                return rows
        if self._raise_exhausted and not self.draining:
            raise RingExhausted(self._held_text())
        return None

    cdef bint is_held(self) noexcept:
        """Return True if views hold the next block; `_held_since` is then the time when that was first seen.
        """
        if load_bits(self._signal) & SIGNAL_RETURNED:
            clear_bits(self._signal, SIGNAL_RETURNED)
        if self._ring is None or not self._ring.is_lent(self._index):
            self._held_since = 0
        elif self._held_since == 0:
            self._held_since = monotonic_ns()
        return self._held_since != 0

    cdef str _held_text(self):
        return (
            f"{self._ring.lent} of {self._ring.num_blocks} blocks are held by views, the next one for "
            f"{self._ring.held_for(self._index):.3f} s: delete the views of its packets, "
            "or keep batch.copy() instead")

    cdef int _wait(self, int64_t deadline) except -1:
        if self._held_since and not self.draining:
            return self._wait_for_block(deadline)
        return LiveSource._wait(self, deadline)

    cdef int _wait_for_block(self, int64_t deadline) except -1:
        """Wait until a block comes back, as the next one is held by views.

        Another thread may release them. If none does, no packets will ever come: raise RingExhausted.
        """
        cdef int64_t limit = self.held_limit()
        try:
            if self._ring.await_block(self._index):
                self._event.wait(-1, 0, limit if deadline == NEVER else min(limit, deadline))
        except TimeoutError:
            self.check_held()
            if deadline != NEVER and deadline <= monotonic_ns():
                raise TimeoutError(f"no packet arrived within the timeout: {self._held_text()}") from None
        finally:
            self._ring.end_await()
        return 0

    cdef int check_held(self) except -1:
        """Raise RingExhausted if the next block has been held for too long."""
        if self.is_held() and self.held_limit() <= monotonic_ns():
            raise RingExhausted(self._held_text()) from None
        return 0

    cdef int64_t held_limit(self) noexcept:
        """Return when waiting for a block ends unless one comes back, monotonic ns."""
        return max(self._held_since, load_i64(&self._ring.returned_at)) + HELD_LIMIT

    cdef bint _may_have_more(self) noexcept:
        # In this order: a block that is handed over after the first is reported.
        return LiveSource._may_have_more(self) or self._ring is None or self.walker.bad or (
            self._ring.is_lent(self._index) or self._ring.is_ready(self._index))

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
                reinsert_vlan_tags(p + index * size, size, self.max_len)
            self.walker.start_at(p + index * size, size)
            added = self.walker.walk_at(p + index * size, size, index * size, &rows[count], capacity - count)
            if added and self.walker.status & TP_STATUS_LOSING:
                rows[count].flags |= FLAG_LOSING
            count += added
            total_bytes[0] += <int64_t> self.walker.total_bytes
            if self.walker.bad:
                break
        return count

    cdef int64_t _delay(self) noexcept:
        # The block timer may have started just before the last packet, and be late on a busy machine.
        return 2 * self._block_timeout + NANOSECONDS

    cdef void _tear_down(self) noexcept:
        LiveSource._tear_down(self)
        self._ring = None
