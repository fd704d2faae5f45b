from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from libc.stdint cimport uint8_t

cdef enum:
    POOL_KEEP = 8  # maximum number of free buffers that a pool keeps

cdef class Home:
    cdef bint scarce        # it has a fixed amount of memory, so kept blocks stop it: a ring
    cdef void give(self, void* memory, Py_ssize_t size) noexcept

cdef class Pool(Home):
    cdef readonly Py_ssize_t size
    cdef void* _free[POOL_KEEP]
    cdef int _count
    cdef Block take(self)

cdef class Block:
    cdef uint8_t* ptr
    cdef Py_ssize_t size
    cdef Home home          # takes the memory back; None: the memory is freed
    cdef Py_ssize_t holds   # number of Hold objects of this block, atomic
    cdef int resize(self, Py_ssize_t size) except -1

cdef Block new_block(Py_ssize_t size)

cdef class Window:
    cdef uint8_t* _ptr
    cdef Py_ssize_t _size
    cdef Block _block           # keeps _ptr alive
    cdef bint _readonly
    cdef Py_ssize_t exports     # number of open buffers

cdef Window new_window(Block block, Py_ssize_t offset, Py_ssize_t size, bint readonly)

cdef class Hold:
    cdef object owner

cdef class Lease:
    cdef const uint8_t* _ptr
    cdef Py_ssize_t _size
    cdef Hold hold              # keeps _ptr alive; None after release()
    cdef Py_ssize_t _buffers    # number of open buffers (buffer protocol)
    cdef bint scarce            # keeping the memory stops its source: see Home
    cdef int check(self) except -1
    cdef Py_ssize_t _views(self) noexcept

cdef class Borrowed:
    cdef Py_buffer buffer
    cdef bint held

cdef Borrowed borrow(object source, bint writable)
cdef Lease lease_block(Block block, Py_ssize_t size)
cdef Lease lease_buffer(object source)


cdef inline int export_bytes(
        Py_buffer* buffer, object exporter, const void* p, Py_ssize_t n, bint readonly, int flags) except -1:
    """Fill in `buffer` with `n` bytes at `p` (PEP 3118); BufferError if a writable one is asked for."""
    if readonly and flags & PyBUF_WRITABLE:
        raise BufferError("this memory is read-only: copy it to modify it")
    buffer.buf = <void*> p
    buffer.obj = exporter
    buffer.len = n
    buffer.itemsize = 1
    buffer.readonly = readonly
    buffer.ndim = 1
    buffer.format = <char*> b"B" if flags & PyBUF_FORMAT else NULL
    buffer.shape = &buffer.len if flags & PyBUF_ND else NULL
    buffer.strides = &buffer.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
    buffer.suboffsets = NULL
    buffer.internal = NULL
    return 0
