# cython: language_level=3
"""Counting of memory requests to Python's allocators.

A hook in front of each allocator (PyMem_SetAllocator(): PYMEM_DOMAIN_RAW, _MEM, _OBJ) counts requests and
forwards them unchanged. So memory allocated with the hook may be freed or resized without it, and vice versa.
"""
from libc.stdint cimport uint64_t

cdef extern from "Python.h":
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_RAW
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ
    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* memory, size_t size) noexcept nogil
        void (*free)(void* ctx, void* memory) noexcept nogil
    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)

cdef enum:
    DOMAINS = 3

cdef PyMemAllocatorDomain* _DOMAINS = [PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ]
cdef PyMemAllocatorEx _originals[DOMAINS]  # the original allocators; a hook's ctx points to its own one
# If two threads allocate at the same time without the GIL, one request may not be counted.
cdef uint64_t _requests
cdef bint _inside
cdef bint _counting


cdef inline bint _enter() noexcept nogil:
    """Count a request and return True; return False for a nested one, as pymalloc forwards large requests."""
    global _requests, _inside
    if _inside:
        return False
    _inside = True
    _requests += 1
    return True


cdef inline void* _leave(bint counted, void* memory) noexcept nogil:
    global _inside
    if counted:
        _inside = False
    return memory


cdef void* _malloc(void* ctx, size_t size) noexcept nogil:
    cdef const PyMemAllocatorEx* original = <PyMemAllocatorEx*> ctx
    cdef bint counted = _enter()
    return _leave(counted, original.malloc(original.ctx, size))


cdef void* _calloc(void* ctx, size_t count, size_t size) noexcept nogil:
    cdef const PyMemAllocatorEx* original = <PyMemAllocatorEx*> ctx
    cdef bint counted = _enter()
    return _leave(counted, original.calloc(original.ctx, count, size))


cdef void* _realloc(void* ctx, void* memory, size_t size) noexcept nogil:
    cdef const PyMemAllocatorEx* original = <PyMemAllocatorEx*> ctx
    cdef bint counted = _enter()
    return _leave(counted, original.realloc(original.ctx, memory, size))


cdef void _free(void* ctx, void* memory) noexcept nogil:
    cdef const PyMemAllocatorEx* original = <PyMemAllocatorEx*> ctx
    original.free(original.ctx, memory)


def count_allocations(fn, *args):
    """Call `fn(*args)`, and count the memory requests during the call.

    Objects from a free list, such as small tuples and slimcap's views, are not counted, nor is memory
    requested from the C library directly, as numpy does for the data of arrays.

    Parameters
    ----------
    fn : callable
        Function to call.
    *args : object
        Its arguments.

    Returns
    -------
    result : object
        Return value of `fn`.
    allocations : int
        Number of requests.

    Raises
    ------
    RuntimeError
        Allocations are already being counted.
    """
    global _counting
    if _counting:
        raise RuntimeError("allocations are being counted already")
    _counting = True
    cdef uint64_t before, after
    _hook()
    before = _requests
    try:
        result = fn(*args)
    finally:
        after = _requests
        _unhook()
        _counting = False
    return result, after - before


cdef int _hook() except -1:
    cdef PyMemAllocatorEx hook
    cdef int i
    hook.malloc, hook.calloc, hook.realloc, hook.free = _malloc, _calloc, _realloc, _free
    for i in range(DOMAINS):
        PyMem_GetAllocator(_DOMAINS[i], &_originals[i])
        hook.ctx = &_originals[i]
        PyMem_SetAllocator(_DOMAINS[i], &hook)
    return 0


cdef int _unhook() except -1:
    cdef int i
    for i in range(DOMAINS):
        PyMem_SetAllocator(_DOMAINS[i], &_originals[i])
    return 0
