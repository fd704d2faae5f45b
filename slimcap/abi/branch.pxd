"""Hints for the compiler, to keep rare code and its registers out of a loop, and for the cache (prefetch)."""

cdef extern from * nogil:
    """
    #define SLIMCAP_RARELY(condition) __builtin_expect(!!(condition), 0)
    """
    bint rarely "SLIMCAP_RARELY"(bint condition) noexcept
    void prefetch "__builtin_prefetch"(const void* p) noexcept
    # Makes gcc emit a branch: after a conditional move, every instruction would wait for those before it.
    bint predicted "__builtin_expect"(bint condition, bint value) noexcept
