"""Exact conversion of clock ticks to nanoseconds, with 128-bit arithmetic where 64 bits do not suffice.

    if_tsresol      0eeeeeee  10^-e seconds per tick    1eeeeeee  2^-e seconds per tick

draft-ietf-opsawg-pcapng, section 4.2: if_tsresol and if_tsoffset.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    NANOSECONDS = 1_000_000_000     # in a second

cdef extern from * nogil:
    """
    #include <stdint.h>

    struct slimcap_clock {
        uint64_t multiply, divide;  /* at least one of the two is 1 */
        unsigned shift;
        int64_t seconds;            /* seconds since 1970 at tick 0 */
    };

    static inline int64_t slimcap_nanoseconds(const struct slimcap_clock *clock, uint64_t ticks)
    {
        uint64_t plain;     /* the common case, in 64 bits: half the time */
        if (clock->divide == 1 && clock->shift == 0 && clock->seconds == 0
                && !__builtin_mul_overflow(ticks, clock->multiply, &plain) && plain <= INT64_MAX)
            return (int64_t)plain;
        __int128 ns = clock->divide != 1
            ? (__int128)(ticks / clock->divide)
            : (__int128)(((unsigned __int128)ticks * clock->multiply) >> clock->shift);
        ns += (__int128)clock->seconds * 1000000000;
        return ns > INT64_MAX ? INT64_MAX : ns < INT64_MIN ? INT64_MIN : (int64_t)ns;
    }

    static inline int slimcap_ticks(const struct slimcap_clock *clock, int64_t ns, uint64_t *ticks)
    {
        if (clock->seconds == 0 && clock->shift == 0 && clock->divide == 1 && ns >= 0) {
            *ticks = clock->multiply == 1 ? (uint64_t)ns        /* the common cases, in 64 bits */
                : clock->multiply == 1000 ? (uint64_t)ns / 1000 : (uint64_t)ns / clock->multiply;
            return *ticks * clock->multiply == (uint64_t)ns;
        }
        __int128 since = (__int128)ns - (__int128)clock->seconds * 1000000000;
        *ticks = 0;
        if (since <= 0)
            return since == 0;
        unsigned __int128 count = clock->divide != 1    /* the first tick that is not earlier */
            ? (unsigned __int128)since * clock->divide
            : (((unsigned __int128)since << clock->shift) + clock->multiply - 1) / clock->multiply;
        *ticks = count > UINT64_MAX ? UINT64_MAX : (uint64_t)count;
        if (slimcap_nanoseconds(clock, *ticks) == ns)
            return 1;
        *ticks -= 1;
        return 0;
    }
    """
    ctypedef struct Clock "struct slimcap_clock":
        uint64_t multiply
        uint64_t divide
        unsigned int shift
        int64_t seconds

    # Nanoseconds since 1970, rounded down, and saturated at the limits of int64.
    int64_t nanoseconds "slimcap_nanoseconds"(const Clock* clock, uint64_t ticks) noexcept

    # The inverse: the tick that has this time. False if none has; `ticks` is then the one before, or 0.
    bint ticks_at "slimcap_ticks"(const Clock* clock, int64_t ns, uint64_t* ticks) noexcept

cdef enum:
    MICROSECONDS = 6        # default of if_tsresol
    MAX_DECIMAL = 19        # 10^19 is the largest power of ten in 64 bits
    MAX_BINARY = 63
    NANO = 9


cdef inline bint set_resolution(Clock* clock, uint8_t tsresol) noexcept nogil:
    """Set the length of a tick by if_tsresol; return False if it is too small for 64-bit timestamps."""
    cdef unsigned int power = tsresol & 0x7f
    clock.multiply = clock.divide = 1
    clock.shift = 0
    if tsresol & 0x80:
        clock.multiply = NANOSECONDS
        clock.shift = power
        return power <= MAX_BINARY
    if power <= NANO:
        clock.multiply = power_of_ten(NANO - power)
    elif power <= MAX_DECIMAL:
        clock.divide = power_of_ten(power - NANO)
    return power <= MAX_DECIMAL


cdef inline uint64_t power_of_ten(unsigned int power) noexcept nogil:
    cdef uint64_t value = 1
    while power:
        value *= 10
        power -= 1
    return value
