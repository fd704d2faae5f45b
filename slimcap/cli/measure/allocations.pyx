"""Counting of memory requests to Python's allocators.

A hook in front of each allocator (PyMem_SetAllocator(): PYMEM_DOMAIN_RAW, _MEM, _OBJ) counts requests and
forwards them unchanged. So memory allocated with the hook may be freed or resized without it, and vice versa.
"""
from libc.stdint cimport uint64_t

from slimcap.abi.python cimport (
    PYMEM_DOMAIN_MEM,
    PYMEM_DOMAIN_OBJ,
    PYMEM_DOMAIN_RAW,
    PyMem_GetAllocator,
    PyMem_SetAllocator,
    PyMemAllocatorDomain,
    PyMemAllocatorEx,
)

cdef enum:
    DOMAINS = 3

cdef PyMemAllocatorDomain* _DOMAINS = [PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ]
cdef PyMemAllocatorEx _behind[DOMAINS]  # the original allocators; a hook's ctx points to its own one
# If two threads allocate at the same time without the GIL, one request may not be counted.
cdef uint64_t _asked
cdef bint _inside
cdef bint _counting


cdef inline bint _enter() noexcept nogil:
    """Count a request and return True; return False for a nested one, as pymalloc forwards large requests."""
    global _asked, _inside
    if _inside:
        return False
    _inside = True
    _asked += 1
    return True


cdef inline void* _leave(bint counted, void* found) noexcept nogil:
    global _inside
    if counted:
        _inside = False
    return found


cdef void* _malloc(void* ctx, size_t size) noexcept nogil:
    cdef const PyMemAllocatorEx* behind = <PyMemAllocatorEx*> ctx
    cdef bint counted = _enter()
    return _leave(counted, behind.malloc(behind.ctx, size))


cdef void* _calloc(void* ctx, size_t count, size_t size) noexcept nogil:
    cdef const PyMemAllocatorEx* behind = <PyMemAllocatorEx*> ctx
    cdef bint counted = _enter()
    return _leave(counted, behind.calloc(behind.ctx, count, size))


cdef void* _realloc(void* ctx, void* memory, size_t size) noexcept nogil:
    cdef const PyMemAllocatorEx* behind = <PyMemAllocatorEx*> ctx
    cdef bint counted = _enter()
    return _leave(counted, behind.realloc(behind.ctx, memory, size))


cdef void _free(void* ctx, void* memory) noexcept nogil:
    cdef const PyMemAllocatorEx* behind = <PyMemAllocatorEx*> ctx
    behind.free(behind.ctx, memory)


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
    before = _asked
    try:
        result = fn(*args)
    finally:
        after = _asked
        _unhook()
        _counting = False
    return result, after - before


cdef int _hook() except -1:
    cdef PyMemAllocatorEx hook
    cdef int i
    hook.malloc, hook.calloc, hook.realloc, hook.free = _malloc, _calloc, _realloc, _free
    for i in range(DOMAINS):
        PyMem_GetAllocator(_DOMAINS[i], &_behind[i])
        hook.ctx = &_behind[i]
        PyMem_SetAllocator(_DOMAINS[i], &hook)
    return 0


cdef int _unhook() except -1:
    cdef int i
    for i in range(DOMAINS):
        PyMem_SetAllocator(_DOMAINS[i], &_behind[i])
    return 0
