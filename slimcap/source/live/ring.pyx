"""The memory-mapped TPACKET_V3 ring: blocks that alternate between the kernel and us.

    kernel fills ──(status: USER)──► we lend ──(last view dies, status: KERNEL)──► kernel fills …

The mapping lives as long as the last lent block, even after the socket is closed.
"""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint32_t, uint64_t

from slimcap.abi.atomic cimport (
    add_size,
    load_i64,
    load_u32,
    set_bits,
    store_i64,
    store_u32,
    take_bits,
)
from slimcap.abi.linux cimport (
    MAP_FAILED,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
    TP_STATUS_KERNEL,
    TP_STATUS_USER,
    c_close,
    c_mmap,
    c_munmap,
    c_write,
    tpacket_block_desc,
)
from slimcap.io.event cimport SIGNAL_RETURNED, monotonic_ns, raise_errno
from slimcap.io.owner cimport Owner


@cython.final
@cython.no_gc
cdef class Ring(Home):
    """The blocks of a socket's receive ring."""

    def __cinit__(self, Py_ssize_t block_size, Py_ssize_t num_blocks):
        self.scarce = True
        self.block_size = block_size
        self.num_blocks = num_blocks
        self.wakeup_fd = -1
        self._owner = Owner()
        self._lent = <int64_t*> PyMem_Calloc(num_blocks, sizeof(int64_t))
        if self._lent is NULL:
            raise MemoryError(f"cannot allocate the state of {num_blocks} blocks")

    cdef int map_socket(self, int fd) except -1:
        """Map the ring that was set up on a socket."""
        return self.map(MAP_SHARED, fd)

    cdef int map(self, int flags, int fd) except -1:
        cdef Py_ssize_t size = self.block_size * self.num_blocks
        cdef void* memory = c_mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0)
        if memory is MAP_FAILED:
            raise_errno("mmap", None)
        self.memory, self._mapped = <uint8_t*> memory, size
        return 0

    cdef uint32_t* _status(self, Py_ssize_t index) noexcept nogil:
        return &(<tpacket_block_desc*> (self.memory + index * self.block_size)).hdr.bh1.block_status

    cdef bint is_ready(self, Py_ssize_t index) noexcept nogil:
        """Return True if the kernel has filled the block and it is not lent."""
        return load_i64(&self._lent[index]) == 0 and load_u32(self._status(index)) & TP_STATUS_USER

    cdef bint is_lent(self, Py_ssize_t index) noexcept nogil:
        """Return True if the block has not come back yet."""
        return load_i64(&self._lent[index]) != 0

    cdef bint await_block(self, Py_ssize_t index) noexcept nogil:
        """Have the next block that is returned wake the reader; return False if this one is back already.

        Either the block was returned before, and is seen as such, or `give` sees that it is awaited.
        """
        set_bits(&self._awaited, 1)
        return self.is_lent(index)

    cdef void end_await(self) noexcept nogil:
        """Undo `await_block`."""
        take_bits(&self._awaited)

    cdef Py_ssize_t count_ready(self, Py_ssize_t index, Py_ssize_t max_count) noexcept nogil:
        """Return how many adjacent blocks from `index` on are ready, at most `max_count`."""
        cdef Py_ssize_t count = 0
        max_count = min(max_count, self.num_blocks - index)
        while count < max_count and self.is_ready(index + count):
            count += 1
        return count

    cdef Block lend(self, Py_ssize_t index, Py_ssize_t count):
        """Return adjacent ready blocks as one Block; when it dies they return to the kernel."""
        cdef Block block = Block.__new__(Block)
        cdef int64_t now = monotonic_ns()
        cdef Py_ssize_t i
        block.size = count * self.block_size
        block.home = self
        block.ptr = self.memory + index * self.block_size
        for i in range(index, index + count):
            store_i64(&self._lent[i], now)
        add_size(&self.lent, count)
        return block

    cdef void give(self, void* memory, Py_ssize_t size) noexcept:
        cdef uint64_t one = 1
        cdef Py_ssize_t first = (<uint8_t*> memory - self.memory) // self.block_size
        cdef Py_ssize_t index, count = size // self.block_size
        cdef bint forked = not self._owner.is_here()  # the memory is shared: the parent still uses the block
        for index in range(first, first + count):
            if not forked and not self._repeats:
                store_u32(self._status(index), TP_STATUS_KERNEL)
            store_i64(&self._lent[index], 0)  # last: until then the reader takes it for lent
        add_size(&self.lent, -count)
        store_i64(&self.returned_at, monotonic_ns())
        if not forked and not self._repeats and self.wakeup_fd >= 0:
            c_write(self.wakeup_fd, &one, sizeof(one))
        if take_bits(&self._awaited) and self.reader is not None:
            self.reader.raise_signal(SIGNAL_RETURNED)

    cdef void discard_ready(self) noexcept nogil:
        """Return all ready blocks to the kernel, unread."""
        cdef Py_ssize_t index
        for index in range(self.num_blocks):
            if self.is_ready(index):
                store_u32(self._status(index), TP_STATUS_KERNEL)

    cdef void repeat_first(self, Py_ssize_t num_blocks) noexcept nogil:
        """Reduce the ring to its first blocks, which are ready again as soon as they are returned."""
        self.num_blocks = num_blocks
        self._repeats = True

    cdef double held_for(self, Py_ssize_t index) noexcept:
        """Return the seconds since the block was lent."""
        return (monotonic_ns() - load_i64(&self._lent[index])) / 1e9

    def __dealloc__(self):
        if self.memory is not NULL:
            with nogil:  # for the last mapping of a closed socket the kernel waits for its other CPUs
                c_munmap(self.memory, self._mapped)
        if self._lent is not NULL and self.wakeup_fd >= 0:  # NULL: __cinit__ has failed
            c_close(self.wakeup_fd)
        PyMem_Free(self._lent)
