"""Leases: memory that is returned to its owner when the last view of it is deallocated.

    Home ──take()──► Block ◄── Hold ◄── Lease
      ▲                │       ▲  ▲
      └─ deallocated ──┘       │  └── View, Packet, numpy array …
                               └── Hold ◄── Lease on some of this memory, such as that of a sub-batch

References point to the left only. A `Block` owns a piece of memory and returns it when deallocated. A batch
has a `Lease` on it; everything that shows the memory refers to the lease's `Hold`. So the hold's reference
count is the number of open views, at no cost for a view, and `release()` can refuse while there are any.

A lease on memory of another lease has another hold, which refers to the hold of the memory's owner, never to
one between them: a batch of a batch of a batch … is as quick to free as a batch.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject

from slimcap.abi.atomic cimport add_size
from slimcap.abi.python cimport Py_REFCNT

import numpy as np


@cython.no_gc
cdef class Home:
    """Owner of the memory of blocks: a pool, or the ring that the kernel fills."""

    cdef void give(self, void* memory, Py_ssize_t size) noexcept:
        """Take back the memory of a deallocated block."""


@cython.final
@cython.no_gc
cdef class Pool(Home):
    """A pool of equally sized buffers.

    Buffers are reused because newly allocated megabytes cost a page fault every 4 KiB.

    Parameters
    ----------
    size : int
        Size of a buffer in bytes.
    """

    def __cinit__(self, Py_ssize_t size):
        self.size = size

    cdef Block take(self):
        """Return a buffer: the one returned last, which is still in the cache, or else a new one.

        A reused buffer keeps its old content.
        """
        cdef Block block = Block.__new__(Block)
        with cython.critical_section(self):
            if self._count:
                self._count -= 1
                block.ptr, block.size = <uint8_t*> self._free[self._count], self.size
        if block.ptr is NULL:
            block = new_block(self.size)
        block.home = self
        return block

    cdef void give(self, void* memory, Py_ssize_t size) noexcept:
        cdef bint kept
        with cython.critical_section(self):
            kept = self._count < POOL_KEEP
            if kept:
                self._free[self._count] = memory
                self._count += 1
        if not kept:
            PyMem_RawFree(memory)

    def __dealloc__(self):
        while self._count:
            self._count -= 1
            PyMem_RawFree(self._free[self._count])


cdef Block new_block(Py_ssize_t size):
    """Allocate a block without a home; its memory is freed with it.

    The memory is zeroed, because parts of it may be shown before they are written.
    """
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
    """One piece of memory, returned to its home when the block is deallocated."""

    cdef int resize(self, Py_ssize_t size) except -1:
        """Resize a block that has no home and no lease; the content is kept."""
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

    # Writable, for the code that fills the block; readers get a Lease.
    def __getbuffer__(self, Py_buffer* buffer, int flags):
        export_bytes(buffer, self, self.ptr, self.size, False, flags)


@cython.final
cdef class Window:
    """Part of a block as a buffer, for a Python file object to read into or write. Keeps the block alive."""

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        export_bytes(buffer, self, self._ptr, self._size, self._readonly, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.exports -= 1


cdef Window new_window(Block block, Py_ssize_t offset, Py_ssize_t size, bint readonly):
    """Make a window on `block[offset:offset + size]`, which must be in bounds."""
    cdef Window window = Window.__new__(Window)
    window._ptr, window._size, window._block, window._readonly = block.ptr + offset, size, block, readonly
    return window


@cython.final
@cython.no_gc_clear
@cython.freelist(16)
cdef class Borrowed:
    """The buffer of a Python object, released when this is deallocated."""

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


@cython.final
@cython.no_gc_clear  # __dealloc__ needs the owner
@cython.trashcan(True)  # other libraries may wrap our memory, and we theirs, again and again
@cython.freelist(64)
cdef class Hold:
    """Keeps the owner of a lease's memory alive. The lease and each of its views refer to it.

    The owner is a Block, a Borrowed, or the Hold of one of these.
    """

    def __dealloc__(self):
        if type(self.owner) is Block:
            add_size(&(<Block> self.owner).holds, -1)


cdef Hold _hold(object owner):
    cdef Hold hold = Hold.__new__(Hold)
    hold.owner = owner
    if type(owner) is Block:
        add_size(&(<Block> owner).holds, 1)
    return hold


cdef Hold _hold_of(Borrowed borrowed):
    """Return the hold of the memory's owner if a buffer shows memory of a lease, else None.

    The buffer of a view or packet is that of its hold. An array or memoryview leads to the object that it was
    made from.
    """
    cdef object source = <object> borrowed.buffer.obj
    cdef Hold hold
    if type(source) is bytes or type(source) is bytearray:
        return None
    while type(source) is not Hold:
        if type(source) is Lease:
            source = (<Lease> source).hold
        elif isinstance(source, np.ndarray):
            source = source.base
        elif type(source) is memoryview:
            source = source.obj
        else:
            source = _exporter_of(source)
        if source is None:
            return None
    hold = source
    if type(hold.owner) is Hold:
        hold = hold.owner
    return hold if _contains(hold, borrowed) else None


cdef object _exporter_of(object source):
    """Return the object that the buffers of another one belong to; None if that is the object itself."""
    try:
        exporter = memoryview(source).obj
    except (TypeError, BufferError):  # the base of an array need not be a buffer
        return None
    return None if exporter is source else exporter


cdef bint _contains(Hold hold, Borrowed borrowed) noexcept:
    """Return True if a buffer is inside the memory of the hold's owner."""
    cdef const uint8_t* start = NULL
    cdef const uint8_t* p = <const uint8_t*> borrowed.buffer.buf
    cdef Py_ssize_t size = 0
    if type(hold.owner) is Block:
        start, size = (<Block> hold.owner).ptr, (<Block> hold.owner).size
    elif type(hold.owner) is Borrowed:
        start = <const uint8_t*> (<Borrowed> hold.owner).buffer.buf
        size = (<Borrowed> hold.owner).buffer.len
    return start <= p and p - start <= size - borrowed.buffer.len


