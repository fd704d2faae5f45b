"""What is expected: of a branch, for the compiler, which keeps rare code and its registers out of a loop; of
memory, for the cache."""

cdef extern from * nogil:
    """
    #define SLIMCAP_RARELY(condition) __builtin_expect(!!(condition), 0)
    """
    bint rarely "SLIMCAP_RARELY"(bint condition) noexcept
    void prefetch "__builtin_prefetch"(const void* p) noexcept
