"""Atomic access to integers that two threads, or a thread and the kernel, use without a lock.

Loads acquire and stores release: who loads a value sees all that was written before it was stored.
"""
from libc.stdint cimport int64_t, uint32_t

cdef extern from * nogil:
    """
    #define slimcap_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define slimcap_store(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)
    #define slimcap_add(p, more) ((void) __atomic_fetch_add(p, more, __ATOMIC_ACQ_REL))
    #define slimcap_set_bits(p, bits) ((void) __atomic_fetch_or(p, bits, __ATOMIC_ACQ_REL))
    #define slimcap_clear_bits(p, bits) ((void) __atomic_fetch_and(p, ~(bits), __ATOMIC_ACQ_REL))
    #define slimcap_take_bits(p) __atomic_exchange_n(p, 0, __ATOMIC_ACQ_REL)
    """
    uint32_t load_u32 "slimcap_load"(const uint32_t* p) noexcept
    void store_u32 "slimcap_store"(uint32_t* p, uint32_t value) noexcept
    int64_t load_i64 "slimcap_load"(const int64_t* p) noexcept
    void store_i64 "slimcap_store"(int64_t* p, int64_t value) noexcept
    Py_ssize_t load_size "slimcap_load"(const Py_ssize_t* p) noexcept
    void add_size "slimcap_add"(Py_ssize_t* p, Py_ssize_t more) noexcept
    int load_bits "slimcap_load"(const int* p) noexcept
    void set_bits "slimcap_set_bits"(int* p, int bits) noexcept
    void clear_bits "slimcap_clear_bits"(int* p, int bits) noexcept
    int take_bits "slimcap_take_bits"(int* p) noexcept  # clears all bits, and returns those that were set
