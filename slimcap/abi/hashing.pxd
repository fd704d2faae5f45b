"""C that hash functions need: constants of 64 bits, and the upper half of a product."""
from libc.stdint cimport uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>

    /* Of XXH64: too large for an enum of Cython, whose members are C ints. */
    static const unsigned long long slimcap_xxh64_prime[5] = {
        0x9E3779B185EBCA87ULL, 0xC2B2AE3D27D4EB4FULL, 0x165667B19E3779F9ULL,
        0x85EBCA77C2B2AE63ULL, 0x27D4EB2F165667C5ULL};

    /* Folded multiplication, the mixing step of fast keyed hashes, as in wyhash. */
    static inline uint64_t slimcap_fold(uint64_t a, uint64_t b)
    {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    const uint64_t* prime "slimcap_xxh64_prime"
    uint64_t fold "slimcap_fold"(uint64_t a, uint64_t b) noexcept