cdef bint _is_scarce(Hold hold) noexcept:
    return type(hold.owner) is Block and (<Block> hold.owner).home is not None and (
        (<Block> hold.owner).home.scarce)


@cython.final
@cython.freelist(64)
cdef class Lease:
    """Read-only memory, borrowed from a buffer or a source and shared by all views of it.

    A lease is a buffer: `memoryview(lease)`, `numpy.frombuffer(lease, "u1")`. Everything made from it keeps
    the memory alive. The memory is returned to its owner when the last view is gone, or by `release()`.

    Parameters
    ----------
    source : buffer
        Any C-contiguous object with the buffer protocol. The lease keeps it alive.

    Raises
    ------
    TypeError, BufferError
        `source` is not a C-contiguous buffer.

    Examples
    --------
    >>> lease = Lease(b"abc")
    >>> view = memoryview(lease)
    >>> lease.exports
    1
    """

    def __init__(self, source):
        cdef Borrowed borrowed = borrow(source, False)
        self.release()
        _point(self, borrowed)

    @property
    def nbytes(self):
        """Size in bytes; 0 after `release()`."""
        return self._size

    @property
    def exports(self):
        """Number of open views of this memory."""
        return self._views()

    @property
    def released(self):
        """True after `release()`."""
        return self.hold is None

    def release(self):
        """Return the memory to its owner now. A second call does nothing.

        Raises
        ------
        BufferError
            Views of the memory are still open.
        """
        views = self._views()
        if views:
            raise BufferError(f"this memory has {views} open views: delete them, and copy what you keep")
        self._ptr = NULL
        self._size = 0
        self.hold = None  # last: the owner's deallocation may run Python code

    cdef int check(self) except -1:
        """Raise ValueError if the lease was released."""
        if self.hold is None:
            raise ValueError("this memory was released")
        return 0

    cdef Py_ssize_t _views(self) noexcept:
        """Count references to the hold other than ours, and buffers, which refer to the lease instead.

        On a free-threaded Python a view that another thread copies at this moment may be missing. It has a
        reference to the hold nevertheless, so its memory stays.
        """
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
    """Make a lease on the first `size` bytes of a block."""
    cdef Lease lease = Lease.__new__(Lease)
    lease._ptr = block.ptr
    lease._size = size
    lease.hold = _hold(block)
    lease.scarce = _is_scarce(lease.hold)
    return lease


cdef Lease lease_buffer(object source):
    """Make a lease on the buffer of a Python object, which cannot be resized while the lease lives.

    If the memory is that of another lease, this one counts as one of the views of the memory's owner.
    """
    cdef Lease lease = Lease.__new__(Lease)
    _point(lease, borrow(source, False))
    return lease


cdef Borrowed borrow(object source, bint writable):
    """Acquire the C-contiguous buffer of an object."""
    cdef Borrowed borrowed = Borrowed.__new__(Borrowed)
    PyObject_GetBuffer(source, &borrowed.buffer, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
    borrowed.held = True
    return borrowed


cdef int _point(Lease lease, Borrowed borrowed) except -1:
    cdef Hold owner = _hold_of(borrowed)
    lease._ptr = <const uint8_t*> borrowed.buffer.buf
    lease._size = borrowed.buffer.len
    lease.hold = _hold(borrowed if owner is None else owner)
    lease.scarce = owner is not None and _is_scarce(owner)
    return 0
