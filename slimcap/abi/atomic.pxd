"""Atomic access to the status of a ring block, which is shared with the kernel on another core."""
from libc.stdint cimport uint32_t

cdef extern from * nogil:
    """
    static inline uint32_t slimcap_load_acquire(const uint32_t* p)
    {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline void slimcap_store_release(uint32_t* p, uint32_t value)
    {
        __atomic_store_n(p, value, __ATOMIC_RELEASE);
    }
    """
    uint32_t load_acquire "slimcap_load_acquire"(const uint32_t* p) noexcept
    void store_release "slimcap_store_release"(uint32_t* p, uint32_t value) noexcept
