"""XXH64 by Yann Collet (xxHash fast digest algorithm), with the same result on all machines."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from slimcap.abi.bytes cimport le32, le64
from slimcap.abi.xxh64_primes cimport prime


cdef inline uint64_t rotl(uint64_t value, int count) noexcept nogil:
    return value << count | value >> (64 - count)


cdef inline uint64_t mix(uint64_t lane, uint64_t word) noexcept nogil:
    """Return a lane after mixing in eight bytes."""
    return rotl(lane + word * prime[1], 31) * prime[0]


cdef inline uint64_t merge(uint64_t hash, uint64_t lane) noexcept nogil:
    return (hash ^ mix(0, lane)) * prime[0] + prime[3]


cdef inline uint64_t start(const uint8_t* p, uint32_t n) noexcept nogil:
    """Hash the complete blocks of 32 bytes in four lanes, and merge the lanes."""
    cdef uint64_t a, b, c, d
    if n < 32:
        return prime[4]
    a, b, c, d = prime[0] + prime[1], prime[1], 0, 0 - prime[0]
    while n >= 32:
        a, b = mix(a, le64(p)), mix(b, le64(p + 8))
        c, d = mix(c, le64(p + 16)), mix(d, le64(p + 24))
        p += 32
        n -= 32
    return merge(merge(merge(merge(rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18), a), b), c), d)


cdef inline uint64_t xxh64(const uint8_t* p, uint32_t n) noexcept nogil:
    """Return the hash of `p[:n]` with seed 0."""
    cdef uint64_t hash = start(p, n) + n
    p += n & ~31
    n &= 31
    while n >= 8:
        hash = rotl(hash ^ mix(0, le64(p)), 27) * prime[0] + prime[3]
        p += 8
        n -= 8
    if n >= 4:
        hash = rotl(hash ^ le32(p) * prime[0], 23) * prime[1] + prime[2]
        p += 4
        n -= 4
    while n:
        hash = rotl(hash ^ p[0] * prime[4], 11) * prime[0]
        p += 1
        n -= 1
    hash = (hash ^ hash >> 33) * prime[1]
    hash = (hash ^ hash >> 29) * prime[2]
    return hash ^ hash >> 32
