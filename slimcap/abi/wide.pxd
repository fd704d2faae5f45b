"""C that Cython cannot spell: products and sums of squares of 128 bits, and constants of 64 bits."""
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

    static inline unsigned __int128 slimcap_sum(const uint64_t *sum)
    {
        return (unsigned __int128)sum[1] << 64 | sum[0];
    }

    static inline void slimcap_add_square(uint64_t *sum, uint64_t value)
    {
        unsigned __int128 added = slimcap_sum(sum) + (unsigned __int128)value * value;
        sum[0] = (uint64_t)added;
        sum[1] = (uint64_t)(added >> 64);
    }

    static inline void slimcap_add_sum(uint64_t *sum, const uint64_t *other)
    {
        unsigned __int128 added = slimcap_sum(sum) + slimcap_sum(other);
        sum[0] = (uint64_t)added;
        sum[1] = (uint64_t)(added >> 64);
    }

    /* The difference of the sum of squares and total * total / count, two large numbers, is exact: only
       the fraction that is left of the division is rounded. */
    static inline double slimcap_squared_differences(const uint64_t *squares, uint64_t total, uint64_t count)
    {
        unsigned __int128 square = (unsigned __int128)total * total;
        double fraction = (double)(uint64_t)(square % count) / (double)count;
        return (double)(slimcap_sum(squares) - square / count) - fraction;
    }
    """
    const uint64_t* prime "slimcap_xxh64_prime"
    uint64_t fold "slimcap_fold"(uint64_t a, uint64_t b) noexcept
    # A sum of squares is two words, the lower one first.
    void add_square "slimcap_add_square"(uint64_t* sum, uint64_t value) noexcept
    void add_sum "slimcap_add_sum"(uint64_t* sum, const uint64_t* other) noexcept
    # Sum of the squared differences between `count` values, of which there is one at least, and their mean.
    double squared_differences "slimcap_squared_differences"(
        const uint64_t* squares, uint64_t total, uint64_t count) noexcept
