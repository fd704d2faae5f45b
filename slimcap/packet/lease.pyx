"""Memory on loan, given back when its last view dies.

    Home ──take()──► Block ◄── Hold ◄── Lease
      ▲                │        ▲
      └─ at its death ─┘        └── View, Packet, numpy array …

References point to the left only. A `Block` is a piece of memory; its death gives the memory back. A `Lease`
is what a batch has of it; all that shows the memory refers to the lease's `Hold`. So the hold's reference
count tells how many views are open, which lets `release()` refuse while there are any, and costs a view
nothing.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)  # of a pointer: an object would be one reference more


@cython.no_gc
cdef class Home:
    """Where blocks come from and go back to: a pool, or the ring that the kernel fills."""

    cdef void give(self, void* memory, Py_ssize_t size) noexcept:
        """Take back the memory of a block that died."""


@cython.final
@cython.no_gc
cdef class Pool(Home):
    """Memory in pieces of one size, kept for the next taker:
    fresh megabytes cost a page fault every 4 KiB."""

    def __cinit__(self, Py_ssize_t size):
        self.size = size

    cdef Block take(self):
        """A piece: the one given back last if there is one, as it was, since it is still in the cache."""
        cdef Block block
        if self._count == 0:
            block = new_block(self.size)
        else:
            block = Block.__new__(Block)
            self._count -= 1
            block.ptr = <uint8_t*> self._free[self._count]
            block.size = self.size
        block.home = self
        return block

    cdef void give(self, void* memory, Py_ssize_t size) noexcept:
        if self._count < POOL_KEEP:
            self._free[self._count] = memory
            self._count += 1
        else:
            PyMem_RawFree(memory)

    def __dealloc__(self):
        while self._count:
            self._count -= 1
            PyMem_RawFree(self._free[self._count])


cdef Block new_block(Py_ssize_t size):
    """A piece of memory of its own, freed at its death; cleared, as some may be seen before it is written."""
    cdef Block block = Block.__new__(Block)
    block.ptr = <uint8_t*> PyMem_RawCalloc(1, size)
    if block.ptr is NULL:
        raise MemoryError(f"cannot allocate {size} bytes")
    block.size = size
    return block


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class Block:
    """One piece of memory; goes back to its home when the last reference dies."""

    cdef int resize(self, Py_ssize_t size) except -1:
        """Change the size of a block without a pool that nobody has a lease on; the content stays."""
        cdef void* memory = PyMem_RawRealloc(self.ptr, size)
        if memory is NULL:
            raise MemoryError(f"cannot allocate {size} bytes")
        self.ptr = <uint8_t*> memory
        self.size = size
        return 0

    def __dealloc__(self):
        if self.ptr is NULL:
            return
        if self.home is None:
            PyMem_RawFree(self.ptr)
        else:
            self.home.give(self.ptr, self.size)

    # Writable, for what fills the block; readers get a Lease.
    def __getbuffer__(self, Py_buffer* buffer, int flags):
        export_bytes(buffer, self, self.ptr, self.size, False, flags)


@cython.final
cdef class Window:
    """Part of a block, for a Python file object to read into or write. Whoever keeps it keeps the block."""

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        export_bytes(buffer, self, self._ptr, self._size, self._readonly, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.exports -= 1


cdef Window new_window(Block block, Py_ssize_t at, Py_ssize_t size, bint readonly):
    """A window on `block[at:at + size]`, which is within it."""
    cdef Window window = Window.__new__(Window)
    window._ptr, window._size, window._block, window._readonly = block.ptr + at, size, block, readonly
    return window


@cython.final
@cython.no_gc_clear
@cython.freelist(16)
cdef class Borrowed:
    """A buffer of some Python object, held until this dies."""

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


@cython.final
@cython.no_gc_clear  # __dealloc__ needs the owner
@cython.freelist(64)
cdef class Hold:
    """Keeps the owner of a lease's memory alive, for the lease and for each of its views."""

    def __dealloc__(self):
        if type(self.owner) is Block:
            (<Block> self.owner).holds -= 1


cdef Hold _hold(object owner):
    cdef Hold hold = Hold.__new__(Hold)
    hold.owner = owner
    if type(owner) is Block:
        (<Block> owner).holds += 1
    return hold


@cython.final
@cython.freelist(64)
cdef class Lease:
    """Read-only memory on loan to whoever looks at it.

    It is a buffer (`memoryview(lease)`, `numpy.frombuffer(lease, "u1")`); everything made from it keeps it
    alive.

    Parameters
    ----------
    source : buffer
        Any C-contiguous object with the buffer protocol; the lease holds on to it.

    Raises
    ------
    TypeError, BufferError
        `source` is no (contiguous) buffer.
    """

    def __init__(self, source):
        cdef Borrowed borrowed = borrow(source, False)
        self.release()
        _point(self, borrowed)

    @property
    def nbytes(self):
        """Size in bytes; 0 once released."""
        return self._size

    @property
    def exports(self):
        """Number of views of this memory that are open."""
        return self._views()

    @property
    def released(self):
        """Whether the memory went back by `release()`."""
        return self.hold is None

    def release(self):
        """Give the memory back now; a second call does nothing.

        Raises
        ------
        BufferError
            Views of it are still open.
        """
        views = self._views()
        if views:
            raise BufferError(f"this memory has open views ({views}): drop them first, or copy what you keep")
        self.hold = None
        self._ptr = NULL
        self._size = 0

    cdef int check(self) except -1:
        """Raise if the memory was given back."""
        if self.hold is None:
            raise ValueError("this memory was released")
        return 0

    cdef Py_ssize_t _views(self) noexcept:
        """References to the hold that are not ours, and buffers, which keep the lease itself alive."""
        return self._buffers if self.hold is None else Py_REFCNT(<PyObject*> self.hold) - 1 + self._buffers

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        self.check()
        export_bytes(buffer, self, self._ptr, self._size, True, flags)
        self._buffers += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self._buffers -= 1

    def __repr__(self):
        state = "released" if self.hold is None else f"{self._size} bytes, {self._views()} views"
        return f"<Lease: {state}>"


cdef Lease lease_block(Block block, Py_ssize_t size):
    """A lease on the first `size` bytes of a block."""
    cdef Lease lease = Lease.__new__(Lease)
    lease._ptr = block.ptr
    lease._size = size
    lease.hold = _hold(block)
    lease.scarce = block.home is not None and block.home.scarce
    return lease


cdef Lease lease_buffer(object source):
    """A lease on the buffer of a Python object: `source` cannot be resized as long as it lives."""
    cdef Lease lease = Lease.__new__(Lease)
    _point(lease, borrow(source, False))
    return lease


cdef Borrowed borrow(object source, bint writable):
    """The C-contiguous buffer of an object."""
    cdef Borrowed borrowed = Borrowed.__new__(Borrowed)
    PyObject_GetBuffer(source, &borrowed.buffer, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
    borrowed.held = True
    return borrowed


cdef int _point(Lease lease, Borrowed borrowed) except -1:
    lease._ptr = <const uint8_t*> borrowed.buffer.buf
    lease._size = borrowed.buffer.len
    lease.hold = _hold(borrowed)
    return 0
