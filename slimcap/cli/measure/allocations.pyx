"""How often Python's allocators are asked for memory.

A hook in front of each (PyMem_SetAllocator(): PYMEM_DOMAIN_RAW, _MEM, _OBJ) counts and passes on, so that
memory may be freed, or grow, after the hook is gone as before it came.
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
cdef PyMemAllocatorEx _behind[DOMAINS]  # what the hooks pass on to; a hook's ctx points to its own
# Of two threads that ask at once without the GIL, one may go uncounted.
cdef uint64_t _asked
cdef bint _inside
cdef bint _counting


cdef inline bint _enter() noexcept nogil:
    """Count, unless one allocator asks another: pymalloc asks for what is large. Whether it counted."""
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
    """Call `fn(*args)`, and count how often memory is asked for meanwhile.

    What comes off a free list, as small tuples and slimcap's views do, is no allocation. Nor is what asks the
    C library itself, as numpy does for the data of arrays.

    Returns
    -------
    result : object
        What `fn` returns.
    allocations : int
        How often.

    Raises
    ------
    RuntimeError
        A count is going on.
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
